// The images of a reading, slice by slice, with what the model looked at.

import { address, ask } from "./api.js";
import { element, setText } from "./dom.js";

const WINDOWS = { lung: "Lung", mediastinum: "Mediastinum", bone: "Bone" };
const NEIGHBOURS = 3;

// On the model's grid rows go from front to back and columns from the patient's right to the left.
const MARKS = { top: "A", right: "L", bottom: "P", left: "R" };

// What the colours of the heatmap stand for.
function legend(scale) {
  const bar = element("span", { class: "colours" });
  bar.style.background = `linear-gradient(to right, ${scale.map(({ colour }) => colour).join(", ")})`;
  return element("p", { class: "scale" }, "raised the score little ", bar, " much");
}

// The figure for one series of a study; null where no images are kept of it.
export async function viewer(study, series) {
  const path = `/api/studies/${study}/series/${series}`;
  const { slices, spacing_mm: spacing, heat, peak, scale } = await ask(`${path}/images`);
  if (!slices) return null;

  const image = element("img", { alt: "", width: 512, height: 512, decoding: "async" });
  const slider = element("input", { type: "range", min: 1, max: slices, value: (peak ?? slices >> 1) + 1, "aria-label": "Slice" });
  const where = element("output", { class: "where" });
  const windows = Object.entries(WINDOWS).map(([value, name]) => element("label", {},
    element("input", { type: "radio", name: "window", value, ...(value === "lung" ? { checked: "" } : {}) }), name));
  const window_ = element("fieldset", { class: "windows" }, element("legend", { class: "hidden" }, "Window"), windows);
  const overlay = element("input", { type: "checkbox", ...(heat ? { checked: "" } : { disabled: "" }) });
  const missing = element("p", { class: "missing", role: "alert", hidden: "" }, "This image cannot be shown.");

  const source = (slice) => address(`${path}/slices/${slice}.png`, {
    window: window_.querySelector(":checked").value, heat: overlay.checked ? "yes" : "no",
  });

  function show() {
    const slice = Number(slider.value) - 1;
    image.src = source(slice);
    // Depth goes from the feet to the head.
    const place = `Slice ${slice + 1} of ${slices}, ${Math.round(slice * spacing[0])} mm above the lowest`;
    setText(where, place);
    slider.setAttribute("aria-valuetext", place);
    image.alt = `Axial ${place.toLowerCase()}, ${WINDOWS[window_.querySelector(":checked").value].toLowerCase()} window`
      + (overlay.checked ? ", with the heatmap" : "");
    for (let away = 1; away <= NEIGHBOURS; away += 1) {
      for (const near of [slice - away, slice + away]) {
        if (near >= 0 && near < slices) new Image().src = source(near);
      }
    }
  }

  function step(by) {
    slider.value = Number(slider.value) + by;
    show();
  }

  image.addEventListener("error", () => { missing.hidden = false; });
  image.addEventListener("load", () => { missing.hidden = true; });
  slider.addEventListener("input", show);
  window_.addEventListener("change", show);
  overlay.addEventListener("change", show);
  const frame = element("div", { class: "frame-of-image" }, image,
    Object.entries(MARKS).map(([side, mark]) => element("span", { class: `mark ${side}`, "aria-hidden": "true" }, mark)));
  frame.addEventListener("wheel", (event) => {
    event.preventDefault();
    step(event.deltaY > 0 ? -1 : 1);
  }, { passive: false });
  show();
  return element("figure", { class: "viewer" },
    frame, missing, slider, where,
    element("div", { class: "look" }, window_,
      element("label", {}, overlay, heat ? "Heatmap" : "No heatmap")),
    heat ? legend(scale) : null,
    element("figcaption", {},
      `As the model saw it: ${spacing[0]} mm slices. Left of the image is the patient's right.`,
      heat ? " The heatmap shows what raised the model's score; it outlines no lesion." : ""));
}
