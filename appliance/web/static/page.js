// The page of the light: hears the status, shows it, and one of three views below it. It is a view: every rule
// (the state, the counts, the reasons) is the appliance's.

import { startActions } from "./actions.js";
import { ask, NotLetIn, Refused, station } from "./api.js";
import { setClock } from "./clock.js";
import { $, setText, whenChanged } from "./dom.js";
import { showHistory, startHistory } from "./history.js";
import { alertAgain, showNoSignal, showStatus } from "./light.js";
import { forget } from "./kept.js";
import { showProgress } from "./progress.js";
import { startScheme } from "./scheme.js";
import { alarm, startSound } from "./sound.js";
import { follow } from "./stream.js";
import { growOlder, studyTable } from "./studies.js";
import { showStudy } from "./study.js";

const LAST = 10;
const LOOK_AGAIN_MS = 2000;
const IDLE_MS = 5 * 60 * 1000;
const HEADINGS = { history: "history-title", study: "study-title" };

let codes = null;
let version = null;
let alarmed = null;
let shownAt = -Infinity;
let shownOf = "";
let view = null;
let cameFrom = "";
let usedAt = performance.now();

const showLast = studyTable($("last"), "Last studies");
const lastChanged = whenChanged((studies) => {
  if (studies) showLast(studies, codes);
  $("no-last").hidden = studies?.length > 0;
  setText($("no-last"), studies ? "None yet." : "The studies cannot be read.");
});

function parse() {
  const [name, query = ""] = location.hash.slice(1).split("?");
  const [kind, number, series = ""] = name.split("/");
  if (kind === "study" && /^[0-9]+$/.test(number)) return { kind, number: Number(number), series: Number(series) };
  return kind === "history" ? { kind, query } : { kind: "light" };
}

const SHOW = {
  light: async () => lastChanged(await ask("/api/studies", { limit: LAST, skipped: "no" }).catch(rethrowUnlessRefused)),
  history: ({ query }) => showHistory(query, codes),
  study: ({ number, series }) => showStudy(number, series, codes),
};

function rethrowUnlessRefused(error) {
  if (error instanceof NotLetIn) throw error;
  return null;
}

async function refresh() {
  if (!codes) return;
  const asked = view;
  shownAt = performance.now();
  try {
    await SHOW[asked.kind](asked);
    setText($("trouble"), "");
  } catch (error) {
    if (error instanceof NotLetIn) shut();
    else if (asked === view) setText($("trouble"), error instanceof Refused ? error.message : "This cannot be shown now.");
  }
  growOlder();
}

async function go() {
  const before = view;
  view = parse();
  document.body.dataset.view = view.kind;
  for (const name of Object.keys(SHOW)) $(`view-${name}`).hidden = name !== view.kind;
  if (before && before.kind !== "study") cameFrom = before.hash;
  view.hash = location.hash;
  $("back").setAttribute("href", cameFrom || "#");
  setText($("trouble"), "");
  for (const id of ["said", "files-said"]) setText($(id), "");
  await refresh();
  if (!before || before.kind === view.kind) return;
  const heading = HEADINGS[view.kind];
  const link = before.kind === "study" && document.querySelector(`#view-${view.kind} a[href="#study/${before.number}"]`);
  (link || (heading ? $(heading) : null))?.focus();
}

function shut() {
  // Without the fragment: at the door one is taken for the token.
  location.replace("/");
}

async function heard(status) {
  codes ??= await ask("/api/codes");
  version ??= status.version;
  // The appliance was updated under an open page.
  if (version !== status.version) location.reload();
  setClock(status.facts.published_at);
  const { newest_alarm: newest, counts } = status;
  const isNew = alarmed !== null && newest > alarmed;
  // One that was acknowledged and is open again is none: the newest that there ever was counts.
  alarmed = Math.max(alarmed ?? 0, newest);
  if (isNew) alertAgain(status.facts.published_at);
  showStatus(status, codes);
  alarm({ isNew, isOpen: counts.suspect > 0 });
  showProgress(status.in_progress);
  showFoot(status);
  const of = JSON.stringify([status.state, counts, newest, status.in_progress.map(({ stage }) => stage)]);
  if (of !== shownOf || performance.now() - shownAt > LOOK_AGAIN_MS) {
    shownOf = of;
    refresh();
  }
}

function showFoot({ facts: { model }, version: running }) {
  setText($("foot"), [
    `${model.name} ${model.version}, flags from ${model.operating_point}`,
    model.engine && `${model.engine.flavour} on ${model.engine.device}`,
    `Scanlight ${running}`,
  ].filter(Boolean).join(" · "));
}

// A kiosk that somebody left goes back to the light, and forgets who it was.
function watchIdle() {
  for (const event of ["pointermove", "pointerdown", "keydown", "wheel"]) {
    addEventListener(event, () => { usedAt = performance.now(); }, { passive: true });
  }
  setInterval(() => {
    if (performance.now() - usedAt <= IDLE_MS || $("who").open) return;
    forget("name");
    if (view.kind !== "light") location.hash = "";
  }, 1000);
}

addEventListener("hashchange", go);
addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input, select");
  if (event.key === "Escape" && !typing && view.kind !== "light" && !$("who").open) location.hash = view.kind === "study" ? cameFrom : "";
});
if (station) {
  setText($("limited"), `View limited to one scanner: ${station}`);
  $("limited").hidden = false;
}
startScheme();
startSound();
startHistory();
startActions();
watchIdle();
go();
follow({ heard, silent: showNoSignal, shut });
