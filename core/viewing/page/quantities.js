/** The numbers by which images are sorted and filtered: scores, differences of two systems, lengths, log-probabilities. */
import { images, meta } from "./data.js";
import { state } from "./state.js";

const cache = new Map();

function column(values) {
  return Float64Array.from(values, (value) => (typeof value === "number" ? value : NaN));
}

function words(text) {
  return text === null ? NaN : (text.trim().match(/\S+/g) ?? []).length;
}

/** The systems that are shown, by number; all of them where every one is hidden. */
export function shown() {
  const kept = meta.systems.map((_, s) => s).filter((s) => !state.hide.includes(s));
  return kept.length ? kept : meta.systems.map((_, s) => s);
}

/** The two systems whose difference is shown; null where there is only one. */
export function pair() {
  const [a, b] = state.pair;
  const last = meta.systems.length - 1;
  if (last < 1) return null;
  return a <= last && b <= last && a !== b ? [a, b] : [0, 1];
}

/** The score that the cards show. */
export function mainScore() {
  return meta.scores.includes(state.score) ? state.score : (meta.main_score ?? null);
}

/** "up" where a difference of a score is better for the first system, "down" where it is worse. */
export function tone(score, difference) {
  const gain = meta.lower_is_better.includes(score) ? -difference : difference;
  return gain > 0 ? "up" : gain < 0 ? "down" : "";
}

/** A quantity `{ key, label, system }` for each number that an image has. `system` is null for a difference. */
export function quantities(scores = meta.scores) {
  const named = (s, label) => (meta.systems.length > 1 ? `${label}, ${meta.systems[s].name}` : label);
  const found = [];
  for (const score of scores) {
    for (const s of shown()) {
      if (images.systems[s].scores[score]) found.push({ key: `score:${score}:${s}`, label: named(s, score), system: s });
    }
    if (pair() && pair().every((s) => images.systems[s].scores[score])) {
      const [a, b] = pair().map((s) => meta.systems[s].name);
      found.push({ key: `diff:${score}`, label: `${score}, ${a} − ${b}`, system: null });
    }
  }
  for (const s of shown()) found.push({ key: `length:${s}`, label: named(s, "Length in words"), system: s });
  for (const s of shown()) {
    if (images.systems[s].log_prob.some((value) => value !== null)) {
      found.push({ key: `log_prob:${s}`, label: named(s, "Log-probability"), system: s });
    }
  }
  return found;
}

/** The value of a quantity for every image, NaN where it has none; null for an unknown quantity. */
export function valuesOf(key) {
  const [kind, ...rest] = key.split(":");
  const full = kind === "diff" ? `${key}:${pair()}` : key;
  if (!cache.has(full)) cache.set(full, computed(kind, rest));
  return cache.get(full);
}

function computed(kind, rest) {
  const system = images.systems[Number(rest.at(-1))];
  if (kind === "length" && system) return Float64Array.from(system.caption, words);
  if (kind === "log_prob" && system) return column(system.log_prob);
  if (kind === "score") {
    const values = system?.scores[rest.slice(0, -1).join(":")];
    return values ? column(values) : null;
  }
  if (kind === "diff" && pair()) {
    const [a, b] = pair().map((s) => images.systems[s].scores[rest.join(":")]);
    if (a && b) return column(a).map((value, index) => value - (b[index] ?? NaN));
  }
  return null;
}
