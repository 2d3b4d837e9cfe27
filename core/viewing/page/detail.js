/** The detail view: the photo large, the candidates with their words and alternatives, every score, the references. */
import { el, number, signed } from "./dom.js";
import { extraOf, hasHeat, heatOf, images, meta, pictureOf, placeOf } from "./data.js";
import { pair, shown, tone } from "./quantities.js";
import { change, state } from "./state.js";
import { captionText, shortened } from "./words.js";
import { heatButtons } from "./heat.js";

/** The dialog. `order()` returns the images that "previous" and "next" go through. */
export class Detail {
  constructor(order) {
    this.order = order;
    this.dialog = el("dialog", { class: "detail", tabindex: "-1", "aria-labelledby": "detail-title" });
    this.dialog.addEventListener("cancel", (event) => {
      event.preventDefault();
      this.close();
    });
    this.dialog.addEventListener("click", (event) => event.target === this.dialog && this.close());
    this.dialog.addEventListener("keydown", (event) => this.onKey(event));
    document.body.append(this.dialog);
  }

  close() {
    change({ image: null });
  }

  /** Shows the image in the state, or nothing, after these parts of the state have changed. */
  draw(changed) {
    const index = state.image === null ? undefined : placeOf(state.image);
    if (index === undefined) {
      if (this.dialog.open) this.dialog.close();
      return;
    }
    const isNew = this.index !== index || !this.dialog.open;
    this.index = index;
    if (isNew || changed.includes("hide") || changed.includes("pair")) this.fill(index);
    if (!this.dialog.open) this.dialog.showModal();
    if (isNew) this.dialog.focus();
    if (isNew) this.dialog.querySelector(".detail-text").scrollTop = 0;
  }

  onKey(event) {
    if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "ArrowRight" || event.key === "j") this.step(1);
    else if (event.key === "ArrowLeft" || event.key === "k") this.step(-1);
    else return;
    event.preventDefault();
  }

  step(by) {
    const order = this.order();
    const next = order[order.indexOf(this.index) + by];
    if (next === undefined) return;
    change({ image: String(images.id[next]) });
  }

  fill(index) {
    const place = this.order().indexOf(index);
    const arrow = (by, label, sign) =>
      el("button", { type: "button", class: "icon", "aria-label": label, title: label, onclick: () => this.step(by), disabled: this.order()[place + by] === undefined }, sign);
    this.stage = el("div", { class: "stage" });
    const address = pictureOf(index, true);
    if (address) {
      const img = el("img", { src: address, alt: `Image ${images.id[index]}` });
      img.addEventListener("error", () => img.replaceWith(el("span", { class: "no-picture" }, "no picture")));
      this.stage.append(img);
    } else this.stage.append(el("span", { class: "no-picture" }, "no picture"));
    this.dialog.replaceChildren(
      el(
        "header",
        { class: "detail-head" },
        el("h2", { id: "detail-title", dir: "auto" }, shortened(String(images.id[index]), 120)),
        images.file[index] && images.file[index] !== String(images.id[index]) ? el("span", { class: "file" }, shortened(images.file[index], 120)) : null,
        el("span", { class: "spacer" }),
        place >= 0 ? el("span", { class: "place" }, `${place + 1} of ${this.order().length}`) : null,
        arrow(-1, "Previous image", "←"),
        arrow(1, "Next image", "→"),
        el("button", { type: "button", class: "icon", "aria-label": "Close", title: "Close", onclick: () => this.close() }, "×"),
      ),
      el("div", { class: "detail-body" }, this.stage, el("div", { class: "detail-text", tabindex: 0, role: "region", "aria-label": "Captions and scores" }, shown().map((s) => this.system(index, s)), references(index), scoreTable(index))),
    );
  }

  system(index, s) {
    const text = images.systems[s].caption[index];
    const logProb = images.systems[s].log_prob[index];
    const section = el(
      "section",
      { class: "system", style: { "--system": `var(--system-${s})` } },
      el("h3", null, el("span", { class: "dot" }), meta.systems[s].name, el("small", null, logProb === null ? "" : `log-probability ${number(logProb, 2)}`)),
      captionText(text),
    );
    if (text !== null) this.fillIn(section, index, s, text);
    return section;
  }

  /** Adds the words, the alternatives and the heat maps where they are stored. */
  async fillIn(section, index, s, text) {
    const stage = this.stage;
    const extra = (await extraOf(index))?.[s] ?? { tokens: null, others: [] };
    if (extra.tokens) section.querySelector(".caption").replaceWith(captionText(text, extra.tokens));
    if (extra.others.length) {
      const rows = extra.others.map(([other, logProb]) => el("li", null, el("span", { dir: "auto" }, shortened(other)), el("span", { class: "value" }, logProb === null ? "" : number(logProb, 2))));
      section.append(el("details", { class: "others", open: true }, el("summary", null, `${extra.others.length} alternatives`), el("ol", null, rows)));
    }
    if (hasHeat(index, s)) section.append(heatButtons(stage, () => heatOf(index, s)));
  }
}

function references(index) {
  const items = images.references[index].map((text) => el("li", { dir: "auto" }, shortened(text)));
  if (!items.length) return el("p", { class: "none" }, "no references");
  return el("section", { class: "references" }, el("h3", null, "References"), el("ul", null, items));
}

function scoreTable(index) {
  const systems = shown();
  if (!meta.scores.length) return null;
  const difference = pair() && pair().every((s) => systems.includes(s)) ? pair() : null;
  const rows = meta.scores.map((name) => {
    const values = systems.map((s) => images.systems[s].scores[name]?.[index] ?? null);
    const [a, b] = difference ? difference.map((s) => images.systems[s].scores[name]?.[index] ?? null) : [null, null];
    const change = a === null || b === null ? null : a - b;
    const cell = difference ? el("td", { class: tone(name, change) }, change === null ? "–" : signed(change)) : null;
    return el("tr", null, el("th", { scope: "row" }, name), values.map((value) => el("td", null, number(value))), cell);
  });
  const heads = systems.map((s) => el("th", { scope: "col", style: { "--system": `var(--system-${s})` } }, el("span", { class: "dot" }), meta.systems[s].name));
  return el("section", null, el("h3", null, "Scores of this image"), el("div", { class: "wide" }, el("table", null, el("thead", null, el("tr", null, el("th", { scope: "col" }, "score"), heads, difference ? el("th", { scope: "col" }, "difference") : null)), el("tbody", null, rows))));
}
