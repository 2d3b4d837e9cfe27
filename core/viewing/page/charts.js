/** Line charts of the training of all systems. */
import { el, number, svg, count } from "./dom.js";
import { meta } from "./data.js";
import { shown } from "./quantities.js";
import { shortened } from "./words.js";

const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [420, 240, 52, 408, 14, 204];

function ticks(low, high, { most = 5, isWhole = false } = {}) {
  const power = 10 ** Math.floor(Math.log10((high - low) / most));
  const finest = power * [1, 2, 5, 10].find((m) => (high - low) / (power * m) <= most);
  const step = isWhole ? Math.max(1, finest) : finest;
  const found = [];
  for (let n = Math.ceil(low / step - 1e-9); n * step <= high + step * 1e-9; n++) found.push(Number((n * step).toPrecision(12)));
  return found;
}

function spread(values) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  return low < high ? [low, high] : [low - (Math.abs(low) || 1) / 2, high + (Math.abs(high) || 1) / 2];
}

function chart({ title, x, y, lines }) {
  const points = lines.flatMap((line) => line.points);
  const [left, right] = spread(points.map((point) => point[0]));
  let [low, high] = spread(points.map((point) => point[1]));
  [low, high] = [low - (high - low) * 0.04, high + (high - low) * 0.04];
  const across = (value) => LEFT + ((value - left) / (right - left)) * (RIGHT - LEFT);
  const up = (value) => BOTTOM - ((value - low) / (high - low)) * (BOTTOM - TOP);
  const said = lines.map(({ name, points }) => `${name}: ${number(points[0][1])} at ${x} ${count(points[0][0])}, ${number(points.at(-1)[1])} at ${x} ${count(points.at(-1)[0])}`);
  const grid = ticks(low, high).map((tick) => [
    svg("line", { class: "rule", x1: LEFT, x2: RIGHT, y1: up(tick), y2: up(tick) }),
    svg("text", { x: LEFT - 8, y: up(tick) + 4, "text-anchor": "end" }, String(tick).replace("-", "−")),
  ]);
  const foot = ticks(left, right, { isWhole: true }).map((tick) => svg("text", { x: across(tick), y: BOTTOM + 18, "text-anchor": "middle" }, count(tick)));
  const drawn = lines.map(({ system, points, best }) => {
    const colour = `var(--system-${system})`;
    const dots = points.length > 40 ? [] : points;
    return [
      svg("polyline", { points: points.map(([a, b]) => `${across(a).toFixed(1)},${up(b).toFixed(1)}`).join(" "), class: "line", style: { "--system": colour } }),
      dots.map(([a, b]) => svg("circle", { cx: across(a), cy: up(b), r: a === best ? 5 : 2.5, class: a === best ? "dot best" : "dot", style: { "--system": colour } }, svg("title", null, `${x} ${count(a)}: ${number(b, 4)}${a === best ? ", the best checkpoint" : ""}`))),
    ];
  });
  const plot = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "chart", role: "img", "aria-label": `${title}. ${said.join(". ")}` }, grid, foot, drawn, svg("text", { x: RIGHT, y: BOTTOM + 34, "text-anchor": "end", class: "unit" }, x));
  return el("figure", null, el("figcaption", null, title, el("small", null, y)), plot);
}

function progress(s) {
  const { name, progress: examples } = meta.systems[s];
  if (!examples.length) return null;
  const epochs = [...new Set(examples.flatMap(({ captions }) => captions.map(([epoch]) => epoch)))];
  const heads = ["epoch", ...examples.map(({ image_id }) => `image ${image_id}`)].map((text) => el("th", { scope: "col" }, text));
  const row = (title, cells) => el("tr", null, el("th", { scope: "row" }, title), cells.map((text) => el("td", { dir: "auto" }, shortened(text ?? "", 300))));
  const rows = epochs.map((epoch) => row(epoch, examples.map(({ captions }) => captions.find(([at]) => at === epoch)?.[1])));
  rows.push(row("reference", examples.map(({ reference }) => reference)));
  return [el("h2", null, `Captions of split val by epoch, ${name}`), el("div", { class: "wide text" }, el("table", null, el("thead", null, el("tr", null, heads)), el("tbody", null, rows)))];
}

/** The charts by title: each has a line for every system that has these values. */
export function curves() {
  const charts = new Map();
  for (const s of shown()) {
    for (const { title, x, y, points, best } of meta.systems[s].curves) {
      if (!points.length) continue;
      if (!charts.has(title)) charts.set(title, { title, x, y, lines: [] });
      charts.get(title).lines.push({ system: s, name: meta.systems[s].name, points, best });
    }
  }
  if (!charts.size) return el("p", { class: "empty" }, "No log of a training was found.");
  const legend = shown().map((s) => el("span", { style: { "--system": `var(--system-${s})` } }, el("span", { class: "dot" }), meta.systems[s].name));
  const note = [...charts.values()].some(({ lines }) => lines.some(({ best }) => best !== null)) ? el("span", { class: "quiet" }, "large dot: the best checkpoint") : null;
  return [el("div", { class: "legend" }, legend, note), el("div", { class: "charts" }, [...charts.values()].map(chart)), el("div", { class: "page progress" }, shown().map(progress))];
}
