/** The cards of the chosen images. Only those near the window exist: 50,000 images cost as much as 50. */
import { el, number, signed } from "./dom.js";
import { extraOf, images, meta, pictureOf } from "./data.js";
import { mainScore, pair, shown, tone, valuesOf } from "./quantities.js";
import { change, state } from "./state.js";
import { captionText, shortened } from "./words.js";

const MARGIN = 2;
const MOST_LETTERS = 300;

/** The grid in a scrolling element. */
export class Grid {
  constructor(scroller) {
    this.scroller = scroller;
    this.order = [];
    this.cards = new Map();
    this.place = 0;
    this.inner = el("div", { class: "grid", role: "feed", "aria-label": "Images" });
    this.empty = el("p", { class: "empty" }, "No image passes the filters.");
    scroller.append(this.empty, this.inner);
    scroller.addEventListener("scroll", () => this.draw(), { passive: true });
    new ResizeObserver(() => this.layOut()).observe(scroller);
    this.inner.addEventListener("keydown", (event) => this.onKey(event));
    this.inner.addEventListener("focusin", (event) => {
      const card = event.target.closest(".card");
      if (card) this.place = Number(card.dataset.place);
    });
  }

  /** Shows these images, from the top unless `keepsPlace`. */
  show(order, { keepsPlace = false } = {}) {
    this.order = order;
    this.place = 0;
    this.empty.hidden = order.length > 0;
    if (!keepsPlace) this.scroller.scrollTop = 0;
    this.layOut();
  }

  layOut() {
    const width = this.inner.clientWidth;
    if (!width) return;
    this.columns = Math.max(1, Math.floor((width + 16) / (236 + 16)));
    this.cardWidth = (width - 16 * (this.columns - 1)) / this.columns;
    this.pictureHeight = Math.round(Math.min(260, this.cardWidth * 0.68));
    const captions = shown().length;
    this.rowHeight = this.pictureHeight + captions * (captions > 2 ? 56 : 66) + 92 + 16;
    this.inner.style.setProperty("--picture-height", `${this.pictureHeight}px`);
    this.inner.style.setProperty("--lines", captions > 2 ? 2 : 3);
    this.inner.style.height = `${Math.ceil(this.order.length / this.columns) * this.rowHeight}px`;
    for (const card of this.cards.values()) card.remove();
    this.cards.clear();
    this.draw();
  }

  draw() {
    if (!this.columns) return;
    const top = Math.max(0, this.scroller.scrollTop - this.inner.offsetTop);
    const first = Math.max(0, Math.floor(top / this.rowHeight) - MARGIN) * this.columns;
    const rows = Math.ceil(this.scroller.clientHeight / this.rowHeight) + 2 * MARGIN + 1;
    const last = Math.min(this.order.length, first + rows * this.columns);
    for (const [place, card] of this.cards) {
      if (place >= first && place < last) continue;
      if (card.contains(document.activeElement)) continue;
      card.remove();
      this.cards.delete(place);
    }
    for (let place = first; place < last; place++) {
      if (this.cards.has(place)) continue;
      const card = this.card(place);
      this.cards.set(place, card);
      this.inner.append(card);
    }
  }

  card(place) {
    const index = this.order[place];
    const [row, column] = [Math.floor(place / this.columns), place % this.columns];
    const [x, y] = [column * (this.cardWidth + 16), row * this.rowHeight];
    const card = el(
      "article",
      {
        class: "card",
        tabindex: place === this.place ? 0 : -1,
        "data-place": place,
        "aria-posinset": place + 1,
        "aria-setsize": this.order.length,
        "aria-label": labelOf(index),
        style: {
          transform: `translate(${x}px, ${y}px)`,
          width: `${this.cardWidth}px`,
          height: `${this.rowHeight - 16}px`,
        },
        onclick: () => change({ image: String(images.id[index]) }),
      },
      picture(index),
      el("div", { class: "captions" }, shown().map((s) => candidate(index, s))),
      el("ul", { class: "reference" }, images.references[index].slice(0, 3).map((text) => el("li", { dir: "auto" }, shortened(text, MOST_LETTERS)))),
      footer(index),
    );
    if (state.words && meta.has_extra) colour(card, index);
    return card;
  }

  /** Moves the focus to a card, and makes it visible. */
  focus(place) {
    this.place = Math.min(Math.max(0, place), this.order.length - 1);
    if (this.place < 0) return;
    const row = Math.floor(this.place / this.columns);
    const [top, height] = [row * this.rowHeight + this.inner.offsetTop, this.scroller.clientHeight];
    if (top < this.scroller.scrollTop) this.scroller.scrollTop = top - 16;
    if (top + this.rowHeight > this.scroller.scrollTop + height) this.scroller.scrollTop = top + this.rowHeight - height;
    this.draw();
    for (const card of this.cards.values()) card.tabIndex = -1;
    const card = this.cards.get(this.place);
    card.tabIndex = 0;
    card.focus({ preventScroll: true });
  }

  onKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const page = Math.max(1, Math.floor(this.scroller.clientHeight / this.rowHeight)) * this.columns;
    const steps = {
      ArrowRight: 1,
      ArrowLeft: -1,
      ArrowDown: this.columns,
      ArrowUp: -this.columns,
      PageDown: page,
      PageUp: -page,
      Home: -this.order.length,
      End: this.order.length,
    };
    if (event.key in steps) this.focus(this.place + steps[event.key]);
    else if (event.key === "Enter" || event.key === " ") event.target.closest(".card")?.click();
    else return;
    event.preventDefault();
  }
}

function labelOf(index) {
  const said = shown().map((s) => `${meta.systems[s].name}: ${shortened(images.systems[s].caption[index] ?? "no candidate", MOST_LETTERS)}`);
  return `Image ${images.id[index]}. ${said.join(". ")}`;
}

function picture(index) {
  const address = pictureOf(index);
  const none = () => el("span", { class: "no-picture" }, "no picture");
  if (!address) return el("div", { class: "picture" }, none());
  const img = el("img", { src: address, alt: "", loading: "lazy", decoding: "async", draggable: false });
  img.addEventListener("error", () => img.replaceWith(none()));
  return el("div", { class: "picture" }, img);
}

function candidate(index, s) {
  const system = images.systems[s];
  const value = mainScore() ? system.scores[mainScore()]?.[index] : null;
  const text = system.caption[index];
  return el(
    "div",
    { class: "candidate", "data-system": s, style: { "--system": `var(--system-${s})` } },
    captionText(text === null ? null : shortened(text, MOST_LETTERS)),
    el("span", { class: "value", title: mainScore() }, value === null || value === undefined ? "" : number(value, 2)),
  );
}

function footer(index) {
  const difference = mainScore() && pair() ? valuesOf(`diff:${mainScore()}`) : null;
  const value = difference?.[index];
  return el(
    "div",
    { class: "card-footer" },
    el("span", { class: "id" }, shortened(String(images.id[index]), 60)),
    difference && !Number.isNaN(value)
      ? el("span", { class: `change ${tone(mainScore(), value)}`, title: `difference of ${mainScore()}` }, signed(value))
      : null,
  );
}

async function colour(card, index) {
  const extra = await extraOf(index);
  for (const each of card.querySelectorAll(".candidate")) {
    const s = Number(each.dataset.system);
    if (extra[s].tokens) each.querySelector(".caption").replaceWith(captionText(images.systems[s].caption[index], extra[s].tokens));
  }
}
