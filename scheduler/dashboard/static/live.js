// Keeps a page fresh: follows the farm's events, and puts what the server then says into the page.
import { Idiomorph } from "./vendor/idiomorph.js";
import { addLivePoint, drawAll } from "./plots.js";
import { clock, percent, showTimes, whole } from "./words.js";

const POLL_MS = 5000;
/** Some things change without an event: heartbeats, what workers measure, places in a queue. */
const EVENTLESS_MS = 30_000;
const SETTLE_MS = 300;
const LEAST_MS = 1500;
const RETRY_MS = 60_000;
const ANSWER_MS = 30_000;

let source;
let retry;
let pending;
let poll;
let busy = false;
let streams = false;
let answeredAt = new Date();
let refreshedAt = 0;
/** Events that came while the page was asked for: whether it is about them is known only by what comes back. */
let meanwhile = [];

const main = () => document.querySelector("main");

/** What the page is about: `any`, nothing, or `claim:ID reproduction:ID`. */
const isAbout = (event) => {
  const about = main().dataset.about ?? "";
  return about === "any" || about.split(" ").includes(`${event.subject}:${event.subject_id}`);
};

export async function refresh() {
  if (document.hidden || document.querySelector("dialog[open]")) return;
  if (busy) return soon();
  busy = true;
  meanwhile = [];
  refreshedAt = Date.now();
  const address = location.href;
  try {
    const signal = AbortSignal.timeout(ANSWER_MS);
    const answer = await fetch(address, { headers: { accept: "text/html" }, redirect: "manual", signal });
    // To the sign-in of a closed farm, where no script can follow.
    if (answer.type === "opaqueredirect") return say("away", "Signed out: reload");
    if (!answer.ok) throw new Error(`the farm answered ${answer.status}`);
    answered();
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    // A filter was chosen meanwhile: this is what the page showed before.
    if (location.href !== address) return soon();
    put(fresh.querySelector("main"));
    if (meanwhile.some(isAbout)) soon();
  } catch {
    // The farm is away. What the page was asked for is not told again.
    say("away", `No answer since ${clock(answeredAt)}`);
    soon(POLL_MS);
  } finally {
    busy = false;
  }
}

export function put(fresh) {
  Idiomorph.morph(main(), fresh, {
    ignoreActiveValue: true,
    callbacks: {
      // A plot is drawn from the data beside it, and what somebody opened stays open.
      beforeNodeMorphed: (node) => !(node.nodeType === Node.ELEMENT_NODE && node.hasAttribute("data-keep")),
      beforeAttributeUpdated: (name) => name !== "open",
    },
  });
  showTimes();
  drawAll();
}

/** Not at each event: a busy farm has many, and a page is read anew for all of them together. */
function soon(leastMs = SETTLE_MS) {
  pending ??= setTimeout(
    () => {
      pending = undefined;
      refresh();
    },
    Math.max(leastMs, refreshedAt + LEAST_MS - Date.now()),
  );
}

function say(state, words) {
  for (const each of document.querySelectorAll(".live")) {
    if (each.dataset.live === state) continue;
    each.dataset.live = state;
    each.textContent = words;
  }
}

/** What the page shows is of now, and how it stays so. */
function answered() {
  answeredAt = new Date();
  if (streams) say("on", "Live");
  else if (poll) say("polling", "Checks every 5 s");
}

function startPolling() {
  if (streams) answeredAt = new Date();
  streams = false;
  if (!poll) {
    say("polling", "Checks every 5 s");
    // Whether the farm answers at all is known by the next look.
    soon();
  }
  poll ??= setInterval(refresh, POLL_MS);
}

function stopPolling() {
  clearInterval(poll);
  poll = undefined;
}

/** A run's progress, without a question to the server. */
function showProgress(said) {
  for (const run of document.querySelectorAll(`[data-run="${CSS.escape(said.reproduction_id)}"]`)) {
    const bar = run.querySelector("progress");
    if (bar && said.samples_total) {
      bar.max = said.samples_total;
      bar.value = said.samples_done;
    }
    const set = (name, words) => {
      const place = run.querySelector(`[data-shows="${name}"]`);
      if (place && place.textContent !== words) place.textContent = words;
    };
    set("done", whole(said.samples_done));
    set("total", whole(said.samples_total));
    set("score", percent(said.score));
    if (said.stage) set("stage", said.stage.replaceAll("_", " "));
  }
  addLivePoint(said);
}

export function follow() {
  if (!main()?.dataset.about) {
    for (const each of document.querySelectorAll(".live")) each.hidden = true;
    return;
  }
  if (document.hidden) rest();
  else listen();
  addEventListener("visibilitychange", () => {
    if (document.hidden) return rest();
    listen();
    soon();
  });
  setInterval(() => streams && refresh(), EVENTLESS_MS);
  // Nothing is put into a page while a dialog is open. The event does not bubble.
  document.addEventListener("close", () => soon(), true);
}

/** A hidden page holds no connection: over plain HTTP a browser has six to the farm, for all of its pages. */
function rest() {
  source?.close();
  clearTimeout(retry);
  if (streams) answeredAt = new Date();
  streams = false;
  // For when it is looked at again, until events come.
  poll ??= setInterval(refresh, POLL_MS);
}

function listen() {
  source = new EventSource(`/v1/events?after=${main().dataset.eventsAfter}`);
  const heard = (message) => {
    const event = JSON.parse(message.data);
    if (busy) meanwhile.push(event);
    if (isAbout(event)) soon();
  };
  source.addEventListener("open", () => {
    stopPolling();
    streams = true;
    say("on", "Live");
  });
  source.addEventListener("message", heard);
  source.addEventListener("event", heard);
  source.addEventListener("reset", () => soon());
  source.addEventListener("progress", (message) => showProgress(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    startPolling();
    // The browser tries again by itself, except after an answer that is no stream.
    if (source.readyState === EventSource.CLOSED) retry = setTimeout(listen, RETRY_MS);
  });
}
