// Asking the appliance, and telling it what people did.

const ANSWER_MS = 2500;
const ACTION_MS = 15000;

export const station = new URLSearchParams(location.search).get("station");

// The page is open, but not to this screen any more.
export class NotLetIn extends Error {}

// The message is a sentence for people.
export class Refused extends Error {}

export function address(path, parameters = {}) {
  const all = Object.entries({ ...parameters, station }).filter(([, value]) => (value ?? "") !== "");
  const query = new URLSearchParams(all).toString();
  return query ? `${path}?${query}` : path;
}

async function answered(answer) {
  if (answer.status === 401) throw new NotLetIn();
  if (answer.ok) return answer.json();
  const { error } = await answer.json().catch(() => ({}));
  throw new Refused(error ?? `Scanlight answered ${answer.status}.`);
}

export async function ask(path, parameters) {
  const answer = await fetch(address(path, parameters), {
    cache: "no-store", signal: AbortSignal.timeout(ANSWER_MS),
  });
  return answered(answer);
}

export async function tell(path, body) {
  const answer = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Scanlight": "1" },
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(ACTION_MS),
  }).catch(() => {
    throw new Refused("Scanlight does not answer: nothing is known to have changed. Look again, then try again.");
  });
  return answered(answer);
}
