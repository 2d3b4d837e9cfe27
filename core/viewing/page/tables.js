/** The tables: the scores of the split, and the settings in which the systems differ. */
import { count, el, number, signed } from "./dom.js";
import { meta } from "./data.js";
import { pair, shown, tone } from "./quantities.js";

function heads(first, extra = []) {
  const names = shown().map((s) => el("th", { scope: "col", style: { "--system": `var(--system-${s})` } }, el("span", { class: "dot" }), meta.systems[s].name));
  return el("thead", null, el("tr", null, el("th", { scope: "col" }, first), names, extra));
}

/** The scores of the split, the warnings of the runs, and the images that they left out. */
export function scores() {
  const systems = shown();
  const names = [...new Set(systems.flatMap((s) => Object.keys(meta.systems[s].scores)))];
  const both = pair() && pair().every((s) => systems.includes(s)) ? pair() : null;
  const rows = names.map((name) => {
    const [a, b] = both ? both.map((s) => meta.systems[s].scores[name]) : [];
    const difference = a === undefined || b === undefined ? null : a - b;
    const last = both ? el("td", { class: tone(name, difference) }, difference === null ? "–" : signed(difference)) : null;
    return el("tr", null, el("th", { scope: "row" }, name), systems.map((s) => el("td", null, number(meta.systems[s].scores[name], 4))), last);
  });
  const facts = [...new Set(systems.flatMap((s) => Object.keys(meta.systems[s].facts)))].map((name) =>
    el("tr", null, el("th", { scope: "row" }, name), systems.map((s) => el("td", null, meta.systems[s].facts[name] ?? "–")), both ? el("td") : null),
  );
  const table = names.length + facts.length
    ? el("div", { class: "wide" }, el("table", null, heads(meta.split ? `split ${meta.split}` : "", both ? [el("th", { scope: "col" }, "difference")] : []), el("tbody", null, rows, facts)))
    : el("p", { class: "empty" }, "No scores yet.");
  const warnings = systems.flatMap((s) => meta.systems[s].warnings.map((text) => el("li", null, systems.length > 1 ? `${meta.systems[s].name}: ${text}` : text)));
  return el(
    "div",
    { class: "page" },
    el("h2", null, "Scores"),
    names.length ? el("p", { class: "quiet" }, "Scores are unscaled: a CIDEr of 1.2 is what papers print as 120.") : null,
    table,
    warnings.length ? [el("h2", null, "Warnings"), el("ul", { class: "warnings" }, warnings)] : null,
    unreadable(systems),
  );
}

function unreadable(systems) {
  const rows = systems.flatMap((s) => meta.systems[s].unreadable.map(({ split, image_id, reason }) => el("tr", null, el("td", null, meta.systems[s].name), el("td", null, split), el("td", null, image_id), el("td", null, reason))));
  if (!rows.length) return null;
  const columns = ["run", "split", "image", "reason"].map((name) => el("th", { scope: "col" }, name));
  return [el("h2", null, "Unreadable images"), el("p", { class: "quiet" }, `The runs left out ${count(rows.length)} images.`), el("div", { class: "wide text" }, el("table", null, el("thead", null, el("tr", null, columns)), el("tbody", null, rows.slice(0, 500))))];
}

function flat(value, place = "", found = {}) {
  if (value !== null && typeof value === "object" && Object.keys(value).length) {
    for (const [key, each] of Object.entries(value)) flat(each, `${place}/${key}`, found);
  } else found[place] = value === null || typeof value === "object" ? JSON.stringify(value) : String(value);
  return found;
}

function table(title, documents, isAll) {
  const flattened = documents.map((document) => flat(document ?? {}));
  const places = [...new Set(flattened.flatMap(Object.keys))].filter(Boolean);
  const differing = places.filter((place) => new Set(flattened.map((each) => each[place])).size > 1);
  const chosen = isAll || documents.length < 2 ? places : differing;
  const rows = chosen.map((place) => {
    const name = differing.includes(place) && documents.length > 1 ? "differs" : "";
    return el("tr", { class: name }, el("th", { scope: "row" }, place), flattened.map((each) => el("td", { dir: "auto" }, each[place] ?? "–")));
  });
  if (!places.length) return null;
  const body = rows.length ? el("div", { class: "wide text settings" }, el("table", null, heads("setting"), el("tbody", null, rows))) : el("p", { class: "quiet" }, "No difference.");
  return [el("h2", null, title, documents.length > 1 ? el("small", null, `${differing.length} of ${places.length} settings differ`) : null), body];
}

/** The specs and environments, side by side: only the differences, or all of them. */
export function settings() {
  const page = el("div", { class: "page" });
  const draw = (isAll) => {
    const choose = el("label", { class: "check" }, el("input", { type: "checkbox", checked: isAll, onchange: (event) => draw(event.target.checked) }), "Show settings that are equal too");
    const systems = shown().map((s) => meta.systems[s]);
    const parts = [table("Spec", systems.map((each) => each.spec), isAll), table("Environment", systems.map((each) => each.environment), isAll)];
    page.replaceChildren(...[systems.length > 1 ? choose : null, ...parts].flat().filter(Boolean));
    if (!parts.some(Boolean)) page.append(el("p", { class: "empty" }, "Result files have no settings."));
  };
  draw(false);
  return page;
}
