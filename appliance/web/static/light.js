// The light: the primary state by colour, shape and word, with FAULT and open suspects both, and the counts.

import { $, element, replace, setText, whenChanged } from "./dom.js";
import { time } from "./clock.js";
import { plural, sentence, STATES } from "./words.js";

const ALERT_MS = 15000;

// What a light says under its word.
const LINES = {
  fault: ({ why }, codes) => why.map((code) => sentence(codes.faults, code)).join("; "),
  suspect: ({ counts }) =>
    `${plural(counts.suspect, "study", "studies")} with suspected COVID\u201119 pneumonia: read first`,
  not_analysed: ({ counts }) =>
    [
      counts.not_analysed ? `${plural(counts.not_analysed, "study", "studies")} not analysed` : "",
      counts.failed ? `${plural(counts.failed, "study", "studies")} failed` : "",
    ].filter(Boolean).join(", ") + ": Scanlight says nothing about them",
  reading: ({ counts }) =>
    counts.in_progress ? `${plural(counts.in_progress, "series", "series")} in progress` : "starting: the first checks run",
  ready: () => "no flag is not a negative result",
};

let newest = "";
let alertEnds = 0;

function show(light, state, line, since) {
  if (light.dataset.state !== state) {
    light.dataset.state = state;
    light.querySelector("use").setAttribute("href", `#${state}`);
  }
  setText(light.querySelector(".state"), STATES[state]);
  setText(light.querySelector(".call"), state === "fault" ? "call IT" : "");
  setText(light.querySelector(".line"), line);
  setText(light.querySelector(".since"), since);
}

function title(state, counts) {
  const suspects = state !== "suspect" && counts?.suspect ? ` and ${STATES.suspect}` : "";
  setText(document.querySelector("title"), `${STATES[state]}${suspects} · Scanlight`);
}

function showCounts(counts) {
  for (const box of $("counts").children) {
    const count = counts[box.dataset.count];
    setText(box.querySelector("dd").firstElementChild, String(count));
    box.classList.toggle("some", count > 0);
  }
}

const showNotices = whenChanged((sentences) => {
  replace($("notices"), ...sentences.map((one) => element("li", {}, one)));
  $("notices").hidden = sentences.length === 0;
});

function showBands({ bands, facts }, codes) {
  $("demo").hidden = !bands.includes("DEMO");
  $("not-accepted").hidden = !bands.includes("NOT ACCEPTED");
  setText($("why-not-accepted"), facts.not_accepted.map((code) => sentence(codes.not_accepted, code)).join("; "));
  setText($("notice"), facts.model.notice);
}

export function showStatus(status, codes) {
  const { state, counts } = status;
  if (!counts.suspect) newest = "";
  const since = `since ${time(status.since)}`;
  const another = counts.suspect > 1 ? newest : "";
  show($("light"), state, LINES[state](status, codes), state === "suspect" && another ? `${since} · ${another}` : since);
  const both = state === "fault" && counts.suspect > 0;
  if (both) show($("second"), "suspect", LINES.suspect(status, codes), another);
  $("second").hidden = !both;
  showCounts(counts);
  showNotices((status.notices ?? []).map((code) => sentence(codes.notices, code)));
  showBands(status, codes);
  title(state, counts);
  document.body.classList.remove("stale");
  if (performance.now() > alertEnds) document.body.classList.remove("alert");
}

// A new suspect, also while another is there.
export function alertAgain(at) {
  newest = `a new suspect at ${time(at)}`;
  alertEnds = performance.now() + ALERT_MS;
  document.body.classList.add("alert");
}

export function showNoSignal(lastAnswer) {
  const last = lastAnswer ? ` What else stands here is from ${time(lastAnswer, { seconds: true })}.` : "";
  show($("light"), "no_signal", `Scanlight does not answer: its state is not known. Call IT.${last}`, "");
  $("second").hidden = true;
  title("no_signal");
  document.body.classList.add("stale");
  document.body.classList.remove("alert");
}
