/** Heat maps: where in the photo a word comes from. Gradient x input of the features, one map per word. */
import { el } from "./dom.js";

/** A button that loads the maps, and then a button for each word, which lays its map over the photo. */
export function heatButtons(stage, load) {
  const box = el("div", { class: "heat" });
  const ask = el("button", { type: "button", class: "heat-word", onclick: () => fetchMaps() }, "Heat maps of the words");
  box.append(ask);
  async function fetchMaps() {
    ask.disabled = true;
    ask.textContent = "computing…";
    const heat = await load().catch((error) => ({ problem: error.message }));
    if (heat.problem) box.replaceChildren(el("span", { class: "heat-title" }, heat.problem));
    else box.replaceChildren(el("span", { class: "heat-title" }, "Heat map of"), ...wordButtons(stage, heat));
    (box.querySelector("button") ?? box.closest("dialog"))?.focus();
  }
  return box;
}

function wordButtons(stage, heat) {
  const largest = heat.words.flatMap(({ map }) => map).reduce((most, value) => Math.max(most, Math.abs(value)), 1e-12);
  return heat.words.map((word) => {
    const button = el("button", { type: "button", class: "heat-word", "aria-pressed": "false" }, word.text);
    button.addEventListener("click", () => {
      const isOn = button.getAttribute("aria-pressed") === "true";
      for (const each of document.querySelectorAll(".heat-word")) each.setAttribute("aria-pressed", "false");
      stage.querySelector("canvas")?.remove();
      if (isOn) return;
      button.setAttribute("aria-pressed", "true");
      lay(stage, heat, word, largest);
    });
    return button;
  });
}

/** Lays a map over the part of the photo that the encoder saw: warm patches raise the word's probability, cold ones lower it. */
function lay(stage, heat, word, largest) {
  const [rows, columns] = heat.grid;
  const canvas = el("canvas", { width: columns, height: rows, class: "heat-map", role: "img", "aria-label": `Heat map of ${word.text}` });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(columns, rows);
  word.map.forEach((value, place) => {
    const strength = Math.sqrt(Math.abs(value) / largest);
    pixels.data.set(value > 0 ? [255, 90, 30, 215 * strength] : [40, 110, 255, 150 * strength], 4 * place);
  });
  pen.putImageData(pixels, 0, 0);
  const img = stage.querySelector("img");
  if (!img) return;
  const [left, top, right, bottom] = heat.box; // fractions of the photo
  const place = () => {
    Object.assign(canvas.style, {
      left: `${img.offsetLeft + left * img.offsetWidth}px`,
      top: `${img.offsetTop + top * img.offsetHeight}px`,
      width: `${(right - left) * img.offsetWidth}px`,
      height: `${(bottom - top) * img.offsetHeight}px`,
    });
  };
  place();
  new ResizeObserver(place).observe(img);
  stage.append(canvas);
}
