// One study: what came of it and why, its images, its series with their revisions and times, who did what.

import { ask, NotLetIn } from "./api.js";
import { actions } from "./actions.js";
import { age, duration, time } from "./clock.js";
import { $, element, replace, setText } from "./dom.js";
import { outcomeOf, probabilityOf, standing } from "./studies.js";
import {
  capital, COMPLETED, cut, IN_FLIGHT, KERNELS, MARKS, milliseconds, OUTCOMES, plural, sentence, studyName, TIMINGS,
} from "./words.js";
import { viewer } from "./viewer.js";

const NO_FLAG = "No flag is not a negative result: the study stays in the usual order of reading.";
const READ = ["flagged", "not_flagged"];
const SAID_MS = 3000;

const NO_IMAGES = {
  none: "No images are kept of this study.",
  unread: "There are no images: nothing of this study was read.",
  trouble: "The images cannot be shown now.",
};

let shown = { number: null, text: null, images: null };
// The study and series that were asked for last: answers may come in another order.
let wanted = null;
let actedAt = -Infinity;

function named({ number, what, uid_end: end }) {
  if (end === null) return capital(what);
  return number === null ? `Series …${end}` : `Series ${number}`;
}

function why(record, codes) {
  if (record.reason) {
    const remedy = codes.remedies[record.reason];
    return `${capital(sentence(codes.reasons, record.reason))}${remedy ? `: ${remedy}` : ""}.`;
  }
  if (record.outcome === "flagged") return `Read, and flagged: the probability reached ${record.operating_point}.`;
  if (record.outcome === "not_flagged") return `Read, and not flagged: the probability is below ${record.operating_point}.`;
  return "Not ended yet.";
}

function facts(record) {
  const spacing = record.spacing_mm;
  return [
    record.slices ? plural(record.slices, "slice", "slices") : "",
    spacing ? `${Number(spacing[0].toFixed(2))} mm apart` : "",
    KERNELS[record.kernel] ?? "",
    COMPLETED[record.completed_by] ?? "",
  ].filter(Boolean).join(", ");
}

function timings(record) {
  const took = record.timings_ms ?? {};
  // Who never came to the model did not wait for it.
  const known = Object.entries(TIMINGS).filter(([stage]) => stage in took && (stage !== "queue" || "infer" in took));
  if (!known.length) return null;
  return element("dl", { class: "timings" }, known.map(([stage, name]) => element("div", {},
    element("dt", {}, name), element("dd", {}, milliseconds(took[stage])))));
}

function revisions(list, codes) {
  if (list.length < 2) return null;
  return element("ol", { class: "revisions" }, list.map((one) => element("li", {},
    `Revision ${one.revision}, ${time(one.recorded_at, { seconds: true })}: ${OUTCOMES[one.outcome].word}`,
    one.reason ? `, ${sentence(codes.reasons, one.reason)}` : "",
    one.probability === null ? "" : `, ${cut(one.probability)}`)));
}

function card(series, study, codes) {
  const { word, shape: name } = OUTCOMES[series.outcome] ?? IN_FLIGHT;
  const best = study.best === series.id && READ.includes(series.outcome);
  const images = READ.includes(series.outcome)
    ? element("a", { href: `#study/${study.study}/${series.id}`, class: "images" }, "Show its images") : null;
  return element("li", { class: "series", "data-outcome": series.outcome, "data-series": series.id },
    element("h4", {}, named(series),
      best ? element("small", {}, "the best-ranked reading") : null),
    element("p", {}, outcomeOf({ ...series, attention: false }), " ", probabilityOf(series)),
    element("p", {}, why(series, codes)),
    series.outcome === "skipped" ? null : [element("p", { class: "tail" }, facts(series)), timings(series)].filter(Boolean),
    revisions(series.revisions, codes), images);
}

function people(marks) {
  if (!marks.length) return element("p", { class: "empty" }, "Nobody has done anything yet.");
  return element("ol", { class: "marks" }, marks.map(({ action, name, at }) => element("li", {},
    `${MARKS[action]} by ${name}, ${time(at)}`)));
}

function heading(study) {
  const flag = duration(study.time_to_flag_s);
  return [
    outcomeOf(study), probabilityOf(study),
    element("p", { class: "tail" }, time(study.at, { seconds: true }), " ",
      element("small", { "data-since": study.at }, age(study.at)),
      flag ? ` ${flag} after the last slice` : ""),
    standing(study) === "not_flagged" ? element("p", {}, NO_FLAG) : null,
  ].filter(Boolean);
}

async function showImages(study, chosen, asked) {
  const readable = study.series.filter(({ outcome }) => READ.includes(outcome)).map(({ id }) => id);
  const series = readable.includes(chosen) ? chosen : readable.includes(study.best) ? study.best : readable[0];
  const current = study.series.find(({ id }) => id === series);
  const key = series === undefined ? null : `${study.study}/${series}/${current.revision}`;
  for (const link of document.querySelectorAll("#series a.images")) {
    const is = link.getAttribute("href").endsWith(`/${series}`);
    if (is) link.setAttribute("aria-current", "true");
  }
  if (key !== null && key === shown.images) return;
  shown.images = key;
  const without = (why) => element("p", { class: "empty" }, NO_IMAGES[why]);
  if (key === null) {
    $("images").replaceChildren(without("unread"));
    return;
  }
  try {
    const figure = await viewer(study.study, series);
    if (wanted === asked) $("images").replaceChildren(figure ?? without("none"));
  } catch (error) {
    if (error instanceof NotLetIn) throw error;
    if (wanted !== asked) return;
    // The next look asks for them again.
    shown.images = null;
    $("images").replaceChildren(without("trouble"));
  }
}

// Nothing of the study that was shown before is left under the name of another.
function clear() {
  shown = { number: null, text: null, images: null };
  $("study").hidden = true;
  $("images").replaceChildren();
  setText($("study-title"), "Study");
}

// Shows a study as it is now; what did not change is left alone. What was said of an action here goes with the
// next change that is not its own.
export async function showStudy(number, series, codes) {
  const asked = wanted = `${number}/${series}`;
  if (shown.number !== number) clear();
  const study = await ask(`/api/studies/${number}`);
  if (wanted !== asked) return;
  const text = JSON.stringify([study, series, codes]);
  if (text !== shown.text) {
    if (performance.now() - actedAt > SAID_MS) setText($("said"), "");
    shown = { ...shown, text, number };
    showFacts(study, series, codes);
  }
  $("study").hidden = false;
  await showImages(study, series, asked);
}

function showFacts(study, series, codes) {
  const { study: number } = study;
  setText($("study-title"), `Study ${studyName(study)}`);
  $("study").dataset.outcome = standing(study);
  $("study").dataset.number = number;
  replace($("outcome"), ...heading(study));
  const focused = document.activeElement?.dataset.action;
  $("actions").replaceChildren(...actions(study, () => {
    actedAt = performance.now();
    return showStudy(number, series, codes);
  }));
  if (focused) ($("actions").querySelector(`[data-action="${focused}"]`) ?? $("actions").firstElementChild)?.focus();
  replace($("series"), ...study.series.map((one) => card(one, study, codes)));
  $("people").replaceChildren(people(study.marks));
}
