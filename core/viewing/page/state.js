/** The state of the page, which lives in the address after "#". A link therefore shows what its sender saw. */

const DEFAULTS = {
  tab: "images",
  q: "",
  in: "all",
  regex: false,
  sort: "",
  order: "desc",
  score: "",
  hide: [],
  pair: [0, 1],
  words: false,
  ranges: {},
  image: null,
};

/** The current state; change it with `change`. */
export const state = read();

const listeners = [];

/** Calls `listener(changed names)` after every change. */
export function onChange(listener) {
  listeners.push(listener);
}

/** Changes the state and the address. An opened image is a step back in the browser's history; nothing else is. */
export function change(values) {
  const opens = "image" in values && values.image !== null && state.image === null;
  Object.assign(state, values);
  history[opens ? "pushState" : "replaceState"](null, "", `#${write(state)}`);
  for (const listener of listeners) listener(Object.keys(values));
}

addEventListener("popstate", reread);
addEventListener("hashchange", reread);

function reread() {
  const next = read();
  if (write(next) === write(state)) return;
  Object.assign(state, next);
  for (const listener of listeners) listener(Object.keys(next));
}

function read() {
  const given = new URLSearchParams(location.hash.slice(1));
  const found = structuredClone(DEFAULTS);
  for (const name of ["tab", "q", "in", "sort", "order", "score", "image"]) {
    if (given.has(name)) found[name] = given.get(name);
  }
  for (const name of ["regex", "words"]) found[name] = given.get(name) === "1";
  const numbers = (text) => text.split(",").map(Number).filter((n) => Number.isInteger(n) && n >= 0);
  if (given.has("hide")) found.hide = numbers(given.get("hide"));
  if (numbers(given.get("pair") ?? "").length === 2) found.pair = numbers(given.get("pair"));
  for (const text of given.getAll("range")) {
    const match = /^(.+):(-?[\d.e+-]+)\.\.(-?[\d.e+-]+)$/.exec(text);
    const [low, high] = match ? [Number(match[2]), Number(match[3])] : [NaN, NaN];
    if (low <= high) found.ranges[match[1]] = [low, high];
  }
  return found;
}

function write(values) {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(values)) {
    if (name === "ranges" || JSON.stringify(value) === JSON.stringify(DEFAULTS[name])) continue;
    parts.set(name, value === true ? "1" : String(value));
  }
  for (const [key, [low, high]] of Object.entries(values.ranges)) parts.append("range", `${key}:${low}..${high}`);
  return parts.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
}
