/** The page: the bar at the top, the four tabs, the keys. */
import { count, el } from "./dom.js";
import { load, loadAll, meta } from "./data.js";
import { curves } from "./charts.js";
import { Detail } from "./detail.js";
import { Grid } from "./grid.js";
import { mainScore, pair, quantities } from "./quantities.js";
import { searchOf, selected } from "./select.js";
import { Sidebar } from "./sidebar.js";
import { change, onChange, state } from "./state.js";
import { scores, settings } from "./tables.js";

const TABS = { images: "Images", scores: "Scores", training: "Training", settings: "Settings" };
const KEYS = [
  ["/", "search"],
  ["arrows", "move between images"],
  ["Enter", "open the image"],
  ["← →", "previous and next image"],
  ["Esc", "close"],
  ["s", "choose the order"],
  ["r", "reverse the order"],
  ["d", "sort by the difference"],
  ["1 to 4", "the four tabs"],
  ["?", "these keys"],
];
const byId = (id) => document.getElementById(id);

let [grid, sidebar, detail, order] = [null, null, null, []];

function theme() {
  const modes = ["auto", "light", "dark"];
  const signs = { auto: "◐", light: "☀", dark: "☾" };
  const stored = () => {
    try {
      return localStorage.getItem("capfw-theme") ?? "auto";
    } catch {
      return "auto"; // storage is refused in a private window
    }
  };
  const button = byId("theme");
  const apply = (mode) => {
    if (mode === "auto") delete document.documentElement.dataset.theme;
    else document.documentElement.dataset.theme = mode;
    button.textContent = signs[mode] ?? signs.auto;
    button.setAttribute("aria-label", `Colours: ${mode}`);
    button.title = `Colours: ${mode}`;
  };
  let mode = stored();
  apply(mode);
  button.addEventListener("click", () => {
    mode = modes[(modes.indexOf(mode) + 1) % modes.length];
    apply(mode);
    try {
      localStorage.setItem("capfw-theme", mode);
    } catch {
      // the choice then lasts until the page is closed
    }
  });
}

function fillOrder() {
  const all = quantities().filter(({ key }) => !key.startsWith("diff"));
  const differences = quantities().filter(({ key }) => key.startsWith("diff"));
  const option = ({ key, label }) => el("option", { value: key, selected: key === state.sort }, label);
  byId("sort").replaceChildren(
    el("option", { value: "" }, "Order of the data"),
    ...(differences.length ? [el("optgroup", { label: "Difference" }, differences.map(option))] : []),
    el("optgroup", { label: "Value" }, all.map(option)),
  );
}

function drawBar() {
  const isRegex = state.regex;
  if (document.activeElement !== byId("search")) byId("search").value = state.q;
  byId("regex").setAttribute("aria-pressed", String(isRegex));
  byId("where").value = state.in;
  byId("sort").value = state.sort;
  byId("reverse").textContent = state.order === "asc" ? "↑" : "↓";
  byId("reverse").setAttribute("aria-label", state.order === "asc" ? "Lowest first" : "Highest first");
  byId("reverse").disabled = !state.sort;
  let problem = "";
  try {
    searchOf(state.q, isRegex);
  } catch (error) {
    problem = `This is no regular expression: ${error.message.split(": ").at(-1)}`;
  }
  byId("search").setAttribute("aria-invalid", String(Boolean(problem)));
  const all = count(meta.num_images);
  byId("count").textContent = problem || (order.length === meta.num_images ? `${all} images` : `${count(order.length)} of ${all} images`);
}

function drawTab() {
  for (const tab of Object.keys(TABS)) {
    const isOpen = state.tab === tab;
    byId(`tab-${tab}`).setAttribute("aria-selected", String(isOpen));
    byId(`tab-${tab}`).tabIndex = isOpen ? 0 : -1;
    byId(`panel-${tab}`).hidden = !isOpen;
  }
  const made = { scores, training: curves, settings }[state.tab];
  if (made) byId(`panel-${state.tab}`).replaceChildren(el("div", { class: "scroll", tabindex: 0 }, made()));
}

const RESHOWS = ["q", "in", "regex", "sort", "order", "ranges", "hide", "pair", "score", "words"];

function draw(changed) {
  if (!(state.tab in TABS)) state.tab = "images";
  if (["hide", "pair", "score"].some((name) => changed.includes(name))) {
    sidebar.build();
    fillOrder();
  } else if (["q", "in", "regex", "ranges", "words"].some((name) => changed.includes(name))) sidebar.draw();
  if (RESHOWS.some((name) => changed.includes(name))) {
    order = selected();
    grid.show(order, { keepsPlace: changed.length === 1 && ["words", "score"].includes(changed[0]) });
  }
  drawBar();
  if (["tab", "hide", "pair"].some((name) => changed.includes(name))) drawTab();
  const wasOpen = detail.dialog.open;
  detail.draw(changed);
  if (wasOpen && !detail.dialog.open) grid.focus(Math.max(0, order.indexOf(detail.index)));
}

function help() {
  const dialog = byId("help");
  const rows = KEYS.map(([keys, what]) => el("div", null, el("dt", null, el("kbd", null, keys)), el("dd", null, what)));
  dialog.replaceChildren(
    el("h2", null, "Keys"),
    el("dl", null, rows),
    el("p", { class: "quiet" }, 'Search: all words must occur; "a phrase"; -word excludes. The .* button makes it a regular expression. The address of the page keeps the search, the order, the filters and the image.'),
    el("button", { type: "button", onclick: () => dialog.close() }, "Close"),
  );
  dialog.showModal();
}

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape" && event.target === byId("search")) return event.target.blur();
  if (event.target.matches("input, select, textarea") || document.querySelector("dialog[open]")) return;
  const tab = Object.keys(TABS)[Number(event.key) - 1];
  if (event.key === "/") byId("search").focus();
  else if (event.key === "s") byId("sort").focus();
  else if (event.key === "r" && state.sort) change({ order: state.order === "asc" ? "desc" : "asc" });
  else if (event.key === "d" && pair() && mainScore()) change({ sort: `diff:${mainScore()}` });
  else if (event.key === "?") help();
  else if (tab) change({ tab });
  else if (event.key.startsWith("Arrow") && document.activeElement === document.body && state.tab === "images") grid.focus(grid.place);
  else return;
  event.preventDefault();
}

function connect() {
  for (const [tab, title] of Object.entries(TABS)) {
    byId("tabs").append(
      el("button", { type: "button", role: "tab", id: `tab-${tab}`, "aria-controls": `panel-${tab}`, onclick: () => change({ tab }) }, title),
    );
  }
  byId("tabs").addEventListener("keydown", (event) => {
    const names = Object.keys(TABS);
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    const tab = names[(names.indexOf(state.tab) + by + names.length) % names.length];
    change({ tab });
    byId(`tab-${tab}`).focus();
  });
  byId("search").addEventListener("input", (event) => change({ q: event.target.value }));
  byId("where").addEventListener("change", (event) => change({ in: event.target.value }));
  byId("regex").addEventListener("click", () => change({ regex: !state.regex }));
  byId("sort").addEventListener("change", (event) => change({ sort: event.target.value }));
  byId("reverse").addEventListener("click", () => change({ order: state.order === "asc" ? "desc" : "asc" }));
  byId("filters").addEventListener("click", () => {
    const isOpen = document.body.classList.toggle("shows-sidebar");
    byId("filters").setAttribute("aria-expanded", String(isOpen));
  });
  byId("keys").addEventListener("click", help);
  document.addEventListener("keydown", onKey);
}

/** While a run goes on, asks the server for its state, and shows new curves, or all of the page when there are results. */
function follow() {
  const again = async () => {
    let next;
    try {
      next = await load("live", { again: true });
    } catch {
      byId("status").textContent = "The server does not answer.";
      setTimeout(again, 3000);
      return;
    }
    if (next.version !== meta.version) {
      location.reload();
      return;
    }
    next.systems.forEach((system, s) => Object.assign(meta.systems[s], system));
    byId("status").textContent = next.status;
    if (["training", "scores"].includes(state.tab) && !byId(`panel-${state.tab}`).contains(document.activeElement)) drawTab();
    if (next.is_live) setTimeout(again, 3000);
  };
  again();
}

async function start() {
  theme();
  await loadAll((share) => (byId("count").textContent = `loading ${Math.round(100 * share)} %`));
  document.title = `${meta.title} · capfw`;
  byId("title").textContent = meta.title;
  byId("notices").replaceChildren(...meta.notices.map((text) => el("p", null, text)));
  byId("notices").hidden = !meta.notices.length;
  connect();
  grid = new Grid(byId("scroller"));
  sidebar = new Sidebar(byId("sidebar"));
  detail = new Detail(() => order);
  if (!meta.num_images && state.tab === "images") state.tab = "training";
  fillOrder();
  onChange(draw);
  draw(["tab", ...RESHOWS]);
  document.body.dataset.ready = "true";
  if (meta.is_live) follow();
}

start().catch((error) => {
  byId("count").textContent = error.message;
  throw error;
});
