/** Chooses the images to show, and their order. */
import { images } from "./data.js";
import { shown, valuesOf } from "./quantities.js";
import { state } from "./state.js";

const texts = new Map();

function textOf(index, where) {
  const key = `${where}:${shown()}`;
  if (!texts.has(key)) texts.set(key, new Array(images.id.length));
  const known = texts.get(key);
  if (known[index] === undefined) {
    const parts = [];
    if (where !== "references") for (const s of shown()) parts.push(images.systems[s].caption[index] ?? "");
    if (where !== "candidates") parts.push(...images.references[index]);
    if (where === "all") parts.push(String(images.id[index]), images.file[index]);
    known[index] = parts.join("\n").toLowerCase();
  }
  return known[index];
}

/** The test of a search, a function of the lower-case text; null for an empty one. Throws SyntaxError for a wrong one. */
export function searchOf(query, isRegex) {
  if (!query.trim()) return null;
  if (isRegex) {
    const pattern = new RegExp(query, "im");
    return (text) => pattern.test(text);
  }
  const terms = [...query.toLowerCase().matchAll(/(-?)(?:"([^"]*)"|(\S+))/g)]
    .map(([, minus, phrase, word]) => ({ isWanted: !minus, term: phrase ?? word }))
    .filter(({ term }) => term);
  return (text) => terms.every(({ isWanted, term }) => text.includes(term) === isWanted);
}

/** The numbers of the images that pass all filters but the range of `except`. */
export function filtered(except = null) {
  let search = null;
  try {
    search = searchOf(state.q, state.regex);
  } catch {
    return [];
  }
  const ranges = Object.entries(state.ranges)
    .filter(([key]) => key !== except)
    .map(([key, range]) => [valuesOf(key), ...range])
    .filter(([values]) => values !== null);
  const kept = [];
  for (let index = 0; index < images.id.length; index++) {
    if (ranges.some(([values, low, high]) => !(values[index] >= low && values[index] <= high))) continue;
    if (search && !search(textOf(index, state.in))) continue;
    kept.push(index);
  }
  return kept;
}

/** The filtered images in the chosen order. Images without the value come last. */
export function selected() {
  const kept = filtered();
  const values = state.sort ? valuesOf(state.sort) : null;
  const sign = state.order === "asc" ? 1 : -1;
  if (!values) return kept;
  return kept.sort((a, b) => {
    const [x, y] = [values[a], values[b]];
    if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y) || a - b;
    return sign * (x - y) || a - b;
  });
}
