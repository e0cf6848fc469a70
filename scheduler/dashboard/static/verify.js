// Checks a badge's token in the browser, in the steps of `reprofarm verify-token`: nothing is sent anywhere.
import { compactVerify, decodeProtectedHeader, importJWK } from "./vendor/jose.js";
import { percent, whole } from "./words.js";

const CLOSE = 1e-12;
const MOST_VERSIONS = 40;
const MOST_CHARS = 2000;

/** The token is not valid. What else goes wrong says nothing of it. */
class Refused extends Error {}

function headerOf(token, { algorithm, kind, most }) {
  if (token.length > Number(most)) throw new Refused(`It is longer than ${most} characters.`);
  if (!/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$/.test(token))
    throw new Refused("It is not a compact JWS: three base64url parts with dots between them.");
  let header;
  try {
    header = decodeProtectedHeader(token);
  } catch {
    throw new Refused("It is not a compact JWS: its header cannot be read.");
  }
  if (header.alg !== algorithm) throw new Refused(`It is signed with ${header.alg}; only ${algorithm} counts.`);
  if (header.typ !== kind) throw new Refused(`It is a token of another type than ${kind}.`);
  if ("crit" in header || "b64" in header) throw new Refused("Its header asks for an extension of JWS.");
  if (typeof header.kid !== "string" || !header.kid) throw new Refused("It names no key.");
  return header;
}

async function keyOf(header, jwks) {
  const found = (Array.isArray(jwks?.keys) ? jwks.keys : []).filter((key) => key?.kid === header.kid);
  if (!found.length) throw new Refused(`It was signed by key ${header.kid}, which is not among the trusted keys.`);
  if (found.length > 1) throw new Refused(`The trusted keys hold key ${header.kid} more than once.`);
  const [{ kty, crv, x, use = "sig" }] = found;
  if (kty !== "OKP" || crv !== "Ed25519" || use !== "sig")
    throw new Refused(`Key ${header.kid} is not an Ed25519 signature key.`);
  return importJWK({ kty, crv, x }, "EdDSA");
}

/** Its own figures have to agree, whoever signed them. */
function checkFigures(said) {
  if (said?.version !== 1) throw new Refused("It is signed, but not an attestation of version 1.");
  const { low, high } = said.interval ?? {};
  // What is no number compares in odd ways, and a tolerance of everything makes anything match.
  const proportions = [said.claimed, said.reproduced, said.tolerance, low, high];
  const counts = [said.samples_used, said.population, said.failed ?? 0];
  if (
    !proportions.every((each) => typeof each === "number" && each >= 0 && each <= 1) ||
    !counts.every((each) => Number.isSafeInteger(each) && each >= 0) ||
    typeof said.claimed_value !== "number" ||
    !["percent", "fraction"].includes(said.scale)
  )
    throw new Refused("It is signed, but its figures are none.");
  const proportion = said.scale === "percent" ? said.claimed_value / 100 : said.claimed_value;
  if (!(Math.abs(proportion - said.claimed) <= CLOSE))
    throw new Refused("It is signed, but its claimed value is not its claimed proportion.");
  if (!(said.samples_used + (said.failed ?? 0) <= said.population))
    throw new Refused("It is signed, but used more samples than there are.");
  const widest = Math.max(Math.abs(said.reproduced - said.claimed), said.claimed - low, high - said.claimed);
  if (!(widest <= said.tolerance + CLOSE && low <= said.reproduced && said.reproduced <= high))
    throw new Refused("It is signed, but its own figures do not match within its tolerance.");
}

export async function check(token, jwks, rules) {
  const header = headerOf(token, rules);
  const key = await keyOf(header, jwks);
  let payload;
  try {
    ({ payload } = await compactVerify(token, key, { algorithms: [rules.algorithm] }));
  } catch {
    throw new Refused("The signature is not that of this token: it was altered, or signed by another key.");
  }
  let said;
  try {
    said = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(payload));
  } catch {
    throw new Refused("It is signed, but what it says cannot be read.");
  }
  checkFigures(said);
  try {
    return { said, header, facts: Object.entries(FACTS).map(([name, of]) => [name, of(said, header)]) };
  } catch {
    throw new Refused("It is signed, but what it says cannot be shown.");
  }
}

async function allRevoked() {
  const badges = new Map();
  const keys = new Set();
  let next = null;
  do {
    const asked = next ? `?cursor=${encodeURIComponent(next)}` : "";
    const answer = await fetch(`/v1/revocations${asked}`);
    if (!answer.ok) throw new Error("away");
    const page = await answer.json();
    for (const each of page.items) badges.set(each.badge_id, each);
    for (const each of page.revoked_keys) keys.add(each);
    ({ next } = page);
  } while (next);
  return { badges, keys };
}

async function revocationOf(said, header) {
  try {
    const { badges, keys } = await allRevoked();
    if (keys.has(header.kid)) return { revoked: true, words: "The key that signed it was revoked." };
    const found = badges.get(said.jti);
    return found ? { revoked: true, words: `Revoked on ${found.revoked_at.slice(0, 10)}: ${found.reason}` } : { revoked: false, looked: true, words: "Not on this farm's list of revocations." };
  } catch {
    return { revoked: false, looked: false, words: "The list of revocations could not be read; the signature alone was checked." };
  }
}

// Characters that act instead of showing, and letters of other scripts that look like those of another farm's name.
const plain = (text) => String(text).slice(0, MOST_CHARS).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, "\ufffd");
const inAscii = (url) => String(url).replace(/[^!-~]/gu, (each) => `\\u{${each.codePointAt(0).toString(16)}}`);

const points = (proportion) => (100 * proportion).toFixed(2);
const error = (said) => (typeof said.standard_error === "number" ? ` ± ${points(said.standard_error)} (standard error)` : "");
const failed = (said) => (said.failed ? ` (${whole(said.failed)} more failed and are left out)` : "");
const ofAll = ({ interval: { low, high }, alpha }) =>
  low < high ? `would score ${percent(low)} to ${percent(high)}, with alpha ${alpha}` : "were asked";

/** Those of `reprofarm verify-token`. */
const FACTS = {
  Model: (said) => `${said.model} at ${said.model_revision}`,
  Benchmark: (said) => `${said.dataset} at ${said.dataset_revision}`,
  Task: (said) => said.task || "its only one",
  "eval.yaml": (said) => `SHA-256 ${said.spec_sha256}`,
  Claimed: (said) => `${percent(said.claimed)} (written ${said.claimed_value}, as a ${said.scale})`,
  Reproduced: (said) => `${percent(said.reproduced)}${error(said)}`,
  Difference: (said) => `${points(Math.abs(said.reproduced - said.claimed))} points, tolerance ${points(said.tolerance)} points`,
  Samples: (said) => `${whole(said.samples_used)} of ${whole(said.population)}${failed(said)}, ${said.mode}, seed ${said.seed}`,
  "All samples": ofAll,
  Evidence: (said) => `${inAscii(said.evidence_url)}, SHA-256 ${said.evidence_sha256}`,
  Policy: (said) => `SHA-256 ${said.policy_sha256}`,
  Versions: (said) => Object.entries(said.versions ?? {}).sort().slice(0, MOST_VERSIONS).map((each) => each.join(" ")).join(", "),
  Signed: (said, header) => `${new Date(1000 * said.iat).toISOString().slice(0, 19).replace("T", " ")} UTC by key ${header.kid}`,
  Issuer: (said) => inAscii(said.iss),
  Badge: (said) => said.jti,
};

const PICTURES = { verified: "#shield-check", mismatch: "#x", blocked: "#circle-help" };

function show(place, outcome, title, words, facts) {
  const copy = document.querySelector("#answer").content.cloneNode(true);
  const callout = copy.querySelector(".callout");
  callout.classList.add(outcome);
  const use = callout.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, PICTURES[outcome]));
  callout.querySelector("strong").textContent = title;
  callout.querySelector("span").textContent = plain(words);
  const list = copy.querySelector("dl");
  for (const [name, text] of facts) {
    const term = document.createElement("dt");
    const fact = document.createElement("dd");
    term.textContent = name;
    fact.textContent = plain(text);
    list.append(term, fact);
  }
  list.closest(".card").hidden = facts.length === 0;
  place.replaceChildren(copy);
}

async function keysFor(form) {
  const pasted = form.jwks.value.trim();
  if (!pasted) {
    const answer = await fetch("/.well-known/jwks.json");
    if (!answer.ok) throw new Error(`This farm's keys could not be read: it answered ${answer.status}. Try again.`);
    return answer.json();
  }
  try {
    return JSON.parse(pasted);
  } catch {
    throw new Error("The keys that you pasted are not JSON.");
  }
}

async function answer(form, place) {
  const token = form.token.value.trim();
  if (!token) return place.replaceChildren();
  try {
    if (!globalThis.crypto?.subtle)
      throw new Error(
        "Browsers check signatures only on pages over HTTPS or of the machine itself. On a command line, `reprofarm verify-token` checks it.",
      );
    const { said, header, facts } = await check(token, await keysFor(form), form.dataset);
    const { revoked, looked, words } = await revocationOf(said, header);
    if (revoked) show(place, "mismatch", "Revoked", `The signature is right, but it no longer counts. ${words}`, facts);
    else if (form.jwks.value.trim())
      // Whoever hands out keys can sign in any name.
      show(place, "verified", "The token fits the keys that you pasted", `Whose they are is for you to know. ${words}`, facts);
    else if (looked) show(place, "verified", "The token is genuine", words, facts);
    else show(place, "blocked", "The token is signed by this farm, and may be revoked", `${words} Try again.`, facts);
  } catch (error) {
    if (error instanceof Refused) show(place, "mismatch", "Not a valid token", error.message, []);
    else show(place, "blocked", "It could not be checked", error.message, []);
  }
}

export function offerCheck() {
  const form = document.querySelector("[data-verify]");
  const place = document.querySelector("#result");
  form.addEventListener("submit", (submit) => {
    submit.preventDefault();
    answer(form, place);
  });
  // Not before: a browser that sent the form itself would send the token too.
  form.querySelector("button").disabled = false;
  const given = new URLSearchParams(location.hash.slice(1)).get("token");
  if (given) {
    form.token.value = given;
    answer(form, place);
  }
}
