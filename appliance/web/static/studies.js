// A table of studies: the last ten beside the light, and those of the history.

import { age, duration, time } from "./clock.js";
import { element, replace, setText, shape } from "./dom.js";
import { capital, cut, IN_FLIGHT, OUTCOMES, plural, sentence, studyName } from "./words.js";

const COLUMNS = [
  ["Time", ""],
  ["Study", ""],
  ["Outcome", ""],
  ["Why", ""],
  ["Probability", "number"],
  ["Time to flag", "number"],
];

// How a study stands: a flag stays until somebody acknowledged it, whatever a later revision says.
export function standing({ outcome, state }) {
  if (state === "suspect" || state === "acknowledged") return "flagged";
  return outcome;
}

// What was not analysed or failed, and nobody has seen: how many of each.
function unseen(list = []) {
  const count = (kind) => list.filter(({ outcome }) => outcome === kind).length;
  return ["not_analysed", "failed"].filter(count).map((kind) =>
    `${plural(count(kind), "series", "series")} ${OUTCOMES[kind].word.toLowerCase()} and not seen`);
}

function notes(study) {
  const said = [];
  if (study.state === "suspect") said.push("not acknowledged");
  if (standing(study) === "flagged") said.push(...unseen(study.unseen));
  else if (study.attention) said.push("not seen");
  if (study.seen) said.push(`seen by ${study.seen.name}`);
  if (study.acknowledged) said.push(`acknowledged by ${study.acknowledged.name}`);
  if (study.earlier_flag) said.push("flagged by an earlier revision");
  else if (study.revision > 1) said.push(`revision ${study.revision}`);
  return said.join(", ");
}

export function outcomeOf(study) {
  const { word, shape: name } = OUTCOMES[standing(study)] ?? IN_FLIGHT;
  const said = notes(study);
  return element("span", { class: "outcome" },
    element("span", {}, shape(name), word), said ? element("small", {}, said) : null);
}

export function probabilityOf({ probability, operating_point }) {
  if (probability === null) return null;
  return element("span", {},
    element("b", {}, cut(probability)), element("small", {}, `flags from ${operating_point}`));
}

function reasons({ reason, unseen: list }) {
  return [...new Set([reason, ...list.map((one) => one.reason)])].filter(Boolean);
}

function row(study, codes) {
  // The roles are named because a phone lays the rows out as grids, which takes them from the elements.
  const cell = (kind, ...content) => element("td", { role: "cell", class: kind }, ...content);
  return element("tr", { role: "row", "data-outcome": standing(study), "data-state": study.state },
    cell("time",
      element("time", { datetime: study.at }, time(study.at)),
      element("small", { "data-since": study.at }, age(study.at))),
    element("th", { role: "rowheader", scope: "row" },
      element("a", { href: `#study/${study.study}` }, studyName(study))),
    cell("what", outcomeOf(study)),
    cell("why", reasons(study).map((reason) => capital(sentence(codes.reasons, reason))).join("; ")),
    cell("number probability", probabilityOf(study)),
    cell("number", duration(study.time_to_flag_s)));
}

export function studyTable(container, label) {
  const head = COLUMNS.map(([name, kind]) => element("th", { role: "columnheader", scope: "col", class: kind }, name));
  const body = element("tbody", { role: "rowgroup" });
  container.append(element("table", { role: "table", "aria-label": label, class: "studies" },
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, head)), body));
  return (studies, codes) => replace(body, ...studies.map((study) => row(study, codes)));
}

export function growOlder() {
  for (const one of document.querySelectorAll("[data-since]")) setText(one, age(one.dataset.since));
}
