// The token is in the fragment of the link, which is sent to nobody. It is taken out of the address at once, so
// that it stays in no history and on no screen, and posted for a cookie.

const MINUTE_S = 60;
const AGAIN_S = 5;
const PLACES = /^(study\/|history)/;

let token = "";
let waiting = 0;

function say(word, line) {
  document.getElementById("word").textContent = word;
  document.getElementById("line").textContent = line;
}

async function enter() {
  say("Opening …", "");
  const answer = await fetch("/api/enter", {
    method: "POST",
    headers: { "Content-Type": "application/json", "X-Scanlight": "1" },
    body: JSON.stringify({ token }),
  });
  if (answer.ok) {
    location.replace("/");
  } else if (answer.status === 429) {
    const seconds = Number(answer.headers.get("Retry-After")) || MINUTE_S;
    say("Wait a moment.", `There were wrong links: this one is tried again in ${seconds} s.`);
    waiting = setTimeout(tryToEnter, seconds * 1000);
  } else if (answer.status === 401) {
    say("This link is not valid any more.", "Call IT: the command scanlight link on the appliance prints the new one.");
  } else {
    const { error } = await answer.json().catch(() => ({ error: "" }));
    say("Scanlight does not open.", `Call IT. ${error}`);
  }
}

function tryToEnter() {
  enter().catch(() => {
    say("Scanlight does not answer.", "It is tried again in a moment; if it stays so, call IT.");
    waiting = setTimeout(tryToEnter, AGAIN_S * 1000);
  });
}

// Also when the link is opened in the tab that is here already, which then is not loaded again.
function look() {
  const found = location.hash.slice(1);
  // A link into the page, such as to a study, is no token.
  if (!found || PLACES.test(found)) return;
  token = found;
  history.replaceState(null, "", "/enter");
  clearTimeout(waiting);
  tryToEnter();
}

// A browser that follows a link of another site does not show its cookie the first time: ask once more from here.
async function comeBack() {
  const answer = await fetch("/api/status");
  if (answer.ok) location.replace("/");
}

addEventListener("hashchange", look);
look();
if (!token) comeBack().catch(() => {});
