/** Heat maps: where in the photo a word comes from. Gradient x input of the features, one map per word. */
import { el } from "./dom.js";

/** Buttons of the words, which lay their map over the photo; null where there are no maps. `load()` returns the maps. */
export async function heatLayer(stage, section, load) {
  const heat = await load();
  if (!heat?.words?.length) return null;
  const largest = Math.max(...heat.words.flatMap(({ map }) => map.map(Math.abs)), 1e-12);
  let pressed = null;
  const buttons = heat.words.map((word) => {
    const button = el("button", { type: "button", class: "heat-word", "aria-pressed": "false", onclick: () => toggle(button, word) }, word.text.trim() || "⏎");
    return button;
  });
  function toggle(button, word) {
    for (const each of stage.ownerDocument.querySelectorAll(".heat-word")) each.setAttribute("aria-pressed", "false");
    stage.querySelector("canvas")?.remove();
    pressed = pressed === button && stage.dataset.heat ? null : button;
    delete stage.dataset.heat;
    if (!pressed) return;
    button.setAttribute("aria-pressed", "true");
    stage.dataset.heat = word.text.trim();
    lay(stage, heat, word, largest);
  }
  return el("div", { class: "heat" }, el("span", { class: "heat-title" }, "Heat map of"), buttons);
}

/** Lays a map over the part of the photo that the encoder saw: warm patches raise the word's probability, cold ones lower it. */
function lay(stage, heat, word, largest) {
  const [rows, columns] = heat.grid;
  const canvas = el("canvas", { width: columns, height: rows, class: "heat-map", role: "img", "aria-label": `Heat map of ${word.text.trim()}` });
  const pen = canvas.getContext("2d");
  const pixels = pen.createImageData(columns, rows);
  word.map.forEach((value, place) => {
    const strength = Math.sqrt(Math.abs(value) / largest);
    pixels.data.set(value > 0 ? [255, 90, 30, 215 * strength] : [40, 110, 255, 150 * strength], 4 * place);
  });
  pen.putImageData(pixels, 0, 0);
  const img = stage.querySelector("img");
  if (!img) return;
  const [left, top, right, bottom] = heat.box ?? [0, 0, 1, 1]; // fractions of the photo
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
