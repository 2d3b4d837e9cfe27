/** The controls beside the grid: systems, the pair that is compared, the score of the cards, and the histograms. */
import { el, number } from "./dom.js";
import { meta } from "./data.js";
import { Histogram } from "./histogram.js";
import { mainScore, pair, quantities, shown } from "./quantities.js";
import { change, state } from "./state.js";

function options(pairs, chosen) {
  return pairs.map(([value, text]) => el("option", { value, selected: String(value) === String(chosen) }, text));
}

function systems() {
  const rows = meta.systems.map((system, s) => {
    const isShown = shown().includes(s);
    const toggle = (event) => change({ hide: event.target.checked ? state.hide.filter((each) => each !== s) : [...state.hide, s] });
    const value = system.scores[mainScore()];
    return el(
      "label",
      { class: "system-row", style: { "--system": `var(--system-${s})` } },
      el("input", { type: "checkbox", checked: isShown, disabled: isShown && shown().length === 1, onchange: toggle }),
      el("span", { class: "dot" }),
      el("span", { class: "system-name", title: system.title ?? system.name }, system.name),
      el("span", { class: "value" }, value === undefined ? "" : number(value, 3)),
    );
  });
  return el("section", null, el("h2", null, meta.systems.length > 1 ? "Systems" : "System"), rows);
}

function comparison() {
  if (!pair()) return null;
  const select = (place, label) => {
    const choose = (event) => {
      const chosen = [...pair()];
      const other = chosen[1 - place];
      chosen[place] = Number(event.target.value);
      if (other === chosen[place]) chosen[1 - place] = pair()[place];
      change({ pair: chosen });
    };
    return el("select", { "aria-label": label, onchange: choose }, options(meta.systems.map((system, s) => [s, system.name]), pair()[place]));
  };
  return el("section", null, el("h2", null, "Difference"), el("div", { class: "pair" }, select(0, "First system of the difference"), el("span", null, "−"), select(1, "Second system of the difference")));
}

function score() {
  if (!meta.scores.length) return null;
  const choose = el("select", { id: "score", onchange: (event) => change({ score: event.target.value }) }, options(meta.scores.map((name) => [name, name]), mainScore()));
  return el("section", null, el("label", { for: "score", class: "heading" }, "Score"), choose);
}

/** The sidebar. `draw()` shows the current filters, `build()` also other systems or another score. */
export class Sidebar {
  constructor(element) {
    this.element = element;
    this.build();
  }

  build() {
    const kept = quantities(mainScore() ? [mainScore()] : []);
    const ranged = quantities().filter(({ key }) => key in state.ranges && !kept.some((each) => each.key === key));
    this.histograms = [...kept, ...ranged].map((quantity) => new Histogram(quantity));
    const words = meta.has_extra
      ? el("label", { class: "check" }, el("input", { type: "checkbox", checked: state.words, onchange: (event) => change({ words: event.target.checked }) }), "Colour words by probability")
      : null;
    const clear = el("button", { type: "button", class: "quiet-button", onclick: () => change({ ranges: {}, q: "" }) }, "Clear all filters");
    this.element.replaceChildren(
      ...[systems(), comparison(), score(), words, el("section", null, el("h2", null, "Distributions"), el("p", { class: "hint" }, "Drag across one to filter."), this.histograms.map((each) => each.element)), clear].filter(Boolean),
    );
    this.draw();
  }

  draw() {
    for (const histogram of this.histograms) histogram.draw();
  }
}
