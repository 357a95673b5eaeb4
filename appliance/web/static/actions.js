// What people do about a study: acknowledge, take back, mark as seen or not, have it read again.

import { Refused, ask, tell } from "./api.js";
import { $, element, setText } from "./dom.js";
import { keep, kept } from "./kept.js";
import { plural, studyName } from "./words.js";

const ACTIONS = {
  acknowledge: { word: "Acknowledge", done: "Acknowledged.", main: true },
  "take-back": { word: "Take back the acknowledgement", done: "Taken back: the study is open again." },
  seen: { word: "Mark as seen", done: "Marked as seen.", main: true },
  unseen: { word: "Mark as not seen", done: "Marked as not seen: it counts again." },
  retry: { word: "Read again", done: "It is read again." },
};

const UNREAD = ["not_analysed", "failed"];
const unread = ({ series }) => series.filter(({ outcome }) => UNREAD.includes(outcome));

function applying(study) {
  const { state, acknowledged, seen } = study;
  const ended = unread(study);
  return [
    state === "suspect" ? "acknowledge" : null,
    acknowledged ? "take-back" : null,
    ended.some(({ attention }) => attention) ? "seen" : null,
    seen ? "unseen" : null,
    ended.some(({ in_progress: again }) => !again) ? "retry" : null,
  ].filter(Boolean);
}

// The name of whoever acts: the proxy's, or what is typed; null when they changed their mind.
async function who(title, word = title) {
  const { name } = await ask("/api/person");
  if (name) return name;
  const dialog = $("who");
  const field = dialog.querySelector("input");
  setText($("who-title"), title);
  setText(dialog.querySelector(".main"), word);
  field.value = kept("name") ?? "";
  dialog.returnValue = "";
  dialog.showModal();
  field.select();
  await new Promise((closed) => dialog.addEventListener("close", closed, { once: true }));
  const typed = field.value.trim();
  if (dialog.returnValue !== "yes" || !typed) return null;
  keep("name", typed);
  return typed;
}

async function act(study, action) {
  const { word } = ACTIONS[action];
  const name = await who(`${word}: study ${studyName(study)}`, word);
  if (name === null) return false;
  // It holds for what they have seen, not for what came meanwhile.
  const what = action === "retry" ? { series: unread(study).map(({ id }) => id) } : { upto: study.finding };
  await tell(`/api/studies/${study.study}/${action}`, { name, ...what });
  return true;
}

export function startActions() {
  $("who-not").addEventListener("click", () => $("who").close());
}

// Marks all files that belong to no series as seen, up to a finding; says what came of it.
export async function markFiles(upto) {
  try {
    const name = await who("Mark all damaged files as seen", "Mark as seen");
    if (name === null) return "";
    const { findings } = await tell("/api/files/seen", { name, upto });
    return `${plural(findings, "file", "files")} marked as seen.`;
  } catch (error) {
    return sorry(error);
  }
}

const sorry = (error) => (error instanceof Refused ? error.message : "Scanlight does not answer: try again.");

// The buttons that apply to a study, and a line that says what came of them; `changed` is called after each.
export function actions(study, changed) {
  return applying(study).map((action) => {
    const { word, done, main } = ACTIONS[action];
    const button = element("button", { type: "button", class: main ? "main" : null, "data-action": action }, word);
    button.addEventListener("click", async () => {
      button.disabled = true;
      const said = await act(study, action).then((acted) => (acted ? done : null), sorry);
      if (said !== null) {
        setText($("said"), said);
        // What cannot be shown now, the next look shows.
        await changed().catch(() => null);
      }
      button.disabled = false;
      if (button.isConnected) button.focus();
    });
    return button;
  });
}
