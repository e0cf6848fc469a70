// How all pictures look: the page's own colours, quiet axes, and tooltips like cards.
import { Chart } from "./vendor/charts.js";

export const charts = new Map();

export const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

export function faint(name, part) {
  const [red, green, blue] = [1, 3, 5].map((at) => Number.parseInt(colour(name).slice(at, at + 2), 16));
  return `rgb(${red} ${green} ${blue} / ${part})`;
}

export const axis = (more = {}) => ({
  border: { display: false },
  ...more,
  grid: { color: colour("line"), tickLength: 0, ...more.grid },
  ticks: { color: colour("soft"), padding: 8, font: { size: 11.5 }, maxRotation: 0, includeBounds: false, ...more.ticks },
  title: { color: colour("soft"), font: { size: 11.5, weight: 500 }, ...more.title },
});

export const tooltip = (callbacks, more = {}) => ({
  backgroundColor: colour("surface"),
  bodyColor: colour("text"),
  borderColor: colour("line-strong"),
  borderWidth: 1,
  boxPadding: 5,
  cornerRadius: 8,
  displayColors: false,
  padding: 10,
  titleColor: colour("text"),
  callbacks,
  ...more,
});

export function draw(canvas, config) {
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.animation = false;
  charts.get(canvas)?.destroy();
  charts.set(canvas, new Chart(canvas, config));
}

export const percentTick = (value) => `${Number((100 * value).toFixed(2))} %`;
