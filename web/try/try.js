// @ts-check
import "/sdk/callbox.js";
import { Problem, api } from "/try/api.js";
import { make, the } from "/try/dom.js";
import * as panels from "/try/panels.js";

/** @typedef {import("../sdk/dist/types/index.js").CallboxCallElement} Phone */
/** @typedef {import("../sdk/dist/types/index.js").Call} Call */

/** The timeline of a running call is read so often. */
const LOOK_MS = 700;
/** Deliveries are watched for so long after the end of a call. */
const WATCHED_MS = 30_000;
/** A token is for one call that is made now. */
const TOKEN_S = 60;

const phone = /** @type {Phone} */ (the("phone"));
const number = /** @type {HTMLSelectElement} */ (the("number"));
const variables = /** @type {HTMLTextAreaElement} */ (the("variables"));

/** The call that is shown; what belongs to an earlier one is dropped. */
let shown = 0;
/** @type {Call | undefined} */
let followed;

/** @param {string} id @param {string} text */
function notice(id, text) {
  the(id).textContent = text;
  the(id).hidden = text === "";
}

/** @param {unknown} thrown */
function failed(thrown) {
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  if (thrown instanceof Problem && thrown.status === 401) leave(text);
  else notice("problem", text);
}

/** Asks for a key. @param {string} [why] */
function leave(why = "") {
  api.key = null;
  shown += 1;
  phone.hangUp();
  the("desk").hidden = true;
  the("forget").hidden = true;
  the("enter").hidden = false;
  notice("refused", why);
  the("key").focus();
}

/** Shows the numbers that the key can see. */
async function enter() {
  const [numbers, scripts] = await Promise.all([
    api.get("/v1/numbers?limit=100"),
    api.maybe(api.get("/v1/scripts?limit=100")),
  ]);
  const names = new Map((scripts?.data ?? []).map((/** @type {any} */ script) => [script.id, script.name]));
  const usable = numbers.data.filter((/** @type {any} */ one) => one.script_id && one.enabled);
  number.replaceChildren(
    ...usable.map((/** @type {any} */ one) => {
      const about = one.name ?? names.get(one.script_id);
      return make("option", { value: one.id }, about ? `${one.address} – ${about}` : one.address);
    }),
  );
  the("none").hidden = usable.length > 0;
  the("enter").hidden = true;
  the("desk").hidden = false;
  the("forget").hidden = false;
  notice("problem", "");
}

/** `name=value` lines. */
function given() {
  /** @type {Record<string, string>} */
  const all = {};
  for (const line of variables.value.split("\n").filter((line) => line.trim() !== "")) {
    const at = line.indexOf("=");
    if (at < 1) throw new Problem(0, "variables", `A variable is written name=value: ${line}`);
    all[line.slice(0, at).trim()] = line.slice(at + 1).trim();
  }
  return all;
}

phone.tokenProvider = async () => {
  notice("problem", "");
  panels.clear();
  if (number.value === "") throw new Problem(0, "number", "Choose a number first.");
  const asked = given();
  try {
    return await api.json("POST", "/v1/webrtc/tokens", {
      number: number.value,
      expires_in_s: TOKEN_S,
      uses: 1,
      origins: [location.origin],
      ...(Object.keys(asked).length > 0 ? { variables: asked } : {}),
    });
  } catch (thrown) {
    if (thrown instanceof Problem && thrown.status === 401) failed(thrown);
    throw thrown;
  }
};

phone.addEventListener("callbox-state", (event) => {
  const call = phone.call;
  const { state } = /** @type {CustomEvent<{ state: string }>} */ (event).detail;
  if (state !== "connecting" || !call || call === followed) return;
  followed = call;
  shown += 1;
  const mine = shown;
  follow(call, mine).catch(failed);
});

/** @param {number} ms */
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Shows what happens in a call until nothing happens any more. @param {Call} call @param {number} mine */
async function follow(call, mine) {
  const id = encodeURIComponent(call.id ?? "");
  const at = `/v1/calls/${id}`;
  for (;;) {
    const over = call.ended !== undefined;
    const [entries, exchange, state] = await Promise.all([
      api.maybe(api.get(`${at}/timeline`)),
      api.maybe(api.get(`${at}/webrtc`)),
      over ? api.maybe(api.get(at)) : undefined,
    ]);
    if (mine !== shown) return;
    if (entries) panels.timeline(entries.data);
    if (exchange) panels.signalling(exchange.steps);
    if (state?.state === "completed") break;
    await pause(LOOK_MS);
  }
  const [tape, ladder] = await Promise.all([
    api.maybe(api.text("GET", `${at}/tape`)),
    api.maybe(api.text("GET", `${at}/sip?format=text`)),
  ]);
  if (mine !== shown) return;
  panels.context(tape ?? "");
  panels.sip(ladder);
  const until = Date.now() + WATCHED_MS;
  for (;;) {
    const [record, events, deliveries] = await Promise.all([
      api.get(at),
      api.get(`${at}/events`),
      api.maybe(api.get("/v1/deliveries?limit=100")),
    ]);
    if (mine !== shown) return;
    const ours = (deliveries?.data ?? []).filter((/** @type {any} */ one) => one.call_id === record.id);
    panels.result(record, events.data, ours);
    const open = ours.some((/** @type {any} */ one) => one.state !== "delivered" && one.state !== "failed");
    if (!open || Date.now() > until) return;
    await pause(LOOK_MS);
  }
}

the("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const field = /** @type {HTMLInputElement} */ (the("key"));
  api.key = field.value.trim();
  field.value = "";
  enter().catch((thrown) => leave(thrown instanceof Error ? thrown.message : String(thrown)));
});
the("forget").addEventListener("click", () => leave());

if (api.key === null) leave();
else enter().catch((thrown) => leave(thrown instanceof Error ? thrown.message : String(thrown)));
