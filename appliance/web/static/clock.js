// Times in words. The appliance's clock counts: that of a kiosk may be wrong.

const MINUTE_S = 60;
const HOUR_S = 3600;
const DAY_S = 86400;

let ahead = 0;

export function setClock(iso) {
  ahead = Date.parse(iso) - Date.now();
}

export function time(iso, { seconds = false } = {}) {
  const at = new Date(iso);
  const clock = at.toLocaleTimeString([], {
    hour: "2-digit", minute: "2-digit", second: seconds ? "2-digit" : undefined, hourCycle: "h23",
  });
  const today = at.toDateString() === new Date(Date.now() + ahead).toDateString();
  return today ? clock : `${at.toLocaleDateString([], { day: "numeric", month: "short" })} ${clock}`;
}

export function duration(s) {
  if (s === null || !(s >= 0)) return "";
  if (s < MINUTE_S) return `${s.toFixed(1)} s`;
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)} min ${Math.floor(s % MINUTE_S)} s`;
  return `${Math.floor(s / HOUR_S)} h ${Math.floor((s % HOUR_S) / MINUTE_S)} min`;
}

export function age(iso) {
  const s = (Date.now() + ahead - Date.parse(iso)) / 1000;
  if (s < MINUTE_S) return "just now";
  if (s < HOUR_S) return `${Math.floor(s / MINUTE_S)} min ago`;
  if (s < DAY_S) return `${Math.floor(s / HOUR_S)} h ago`;
  const days = Math.floor(s / DAY_S);
  return days === 1 ? "1 day ago" : `${days} days ago`;
}
