// Small things that pages offer: theme, copies, filters that apply by themselves, and requests to the farm.
import { put, refresh } from "./live.js";
import { drawAll } from "./plots.js";
import { showTimes } from "./words.js";

const TIMES_MS = 15_000;
const TYPING_MS = 350;
const TOAST_MS = 8000;

export function toast(words) {
  const line = document.createElement("p");
  line.textContent = words;
  document.querySelector(".toast").append(line);
  setTimeout(() => line.remove(), TOAST_MS);
}

export function offerTheme() {
  const button = document.querySelector("[data-theme-switch]");
  button.addEventListener("click", () => {
    const next = document.documentElement.dataset.theme === "dark" ? "light" : "dark";
    localStorage.setItem("theme", next);
    document.documentElement.dataset.theme = next;
    drawAll();
  });
  new MutationObserver(() => drawAll()).observe(document.documentElement, { attributeFilter: ["data-theme"] });
}

export function offerCopies() {
  // Browsers have none on pages over plain HTTP of another machine.
  document.documentElement.classList.toggle("no-copies", !navigator.clipboard);
  document.addEventListener("click", async (click) => {
    const button = click.target.closest(".copy");
    if (!button) return;
    const text = button.dataset.copy ?? button.parentElement.querySelector("pre").textContent;
    await navigator.clipboard.writeText(text);
    button.dataset.done = "";
    toast("Copied");
    setTimeout(() => delete button.dataset.done, 1500);
  });
}

export function keepTimes() {
  showTimes();
  setInterval(showTimes, TIMES_MS);
}

/** A filter applies as it is chosen, and its address can be shared. */
export function submitFilters() {
  let typing;
  let latest;
  const apply = async (form) => {
    const asked = new URLSearchParams([...new FormData(form)].filter(([, value]) => value !== ""));
    const address = asked.size ? `${form.action.split("?")[0]}?${asked}` : form.action.split("?")[0];
    latest = address;
    try {
      const answer = await fetch(address, { headers: { accept: "text/html" } });
      if (!answer.ok) throw new Error(`the farm answered ${answer.status}`);
      const text = await answer.text();
      // Answers may come in another order than they were asked for.
      if (latest !== address) return;
      history.replaceState(null, "", address);
      put(new DOMParser().parseFromString(text, "text/html").querySelector("main"));
    } catch (error) {
      if (latest === address) toast(`The filter was not applied: ${error.message}`);
    }
  };
  document.addEventListener("input", (event) => {
    const form = event.target.closest("form.filters");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => apply(form), event.target.tagName === "SELECT" ? 0 : TYPING_MS);
  });
}

/** Buttons that ask the farm for something: why, then a POST, then the page anew. */
export function offerActions() {
  const dialog = document.querySelector("dialog.ask");
  if (!dialog) return;
  const form = dialog.querySelector("form");
  let asked;
  document.addEventListener("click", (click) => {
    const button = click.target.closest("[data-action]");
    if (!button) return;
    asked = button.dataset;
    dialog.querySelector("h2").textContent = asked.title;
    dialog.querySelector(".says").textContent = asked.says;
    dialog.querySelector("[type=submit]").textContent = asked.title;
    dialog.querySelector(".wrong").textContent = "";
    form.reset();
    dialog.showModal();
  });
  dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
  form.addEventListener("submit", async (submit) => {
    submit.preventDefault();
    const send = form.querySelector("[type=submit]");
    send.disabled = true;
    try {
      const answer = await fetch(asked.action, {
        method: "POST",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ why: form.why.value }),
      });
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.detail ?? `the farm answered ${answer.status}`);
      dialog.close();
      for (const line of said.lines ?? []) toast(line);
      const [next] = said.claim_ids ?? [];
      // What was done to this claim's badge is to be seen here, also where its entry is a later claim by now.
      if (next && asked.stay === undefined && !location.pathname.endsWith(next)) location.assign(`/claims/${next}`);
      else await refresh();
    } catch (error) {
      dialog.querySelector(".wrong").textContent = error.message;
    } finally {
      send.disabled = false;
    }
  });
}
