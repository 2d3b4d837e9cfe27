/** The data of the page. It comes in scripts that call `capfwData(name, value)`: `fetch` does not work from file://. */

const requested = new Map();
const waiting = new Map();

globalThis.capfwData = (name, value) => waiting.get(name)?.(value);

/** The data `name` in `data/NAME.js`, which is loaded once, or `again`. */
export function load(name, { again = false } = {}) {
  if (again || !requested.has(name)) requested.set(name, request(name, again));
  return requested.get(name);
}

function request(name, again) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    waiting.set(name, resolve);
    script.src = `data/${name}.js` + (again ? `?${Date.now()}` : "");
    script.onload = () => script.remove();
    script.onerror = () => reject(new Error(`data/${name}.js cannot be read.`));
    document.head.append(script);
  });
}

/** The facts about the systems, the number of images, and where their pictures are. */
export const meta = {};

/** One entry per image, in the order of the data set. `systems[s]` has the columns of system s. */
export const images = { id: [], file: [], references: [], systems: [] };

const places = new Map();

/** Loads everything but the alternatives and the words' probabilities. `progress(share)` reports how far it is. */
export async function loadAll(progress) {
  Object.assign(meta, await load("meta"));
  images.systems = meta.systems.map(() => ({ caption: [], log_prob: [], scores: {} }));
  const shards = Math.ceil(meta.num_images / meta.shard_size);
  let done = 0;
  const loading = Array.from({ length: shards }, async (_, shard) => {
    const rows = await load(`rows-${shard}`);
    progress(++done / shards);
    return rows;
  });
  for (const rows of await Promise.all(loading)) append(rows);
  for (let index = images.id.length - 1; index >= 0; index--) places.set(String(images.id[index]), index);
}

function append(rows) {
  for (const name of ["id", "file", "references"]) for (const value of rows[name]) images[name].push(value);
  rows.systems.forEach((columns, s) => {
    const system = images.systems[s];
    for (const name of ["caption", "log_prob"]) for (const value of columns[name]) system[name].push(value);
    for (const [name, values] of Object.entries(columns.scores)) {
      system.scores[name] ??= [];
      for (const value of values) system.scores[name].push(value);
    }
  });
}

/** The number of the image with this id; undefined where there is none. */
export function placeOf(id) {
  return places.get(String(id));
}

/** The address of a picture: small for the grid, large for the detail view; null where there is none. */
export function pictureOf(index, isLarge = false) {
  const address = (isLarge && meta.photo) || meta.picture;
  if (!address) return null;
  return address.replace("{shard}", Math.floor(index / meta.shard_size)).replace("{index}", index);
}

/** The alternatives and the words of one image, by system: `{ tokens, others }`; null where nothing is stored. */
export async function extraOf(index) {
  if (!meta.has_extra) return null;
  const extra = await load(`extra-${Math.floor(index / meta.shard_size)}`);
  const row = index % meta.shard_size;
  return extra.systems.map((system) => ({ tokens: system.tokens[row] ?? null, others: system.others[row] ?? [] }));
}

/** Whether the candidate of a system has heat maps for its words. */
export function hasHeat(index, system) {
  return meta.systems[system].has_heat && (meta.heat === true || meta.heat.includes(index));
}

/** The heat maps of the candidate of a system: `{ grid, box, words }`, or `{ problem }`. */
export function heatOf(index, system) {
  return load(`heat-${index}-${system}`);
}
