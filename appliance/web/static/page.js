// The status page: asks /api/status and /api/series once a second and shows what they say.
// It is a view: every rule (the state, the counts, the reasons) is the appliance's.

const POLL_MS = 1000;
const ANSWER_MS = 2500;
const SILENCE_MS = 4000;
const FINDINGS = 10;
const IN_PROGRESS = 8;

const WORDS = {
  fault: "FAULT",
  suspect: "SUSPECT",
  not_analysed: "NOT ANALYSED",
  reading: "READING",
  ready: "READY",
  no_signal: "NO SIGNAL",
};

const OUTCOMES = {
  flagged: { word: "Suspected", shape: "suspect" },
  not_flagged: { word: "No flag", shape: "no_flag" },
  skipped: { word: "Skipped", shape: "skipped" },
  not_analysed: { word: "Not analysed", shape: "not_analysed" },
  failed: { word: "Failed", shape: "fault" },
};

const STAGES = ["receiving", "waiting", "reading", "provisional"];
const STAGE_WORDS = {
  receiving: "slices arrive",
  waiting: "waits to be read",
  reading: "is being read",
  provisional: "read, waits for late slices",
};

const plural = (n, one, many) => `${n} ${n === 1 ? one : many}`;
const tail = (uid) => (uid ? `…${uid.slice(-6).replace(/^\.+/, "")}` : "");
const sentence = (words, code) => words?.[code] ?? code.replaceAll("_", " ");

// What a light says under its word.
const LINES = {
  fault: ({ why, words }) => why.map((code) => sentence(words.faults, code)).join("; "),
  suspect: ({ counts }) =>
    `${plural(counts.suspect, "study", "studies")} with suspected COVID\u201119 pneumonia: read first`,
  not_analysed: ({ counts }) =>
    [
      counts.not_analysed ? `${plural(counts.not_analysed, "series", "series")} not analysed` : "",
      counts.failed ? `${plural(counts.failed, "series", "series")} failed` : "",
    ].filter(Boolean).join(", ") + ": Scanlight says nothing about them",
  reading: ({ counts }) =>
    counts.in_progress ? `${plural(counts.in_progress, "series", "series")} in progress` : "starting: the first checks run",
  ready: () => "no flag is not a negative result",
};

const $ = (id) => document.getElementById(id);

function setText(element, text) {
  // An unchanged text is left alone, or a screen reader would say it again every second.
  if (element.textContent !== text) element.textContent = text;
}

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function shape(name) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", `#${name}`);
  svg.append(use);
  return svg;
}

function time(iso, seconds = false) {
  const at = new Date(iso);
  const clock = at.toLocaleTimeString([], {
    hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hourCycle: "h23",
  });
  const today = at.toDateString() === new Date().toDateString();
  return today ? clock : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${clock}`;
}

function duration(from, to) {
  const s = (new Date(to) - new Date(from)) / 1000;
  if (!from || !to || !(s >= 0)) return "";
  if (s < 60) return `${s.toFixed(1)} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${Math.floor(s % 60)} s`;
  return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
}

// Cut, not rounded: 0.4999 must not read as 0.500 beside an operating point of 0.5.
const cut = (p) => (Math.floor(p * 1000 + 1e-9) / 1000).toFixed(3);

function showLight(light, state, line, since) {
  if (light.dataset.state !== state) {
    light.dataset.state = state;
    light.querySelector("use").setAttribute("href", `#${state}`);
  }
  setText(light.querySelector(".state"), WORDS[state]);
  setText(light.querySelector(".call"), state === "fault" ? "call IT" : "");
  setText(light.querySelector(".line"), line);
  setText(light.querySelector(".since"), since);
}

function showStatus(status, words) {
  const view = { ...status, words };
  const line = LINES[status.state](view);
  showLight($("light"), status.state, line, `since ${time(status.since)}`);
  const both = status.state === "fault" && status.counts.suspect > 0;
  if (both) showLight($("second"), "suspect", LINES.suspect(view), "");
  $("second").hidden = !both;

  for (const box of $("counts").children) {
    const count = status.counts[box.dataset.count];
    setText(box.querySelector("dd"), String(count));
    box.classList.toggle("some", count > 0);
  }

  $("demo").hidden = !status.bands.includes("DEMO");
  $("not-accepted").hidden = !status.bands.includes("NOT ACCEPTED");
  const model = status.facts.model;
  setText($("notice"), model.notice);
  setText($("foot"), [
    `${model.name} ${model.version}, flags from ${model.operating_point}`,
    model.engine && `${model.engine.flavour} on ${model.engine.device}`,
    `Scanlight ${status.version}`,
  ].filter(Boolean).join(" · "));
  setText(document.querySelector("title"), `${WORDS[status.state]} · Scanlight`);
  document.body.classList.remove("stale");
}

function showProgress(series) {
  const rows = series.slice(0, IN_PROGRESS).map(({ series: uid, seen, stage }) => {
    const at = STAGES.indexOf(stage);
    const steps = STAGES.map((_, step) => element("i", { class: step < at ? "done" : step === at ? "now" : "" }));
    return element("li", {},
      element("span", { class: "seen" }, plural(seen, "slice", "slices")),
      element("span", { class: "stage" }, STAGE_WORDS[stage] ?? stage),
      element("span", { class: "tail" }, tail(uid)),
      element("span", { class: "steps", "aria-hidden": "true" }, ...steps));
  });
  if (series.length > IN_PROGRESS) {
    rows.push(element("li", {}, `and ${series.length - IN_PROGRESS} more`));
  }
  $("progress").replaceChildren(...rows);
  $("no-progress").hidden = series.length > 0;
}

function findingRow(record, words) {
  const { word, shape: name } = OUTCOMES[record.outcome];
  const outcome = element("span", { class: "outcome" }, shape(name), element("span", {}, word));
  if (record.revision > 1) outcome.append(element("small", {}, `revision ${record.revision}`));
  const probability = record.probability === null ? "" : element("span", {},
    element("b", {}, cut(record.probability)), element("small", {}, `flags from ${record.operating_point}`));
  // The roles are named because a phone lays the rows out as grids, which takes them from the elements.
  const cell = (kind, content) => element("td", { role: "cell", class: kind }, content);
  return element("tr", { role: "row", "data-outcome": record.outcome },
    cell("time", element("time", { datetime: record.recorded_at }, time(record.recorded_at))),
    element("th", { role: "rowheader", scope: "row" }, outcome),
    cell("why", record.reason ? sentence(words.reasons, record.reason) : ""),
    cell("number", probability),
    cell("number", duration(record.last_slice_at, record.recorded_at)),
    cell("number tail", tail(record.series_uid)));
}

function showFindings(records, words) {
  $("findings").replaceChildren(...records.map((record) => findingRow(record, words)));
  $("no-findings").hidden = records.length > 0;
  setText($("no-findings"), "None yet.");
}

function showNoFindings() {
  $("findings").replaceChildren();
  $("no-findings").hidden = false;
  setText($("no-findings"), "The findings cannot be read.");
}

function showNoSignal(lastAnswer) {
  const last = lastAnswer ? ` What stands below is from ${time(lastAnswer, true)}.` : "";
  showLight($("light"), "no_signal", `Scanlight does not answer: its state is not known. Call IT.${last}`, "");
  $("second").hidden = true;
  setText(document.querySelector("title"), `${WORDS.no_signal} · Scanlight`);
  document.body.classList.add("stale");
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS) });
  if (!answer.ok) throw new Error(`${path} answered ${answer.status}`);
  return answer.json();
}

// Calls `show` when the value is another than the last time: lists keep their place and the selection.
function whenChanged(show) {
  let shown = null;
  return (value, ...more) => {
    const text = JSON.stringify([value, new Date().toDateString()]);
    if (text === shown) return;
    show(value, ...more);
    shown = text;
  };
}

const progressChanged = whenChanged(showProgress);
const findingsChanged = whenChanged((records, words) => (records ? showFindings(records, words) : showNoFindings()));

let words = null;
let version = null;
let answeredAt = -Infinity;
let lastAnswer = null;

async function poll() {
  words ??= await ask("/api/codes");
  const series = ask(`/api/series?limit=${FINDINGS}&in_flight=no&skipped=no`).catch(() => null);
  const status = await ask("/api/status");
  version ??= status.version;
  // The appliance was updated under an open page.
  if (version !== status.version) location.reload();
  showStatus(status, words);
  progressChanged(status.in_progress);
  // Only now: a page that cannot show what it heard is a page without signal.
  answeredAt = performance.now();
  lastAnswer = new Date();
  findingsChanged(await series, words);
}

function watch() {
  if (performance.now() - answeredAt > SILENCE_MS) showNoSignal(lastAnswer);
}

async function pollForEver() {
  for (;;) {
    // A failed poll is silence, which `watch` shows.
    await poll().catch(() => {});
    await new Promise((done) => setTimeout(done, POLL_MS));
  }
}

setInterval(watch, 500);
pollForEver();
