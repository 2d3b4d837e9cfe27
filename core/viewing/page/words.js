/** A caption as an element; its words are coloured by their probability where that is stored. */
import { el, number } from "./dom.js";

const MOST_SHOWN = 6000;

/** The text of a candidate, cut where it is longer than a reader reads. */
export function shortened(text, most = MOST_SHOWN) {
  return text.length > most ? `${text.slice(0, most)}…` : text;
}

/** Tokens `[text, log-probability]` as words `[text, log-probability]`: the sum over the tokens of each word. */
export function wordsOf(tokens) {
  const words = [];
  for (const [place, [text, logProb]] of tokens.entries()) {
    const last = words.at(-1);
    const isEnd = text === "" && place === tokens.length - 1;
    if (!last || /^\s/.test(text) || isEnd) words.push([text, logProb]);
    else words.splice(-1, 1, [last[0] + text, last[1] + logProb]);
  }
  return words;
}

/** The caption. `tokens` colours its words. */
export function captionText(text, tokens = null) {
  if (text === null) return el("p", { class: "caption none" }, "no candidate");
  if (!text.trim()) return el("p", { class: "caption none" }, "(empty caption)");
  if (!tokens) return el("p", { class: "caption", dir: "auto" }, shortened(text));
  const words = wordsOf(tokens).map(([word, logProb]) => {
    const doubt = Math.min(1, Math.max(0, -logProb / 4));
    const properties = {
      class: "word",
      style: { "--doubt": `${Math.round(100 * doubt)}%` },
      title: `probability ${number(Math.exp(logProb))}, log ${number(logProb, 2)}`,
    };
    if (word === "") Object.assign(properties, { class: "word end", role: "img", "aria-label": "end of the caption" });
    return [/^\s/.test(word) ? " " : "", el("span", properties, word.trim() || "⏎")];
  });
  return el("p", { class: "caption words", dir: "auto" }, words);
}
