// The pictures. Each is drawn from a table on its page, or from what the API says, which then fills the table.
import { axis, charts, colour, draw, faint, percentTick, tooltip } from "./drawing.js";
import { percent, whole } from "./words.js";

const OUTCOMES = { verified: "good", mismatch: "bad", inconclusive: "unsure", unsupported: "idle", failed: "fault" };
const SHAPES = { verified: "circle", mismatch: "rectRot", inconclusive: "triangle" };
const MOST_LIVE_POINTS = 400;
/** Shown around a claim, up and down, where its tolerance is not known. */
const ROOM = 0.016;

const traces = new Map();
const lives = new Map();

/** Verdicts by day, stacked by outcome, from the table beside it. */
function drawThroughput(canvas) {
  const rows = [...document.querySelectorAll(`#${canvas.dataset.from} tbody tr`)];
  const days = rows.map((row) => row.dataset.day);
  const datasets = Object.entries(OUTCOMES).map(([outcome, name]) => ({
    label: outcome,
    data: rows.map((row) => Number(row.querySelector(`[data-outcome="${outcome}"]`).textContent)),
    backgroundColor: colour(name),
    borderColor: colour("surface"),
    borderWidth: { top: 1.5 },
    borderRadius: 2,
    borderSkipped: false,
    maxBarThickness: 26,
  }));
  const day = (text) => new Date(`${text}T00:00Z`).toLocaleDateString("en", { day: "numeric", month: "short", timeZone: "UTC" });
  draw(canvas, {
    type: "bar",
    data: { labels: days.map(day), datasets },
    options: {
      maintainAspectRatio: false,
      interaction: { mode: "index", intersect: false },
      scales: {
        x: axis({ stacked: true, grid: { display: false }, ticks: { autoSkipPadding: 14 } }),
        y: axis({ stacked: true, beginAtZero: true, suggestedMax: 4, ticks: { precision: 0, maxTicksLimit: 5 } }),
      },
      plugins: {
        legend: { display: false },
        tooltip: tooltip({ label: (item) => `${item.raw} ${item.dataset.label}` }, { filter: (item) => item.raw > 0 }),
      },
    },
  });
}

const flat = (from, to, y) => [
  { x: from, y },
  { x: to, y },
];

/** The tolerance band with the claim in it: behind whatever closes in on it. Without a tolerance, the claim alone. */
function band(claimed, tolerance, most) {
  const claim = { label: "claimed", data: flat(0, most, claimed), borderColor: colour("good"), borderWidth: 1.5, pointRadius: 0 };
  if (tolerance === null) return [claim];
  const edge = { borderColor: faint("good", 0.65), borderWidth: 1, borderDash: [3, 3], pointRadius: 0 };
  return [
    { ...edge, label: "band", data: flat(0, most, Math.min(1, claimed + tolerance)) },
    {
      ...edge,
      label: "band",
      data: flat(0, most, Math.max(0, claimed - tolerance)),
      fill: "-1",
      backgroundColor: faint("good", 0.13),
    },
    claim,
  ];
}

function closingOptions(points, claimed, tolerance, most) {
  // The first bounds are nearly all there is; the picture is about where they close.
  const settled = points.filter((point) => point.samples >= 0.12 * most);
  const room = tolerance === null ? ROOM : 1.6 * tolerance;
  const seen = [claimed - room, claimed + room, ...points.slice(-1).map((point) => point.score)];
  for (const point of settled) seen.push(point.score, point.low ?? point.score, point.high ?? point.score);
  const [least, highest] = [Math.max(0, Math.min(...seen)), Math.min(1, Math.max(...seen))];
  const title = (items) => `after ${whole(items[0].parsed.x)} samples`;
  const label = (item) => {
    const { low, high } = item.raw;
    return low === undefined || low === null
      ? `score so far ${percent(item.parsed.y)}`
      : [`score ${percent(item.parsed.y)}`, `all samples: ${percent(low)} to ${percent(high)}`];
  };
  return {
    maintainAspectRatio: false,
    interaction: { mode: "nearest", axis: "x", intersect: false },
    parsing: false,
    scales: {
      x: axis({ type: "linear", min: 0, max: most, grid: { display: false }, ticks: { precision: 0, maxTicksLimit: 8, callback: whole }, title: { display: true, text: "samples" } }),
      y: axis({ min: least, max: highest, ticks: { callback: percentTick, maxTicksLimit: 7 } }),
    },
    plugins: {
      legend: { display: false },
      tooltip: tooltip({ title, label }, { filter: (item) => item.dataset.label === "score" }),
    },
  };
}

function closingData(points, claimed, tolerance, most) {
  const bounded = points.filter((point) => point.low !== undefined && point.low !== null);
  const edge = { borderColor: faint("accent", 0.45), borderWidth: 1, pointRadius: 0 };
  const last = points.length - 1;
  return {
    datasets: [
      ...band(claimed, tolerance, most),
      { ...edge, label: "high", data: bounded.map((point) => ({ x: point.samples, y: point.high })) },
      {
        ...edge,
        label: "low",
        data: bounded.map((point) => ({ x: point.samples, y: point.low })),
        fill: "-1",
        backgroundColor: faint("accent", 0.17),
      },
      {
        label: "score",
        data: points.map((point) => ({ x: point.samples, y: point.score, low: point.low, high: point.high })),
        borderColor: colour("accent"),
        backgroundColor: colour("accent"),
        borderWidth: 2,
        pointRadius: (item) => (item.dataIndex === last ? 4 : 0),
        pointHitRadius: 12,
      },
    ],
  };
}

function fillTable(canvas, points) {
  const body = document.querySelector(`#${canvas.dataset.table} tbody`);
  if (!body || body.rows.length === points.length) return;
  body.replaceChildren(
    ...points.map((point) => {
      const row = document.createElement("tr");
      for (const words of [whole(point.samples), percent(point.score), percent(point.low), percent(point.high)]) {
        const cell = row.insertCell();
        cell.className = "num";
        cell.textContent = words;
      }
      return row;
    }),
  );
}

/** A trace, one without points where there is none; null where the farm does not say. */
async function askForTrace(address) {
  try {
    const answer = await fetch(address);
    if (answer.status === 404) return { points: [] };
    return answer.ok ? await answer.json() : null;
  } catch {
    return null;
  }
}

/** How a completed run's score closed on the band. */
async function drawClosing(canvas) {
  const { trace: address } = canvas.dataset;
  if (!traces.has(address)) traces.set(address, askForTrace(address));
  const trace = await traces.get(address);
  // Too many ask, say: that is not remembered, so whatever draws the page next asks again.
  if (!trace) traces.delete(address);
  const figure = canvas.closest("figure");
  figure.querySelector(".plot").hidden = !trace?.points.length;
  figure.querySelector(".none").hidden = !trace || trace.points.length > 0;
  figure.querySelector(".away").hidden = Boolean(trace);
  if (!trace?.points.length) return;
  const most = trace.points.at(-1).samples;
  fillTable(canvas, trace.points);
  draw(canvas, {
    type: "line",
    data: closingData(trace.points, trace.claimed, trace.tolerance, most),
    options: closingOptions(trace.points, trace.claimed, trace.tolerance, most),
  });
}

function liveKey(data) {
  return `run:${data.run}:${data.attempt}`;
}

function livePoints(data) {
  const key = liveKey(data);
  if (!lives.has(key)) lives.set(key, JSON.parse(sessionStorage.getItem(key) ?? "[]"));
  return lives.get(key);
}

function addPoint(data, point) {
  const points = livePoints(data);
  if (point.score === null || Number.isNaN(point.score) || point.samples <= (points.at(-1)?.samples ?? 0)) return;
  points.push(point);
  if (points.length > MOST_LIVE_POINTS) points.splice(1, points.length, ...points.slice(1).filter((_, at) => at % 2));
  sessionStorage.setItem(liveKey(data), JSON.stringify(points));
}

/** A run that goes on: what was heard of it since the page was opened. */
function drawLive(canvas) {
  const figure = canvas.closest("figure");
  const at = document.querySelector(`[data-run="${canvas.dataset.run}"][data-score]`);
  if (at?.dataset.score)
    addPoint(canvas.dataset, {
      samples: Number(at.dataset.done),
      score: Number(at.dataset.score),
      low: at.dataset.low ? Number(at.dataset.low) : null,
      high: at.dataset.high ? Number(at.dataset.high) : null,
    });
  const points = livePoints(canvas.dataset);
  figure.querySelector(".none").hidden = points.length > 0;
  fillTable(canvas, points);
  const claimed = Number(canvas.dataset.claimed);
  // By policy's default it follows from what is measured, and is known at the end.
  const tolerance = canvas.dataset.tolerance ? Number(canvas.dataset.tolerance) : null;
  const most = Math.max(10, Math.ceil((points.at(-1)?.samples ?? 0) * 1.25));
  draw(canvas, {
    type: "line",
    data: closingData(points, claimed, tolerance, most),
    options: closingOptions(points, claimed, tolerance, most),
  });
}

/** What an event said of a run that is shown. */
export function addLivePoint(said) {
  for (const canvas of document.querySelectorAll(`canvas[data-plot="live"][data-run="${said.reproduction_id}"]`)) {
    if (Number(canvas.dataset.attempt) !== said.attempt) continue;
    const { low = null, high = null } = said.score_interval ?? {};
    addPoint(canvas.dataset, { samples: said.samples_done, score: said.score, low, high });
    drawLive(canvas);
  }
}

/** Whether neighbours have tolerances of different kinds, as claims on different benchmarks do: no band is theirs. */
function differ(sorted) {
  return sorted.some((point, at) => {
    const next = sorted[at + 1] ?? point;
    return next.x - point.x < 0.05 && Math.abs(next.tolerance / point.tolerance - 1) > 0.3;
  });
}

/** How wide the tolerance is at each claimed score: that of the claims there. */
function bandAround(points, least, most) {
  const sorted = [...points].sort((one, other) => one.x - other.x);
  const ends = sorted.length && !differ(sorted)
    ? [{ x: least, tolerance: sorted[0].tolerance }, ...sorted, { x: most, tolerance: sorted.at(-1).tolerance }]
    : [];
  const edge = { type: "line", borderColor: faint("good", 0.6), borderWidth: 1, borderDash: [3, 3], pointRadius: 0, order: 9 };
  return [
    { ...edge, label: "band", data: ends.map(({ x, tolerance }) => ({ x, y: x + tolerance })) },
    {
      ...edge,
      label: "band",
      data: ends.map(({ x, tolerance }) => ({ x, y: x - tolerance })),
      fill: "-1",
      backgroundColor: faint("good", 0.1),
    },
    {
      type: "line",
      label: "same",
      data: [
        { x: least, y: least },
        { x: most, y: most },
      ],
      borderColor: colour("line-strong"),
      borderWidth: 1.5,
      pointRadius: 0,
      order: 9,
    },
  ];
}

function readScores(canvas) {
  return [...document.querySelectorAll(`#${canvas.dataset.from} tbody tr[data-claimed]`)].map(({ dataset }) => ({
    x: Number(dataset.claimed),
    y: Number(dataset.reproduced),
    yMin: Number(dataset.low || dataset.reproduced),
    yMax: Number(dataset.high || dataset.reproduced),
    tolerance: Number(dataset.tolerance),
    outcome: dataset.outcome,
    name: dataset.name,
    page: dataset.page,
  }));
}

/** Claimed against reproduced, from the table beside it. */
function drawScores(canvas) {
  const points = readScores(canvas);
  const bandless = differ([...points].sort((one, other) => one.x - other.x));
  canvas.closest("figure").querySelector(".swatch.band").parentElement.hidden = bandless;
  const values = points.flatMap((point) => [point.x, point.y, point.yMin, point.yMax]);
  const room = Math.max(0.03, 0.08 * (Math.max(...values) - Math.min(...values)));
  const least = Math.max(0, Math.floor(20 * (Math.min(...values) - room)) / 20);
  const most = Math.min(1, Math.ceil(20 * (Math.max(...values) + room)) / 20);
  const outcomes = [...new Set(points.map((point) => point.outcome))];
  const clouds = outcomes.map((outcome) => ({
    type: "scatterWithErrorBars",
    label: outcome,
    data: points.filter((point) => point.outcome === outcome),
    backgroundColor: faint(OUTCOMES[outcome], 0.9),
    borderColor: colour("surface"),
    borderWidth: 1.5,
    errorBarColor: faint(OUTCOMES[outcome], 0.6),
    errorBarWhiskerColor: faint(OUTCOMES[outcome], 0.6),
    errorBarLineWidth: 1.5,
    errorBarWhiskerLineWidth: 1.5,
    errorBarWhiskerSize: 7,
    pointStyle: SHAPES[outcome] ?? "rect",
    radius: outcome === "verified" ? 5.5 : 7,
    hoverRadius: 8,
    order: 1,
  }));
  const label = ({ raw }) => [
    `claimed ${percent(raw.x)}`,
    `reproduced ${percent(raw.y)} (${percent(raw.yMin)} to ${percent(raw.yMax)})`,
    `${raw.outcome}, tolerance ±${(100 * raw.tolerance).toFixed(2)} points`,
  ];
  const scale = (text) =>
    axis({ type: "linear", min: least, max: most, ticks: { callback: percentTick, maxTicksLimit: 8 }, title: { display: true, text } });
  draw(canvas, {
    type: "scatter",
    data: { datasets: [...clouds, ...bandAround(points, least, most)] },
    options: {
      maintainAspectRatio: false,
      clip: true,
      interaction: { mode: "nearest", intersect: true },
      onClick: (_event, [hit], chart) => {
        const page = hit && chart.data.datasets[hit.datasetIndex].data[hit.index].page;
        if (page) location.assign(page);
      },
      scales: { x: scale("claimed"), y: scale("reproduced") },
      plugins: {
        legend: { display: false },
        tooltip: tooltip(
          { title: ([item]) => item?.raw.name, label },
          { filter: (item) => item.raw.outcome !== undefined },
        ),
      },
    },
  });
}

const KINDS = { throughput: drawThroughput, closing: drawClosing, live: drawLive, scores: drawScores };

export function drawAll() {
  for (const [canvas, chart] of charts) {
    if (canvas.isConnected) continue;
    chart.destroy();
    charts.delete(canvas);
  }
  for (const canvas of document.querySelectorAll("canvas[data-plot]")) KINDS[canvas.dataset.plot](canvas);
}
