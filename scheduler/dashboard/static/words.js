// How values are shown, as the server shows them.
const MISSING = "–";

export const percent = (value, decimals = 2) =>
  value === null || value === undefined ? MISSING : `${(100 * value).toFixed(decimals)} %`;

export const whole = (value) =>
  value === null || value === undefined ? MISSING : String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/** The time of day, as whoever looks has it. */
export const clock = (at) => at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hour12: false });

const STEPS = [
  [60, "s"],
  [60, "min"],
  [24, "h"],
  [7, "d"],
  [52, "w"],
];

function distance(at, now = new Date()) {
  const seconds = (now - at) / 1000;
  let amount = Math.abs(seconds);
  if (amount < 5) return "now";
  let unit = "y";
  for (const [size, name] of STEPS) {
    if (amount < size) {
      unit = name;
      break;
    }
    amount /= size;
  }
  const shown = `${amount.toFixed(0)} ${unit}`;
  return seconds > 0 ? `${shown} ago` : `in ${shown}`;
}

export function showTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const words = distance(new Date(time.dateTime));
    if (time.textContent !== words) time.textContent = words;
  }
}
