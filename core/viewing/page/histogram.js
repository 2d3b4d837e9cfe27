/** A histogram of one quantity, over all images and over the chosen ones. A drag across it filters. */
import { el, number, svg } from "./dom.js";
import { valuesOf } from "./quantities.js";
import { filtered } from "./select.js";
import { change, state } from "./state.js";

const [WIDTH, HEIGHT, BINS] = [252, 44, 36];

function bounds(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low < high ? [low, high] : [low - 0.5, high + 0.5];
}

function counts(values, indices, low, high) {
  const found = new Array(BINS).fill(0);
  for (const index of indices) {
    const value = values[index];
    if (!Number.isNaN(value)) found[Math.min(BINS - 1, Math.floor(((value - low) / (high - low)) * BINS))]++;
  }
  return found;
}

function bars(found, most, name) {
  const width = WIDTH / BINS;
  return found.map((count, bin) => {
    const height = count ? Math.max(1.5, (count / most) * HEIGHT) : 0;
    return svg("rect", { class: name, x: bin * width + 0.5, y: HEIGHT - height, width: width - 1, height });
  });
}

/** The element. `draw()` shows the current filters. */
export class Histogram {
  constructor(quantity) {
    this.key = quantity.key;
    this.values = valuesOf(quantity.key);
    [this.low, this.high] = bounds(this.values);
    this.all = counts(this.values, this.values.keys(), this.low, this.high);
    this.plot = svg("svg", {
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      preserveAspectRatio: "none",
      class: "plot",
      role: "img",
      "aria-label": `${quantity.label}: from ${number(this.low)} to ${number(this.high)}`,
    });
    this.inputs = ["least", "most"].map((name, place) =>
      el("input", {
        type: "number",
        step: "any",
        "aria-label": `${quantity.label}, ${name}`,
        placeholder: number(place ? this.high : this.low, 2),
        onchange: () => this.typed(),
      }),
    );
    this.clear = el("button", { type: "button", class: "clear", "aria-label": `Clear the range of ${quantity.label}`, onclick: () => this.range(null) }, "×");
    const colour = quantity.system === null ? "var(--accent)" : `var(--system-${quantity.system})`;
    this.element = el(
      "div",
      { class: "histogram", "data-key": this.key, style: { "--system": colour } },
      el("div", { class: "histogram-head" }, el("span", { class: "histogram-label", title: quantity.label }, quantity.label), this.clear),
      this.plot,
      el("div", { class: "histogram-range" }, ...this.inputs),
    );
    this.plot.addEventListener("pointerdown", (event) => this.brush(event));
  }

  draw() {
    const range = state.ranges[this.key] ?? null;
    const most = Math.max(...this.all, 1);
    const kept = counts(this.values, filtered(this.key), this.low, this.high);
    const x = (value) => ((Math.min(this.high, Math.max(this.low, value)) - this.low) / (this.high - this.low)) * WIDTH;
    const brush = range
      ? svg("rect", { class: "brush", x: x(range[0]), y: 0, width: Math.max(1, x(range[1]) - x(range[0])), height: HEIGHT })
      : null;
    const zero = this.low < 0 && this.high > 0 ? svg("line", { class: "zero", x1: x(0), x2: x(0), y1: 0, y2: HEIGHT }) : null;
    this.plot.replaceChildren(...[brush, ...bars(this.all, most, "bar all"), ...bars(kept, most, "bar kept"), zero].filter(Boolean));
    this.clear.hidden = !range;
    this.inputs.forEach((input, place) => {
      if (document.activeElement !== input) input.value = range ? Number(range[place].toPrecision(4)) : "";
    });
  }

  range(range) {
    const { [this.key]: _, ...others } = state.ranges;
    change({ ranges: range ? { ...others, [this.key]: range } : others });
  }

  typed() {
    const [low, high] = this.inputs.map((input, place) => (input.value === "" ? [this.low, this.high][place] : Number(input.value)));
    const isOpen = this.inputs.every((input) => input.value === "");
    this.range(isOpen ? null : [Math.min(low, high), Math.max(low, high)]);
  }

  brush(event) {
    event.preventDefault();
    this.plot.setPointerCapture(event.pointerId);
    const box = this.plot.getBoundingClientRect();
    const value = (x) => this.low + Math.min(1, Math.max(0, (x - box.left) / box.width)) * (this.high - this.low);
    const start = value(event.clientX);
    let hasMoved = false;
    const move = (moved) => {
      hasMoved ||= Math.abs(moved.clientX - event.clientX) > 3;
      const end = value(moved.clientX);
      if (hasMoved) this.range([Math.min(start, end), Math.max(start, end)].map((each) => Number(each.toPrecision(6))));
    };
    const stop = () => {
      this.plot.removeEventListener("pointermove", move);
      if (!hasMoved) this.range(null);
    };
    this.plot.addEventListener("pointermove", move);
    this.plot.addEventListener("pointerup", stop, { once: true });
    this.plot.addEventListener("pointercancel", stop, { once: true });
  }
}
