// The history: every study that ended, filtered and page by page. Its filters are in the address of the view.

import { markFiles } from "./actions.js";
import { ask } from "./api.js";
import { $, element, setText } from "./dom.js";
import { studyTable } from "./studies.js";
import { plural } from "./words.js";

const PAGE = 25;
const FILTERS = ["outcome", "open", "from", "to"];

let show = null;
// Fields are filled when the address changed, not while somebody types into them.
let filled = null;
let newest = null;

function fragment(parameters) {
  const query = new URLSearchParams(Object.entries(parameters).filter(([, value]) => value)).toString();
  return query ? `#history?${query}` : "#history";
}

function chosen() {
  const form = $("filters");
  return Object.fromEntries(FILTERS.map((name) => {
    const field = form.elements[name];
    return [name, field.type === "checkbox" ? (field.checked ? "yes" : "") : field.value];
  }));
}

// A day of the calendar, as the moment at which it begins here.
function moment(day, days = 0) {
  if (!day) return "";
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + days).toISOString();
}

export function startHistory() {
  show = studyTable($("past"), "History");
  $("filters").addEventListener("change", () => {
    location.hash = fragment(chosen());
  });
  $("files-seen").addEventListener("click", async () => setText($("files-said"), await markFiles(newest)));
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  $("filters").addEventListener("reset", () => {
    location.hash = fragment({});
  });
}

function fill(parameters) {
  for (const name of FILTERS) {
    const field = $("filters").elements[name];
    if (field.type === "checkbox") field.checked = parameters[name] === "yes";
    else field.value = parameters[name] ?? "";
  }
}

export async function showHistory(query, codes) {
  const parameters = Object.fromEntries(new URLSearchParams(query));
  if (query !== filled) fill(parameters);
  filled = query;
  const { outcome, open, from, to, before } = parameters;
  const limit = Number(parameters.limit) || PAGE;
  const studies = await ask("/api/studies", {
    limit: limit + 1, outcome, open, from: moment(from), to: moment(to, 1), before,
  });
  const page = studies.slice(0, limit);
  show(page, codes);
  const files = page.filter(({ file, attention }) => file && attention);
  $("about-files").hidden = files.length < 2 && $("files-said").textContent === "";
  $("files-seen").hidden = files.length < 2;
  newest = files[0]?.finding ?? null;
  const none = before ? "No older studies." : "No study is like this.";
  setText($("how-many"), page.length ? plural(page.length, "study", "studies") : none);
  const older = studies.length > limit;
  $("pages").replaceChildren(...[
    before ? element("a", { href: fragment({ ...parameters, before: "" }) }, "Newest") : null,
    older ? element("a", { href: fragment({ ...parameters, before: page.at(-1).finding }) }, "Older") : null,
  ].filter(Boolean));
}
