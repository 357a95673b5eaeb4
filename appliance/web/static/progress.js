// The series in progress: how many slices were seen, and which of four steps it is at. No invented percentages.

import { time } from "./clock.js";
import { $, element, replace, whenChanged } from "./dom.js";
import { plural, STAGES } from "./words.js";

const SHOWN = 5;
const STEPS = Object.keys(STAGES);

function item({ study, label, seen, stage, since }) {
  const at = STEPS.indexOf(stage);
  const slices = plural(seen, "slice", "slices");
  const steps = STEPS.map((_, step) => element("i", { class: step < at ? "done" : step === at ? "now" : "" }));
  return element("li", {},
    element("span", { class: "seen" }, slices),
    element("span", { class: "stage" }, STAGES[stage] ?? stage),
    element("span", { class: "tail" }, label || (study ? `no. ${study}` : ""), " ", time(since)),
    element("span", {
      class: "steps", role: "progressbar", "aria-label": `Study ${label || study}`,
      "aria-valuemin": 1, "aria-valuemax": STEPS.length, "aria-valuenow": at + 1,
      "aria-valuetext": `step ${at + 1} of ${STEPS.length}: ${STAGES[stage] ?? stage}, ${slices}`,
    }, ...steps));
}

export const showProgress = whenChanged((series) => {
  const items = series.slice(0, SHOWN).map(item);
  if (series.length > SHOWN) items.push(element("li", {}, `and ${series.length - SHOWN} more`));
  replace($("progress"), ...items);
  $("progress").hidden = series.length === 0;
  $("no-progress").hidden = series.length > 0;
});
