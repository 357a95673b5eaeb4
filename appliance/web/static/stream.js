// Hears the status: by server-sent events, and by asking once a second where those are cut on the way.

import { address, ask, NotLetIn } from "./api.js";

const POLL_MS = 1000;
const LOOK_MS = 500;
// The appliance sends at least one event a second, so a proxy holds back what is later than this.
const EVENT_MS = 3000;
const SILENCE_MS = 4000;
const STREAM_AGAIN_MS = 30000;

// `heard` gets each status; what it throws counts as silence, since a page that cannot show what it heard is a
// page without signal. `silent` gets the time of the last answer, `shut` is called when this screen has no access.
export function follow({ heard, silent, shut }) {
  let answeredAt = -Infinity;
  let lastAnswer = null;
  let source = null;
  let eventAt = 0;
  let flowing = false;
  let streamAgainAt = 0;
  let polling = false;

  async function take(status) {
    await heard(status);
    answeredAt = performance.now();
    lastAnswer = status.facts.published_at;
  }

  function listen() {
    eventAt = performance.now();
    flowing = false;
    const opened = new EventSource(address("/events"));
    source = opened;
    opened.addEventListener("status", (event) => {
      eventAt = performance.now();
      flowing = true;
      take(JSON.parse(event.data)).catch(() => {});
    });
    opened.addEventListener("error", () => {
      if (source === opened) stopListening();
    });
  }

  function stopListening() {
    source.close();
    source = null;
    flowing = false;
    streamAgainAt = performance.now() + STREAM_AGAIN_MS;
    poll();
  }

  async function poll() {
    if (polling) return;
    polling = true;
    try {
      await take(await ask("/api/status"));
    } catch (error) {
      if (error instanceof NotLetIn) shut();
    }
    polling = false;
  }

  function look() {
    const now = performance.now();
    if (source && now - eventAt > EVENT_MS) stopListening();
    if (!source && now > streamAgainAt) listen();
    if (now - answeredAt > SILENCE_MS) silent(lastAnswer);
  }

  listen();
  poll();
  setInterval(look, LOOK_MS);
  setInterval(() => {
    if (!flowing) poll();
  }, POLL_MS);
}
