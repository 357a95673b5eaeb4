// A sound for a new suspect, made by the browser itself: two rising tones. Off until somebody wants it.

import { $, setText } from "./dom.js";
import { keep, kept } from "./kept.js";

const REMIND_MS = 5 * 60 * 1000;
const TONES = [{ hertz: 660, at: 0 }, { hertz: 880, at: 0.22 }, { hertz: 660, at: 0.6 }, { hertz: 880, at: 0.82 }];
const TONE_S = 0.18;
const LOUD = 0.35;

let context = null;
let playedAt = 0;
let on = kept("sound") === "on";

function play() {
  context ??= new AudioContext();
  if (context.state !== "running") return;
  for (const { hertz, at } of TONES) {
    const start = context.currentTime + at;
    const tone = new OscillatorNode(context, { frequency: hertz });
    const volume = new GainNode(context, { gain: 0 });
    // A tone that begins or ends at once clicks.
    volume.gain.setValueAtTime(0, start);
    volume.gain.linearRampToValueAtTime(LOUD, start + 0.02);
    volume.gain.linearRampToValueAtTime(0, start + TONE_S);
    tone.connect(volume).connect(context.destination);
    tone.start(start);
    tone.stop(start + TONE_S);
  }
}

function show() {
  setText($("sound"), `Sound: ${on ? "on" : "off"}`);
  $("test-sound").hidden = !on;
  $("needs-click").hidden = !on || context?.state === "running";
}

// Browsers play nothing until somebody clicked or pressed a key.
async function wake() {
  if (!on) return;
  context ??= new AudioContext();
  await context.resume();
  show();
}

// Once for a new suspect, and again every five minutes while one is open.
export function alarm({ isNew, isOpen }) {
  const remind = isOpen && playedAt > 0 && performance.now() - playedAt > REMIND_MS;
  if (!isOpen) playedAt = 0;
  if (!isNew && !remind) return;
  playedAt = performance.now();
  if (on) play();
}

export function startSound() {
  $("sound").addEventListener("click", async () => {
    on = !on;
    keep("sound", on ? "on" : "off");
    await wake();
    show();
    if (on) play();
  });
  $("test-sound").addEventListener("click", async () => {
    await wake();
    play();
  });
  for (const event of ["pointerdown", "keydown"]) addEventListener(event, wake);
  if (on) context = new AudioContext();
  show();
}
