// One study: what came of it and why, its images, its series with their revisions and times, who did what.

import { ask } from "./api.js";
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

let shown = { text: null, images: null };

function named({ number, what, uid_end: end }) {
  if (end === null) return capital(what);
  return number === null ? `Series …${end}` : `Series ${number}`;
}

function why(record, codes) {
  if (record.reason) return `${capital(sentence(codes.reasons, record.reason))}.`;
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
  const known = Object.entries(TIMINGS).filter(([stage]) => record.timings_ms?.[stage] !== undefined);
  if (!known.length) return null;
  return element("dl", { class: "timings" }, known.map(([stage, name]) => element("div", {},
    element("dt", {}, name), element("dd", {}, milliseconds(record.timings_ms[stage])))));
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
  const best = study.best === series.id;
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

async function showImages(study, wanted) {
  const readable = study.series.filter(({ outcome }) => READ.includes(outcome)).map(({ id }) => id);
  const series = readable.includes(wanted) ? wanted : readable.includes(study.best) ? study.best : readable[0];
  const current = study.series.find(({ id }) => id === series);
  const key = series === undefined ? null : `${study.study}/${series}/${current.revision}`;
  for (const link of document.querySelectorAll("#series a.images")) {
    const is = link.getAttribute("href").endsWith(`/${series}`);
    if (is) link.setAttribute("aria-current", "true");
  }
  if (key === shown.images && key !== null) return;
  shown.images = key;
  const none = element("p", { class: "empty" }, "No images are kept of this study.");
  const figure = key === null ? null : await viewer(study.study, series).catch(() => null);
  $("images").replaceChildren(figure ?? none);
}

// Shows a study as it is now; what did not change is left alone.
export async function showStudy(number, series, codes) {
  // Until it is known, and where there is none.
  if (shown.number !== number) {
    $("study").hidden = true;
    setText($("study-title"), "Study");
  }
  const study = await ask(`/api/studies/${number}`);
  const text = JSON.stringify([study, series, codes]);
  $("study").hidden = false;
  if (text === shown.text) return;
  if (shown.number !== number) {
    setText($("said"), "");
    shown.images = null;
  }
  shown = { ...shown, text, number };
  setText($("study-title"), `Study ${studyName(study)}`);
  $("study").dataset.outcome = standing(study);
  $("study").dataset.number = number;
  replace($("outcome"), ...heading(study));
  const focused = document.activeElement?.dataset.action;
  $("actions").replaceChildren(...actions(study, () => showStudy(number, series, codes)));
  if (focused) ($("actions").querySelector(`[data-action="${focused}"]`) ?? $("actions").firstElementChild)?.focus();
  replace($("series"), ...study.series.map((one) => card(one, study, codes)));
  $("people").replaceChildren(people(study.marks));
  await showImages(study, series);
}
