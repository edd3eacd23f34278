// @ts-check
import { fold, make, pretty, the } from "/try/dom.js";

/** Shows the words of an empty panel, or not.
 * @param {string} name @param {boolean} empty */
function emptied(name, empty) {
  const words = document.querySelector(`[data-empty="${name}"]`);
  if (words instanceof HTMLElement) words.hidden = !empty;
}

/** Everything as before the first call. */
export function clear() {
  for (const name of ["timeline", "signalling", "context", "result"]) {
    the(name).replaceChildren();
    emptied(name, true);
  }
  the("sip").hidden = true;
}

/** The timeline; only what is new is added, so that nobody loses their place.
 * @param {{ at: number, kind: string, detail: string }[]} entries */
export function timeline(entries) {
  const list = the("timeline");
  emptied("timeline", entries.length === 0);
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
  for (const { at, kind, detail } of entries.slice(list.children.length)) {
    const time = `${(at / 1000).toFixed(2)} s`;
    list.append(
      make(
        "li",
        {},
        make("time", {}, time),
        make("span", { class: "kind" }, kind.replaceAll("_", " ")),
        make("span", { class: "detail" }, detail),
      ),
    );
  }
  if (atEnd) list.scrollTop = list.scrollHeight;
}

/** What each step of the signalling is, for people, and which way it went. */
const STEPS = {
  offer: ["browser → host", "offer"],
  answer: ["host → browser", "answer"],
  ice: ["browser → host", "another network: ICE begins anew"],
  ice_answer: ["host → browser", "answer to that"],
  refused: ["host → browser", "refused"],
  connected: ["both", "ICE and DTLS are done: from here on sound may pass"],
  failed: ["both", "no way was found"],
  channel_open: ["both", "the data channel is open"],
  channel_closed: ["both", "the data channel is closed"],
  hung_up: ["browser → host", "hang-up"],
  lost: ["host", "nothing was heard of the browser for too long"],
};

/** How the call was set up, as the host keeps it.
 * @param {{ offset_us: number, what: string, text: string }[]} steps */
export function signalling(steps) {
  const list = the("signalling");
  emptied("signalling", steps.length === 0);
  for (const { offset_us: offset, what, text } of steps.slice(list.children.length)) {
    const [way, words] = STEPS[/** @type {keyof typeof STEPS} */ (what)] ?? ["", what.replaceAll("_", " ")];
    const row = make(
      "li",
      {},
      make("time", {}, `${(offset / 1000).toFixed(1)} ms`),
      make("span", { class: "arrow" }, way),
      make("span", {}, words),
    );
    if (text.includes("v=0") || text.includes("a=")) row.append(fold(`SDP ${what}`, text));
    else if (text) row.append(make("span", { class: "detail" }, text));
    list.append(row);
  }
}

/** The SIP messages, where the call has any: a transfer's second leg, for example.
 * @param {string | undefined} ladder */
export function sip(ladder) {
  const pre = the("sip");
  pre.hidden = !ladder?.trim();
  pre.textContent = ladder ?? "";
}

/** What the script asked for, from the tape of the call.
 * @param {string} tape */
export function context(tape) {
  /** @type {Map<string, { source: string, parameters: unknown }>} */
  const begun = new Map();
  const asked = [];
  for (const line of tape.split("\n")) {
    let entry;
    try {
      entry = JSON.parse(line);
    } catch {
      continue;
    }
    const { call, reply } = entry;
    if (call?.call === "fetch") asked.push({ ...call, reply });
    if (call?.call === "start_fetch" && reply?.Ok) begun.set(String(reply.Ok.value), call);
    const earlier = call?.call === "await_fetch" ? begun.get(String(call.handle)) : undefined;
    if (earlier) asked.push({ ...earlier, reply });
  }
  emptied("context", asked.length === 0);
  const rows = asked.map(({ source, parameters, reply }) => {
    const given = reply?.Ok?.value;
    const failed = given === undefined;
    const text = failed ? pretty(reply?.Err ?? reply) : pretty(parsed(given));
    const title = make("span", {}, `${source} `, make("span", { class: failed ? "failed" : "delivered" }, failed ? "failed" : "answered"));
    const all = parameters?.length > 0 ? `parameters: ${pretty(parameters)}\n\n${text}` : text;
    return make("div", { class: "delivery" }, fold(title, all, true));
  });
  the("context").replaceChildren(...rows);
}

/** JSON within JSON is shown as what it is.
 * @param {unknown} value @returns {unknown} */
function parsed(value) {
  if (typeof value !== "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** What came of the call: in short, then every event with its deliveries.
 * @param {any} call
 * @param {{ id: string, type: string, body: unknown }[]} events
 * @param {any[]} deliveries */
export function result(call, events, deliveries) {
  const record = call.record ?? {};
  const facts = [
    ["disposition", record.disposition],
    ["intent", record.intent && `${record.intent.name}${record.intent.grade ? ` (${record.intent.grade})` : ""}`],
    ["outcome", record.outcome],
    ["ended", record.end_reason],
    ["talked", record.durations?.talk_ms && `${(record.durations.talk_ms / 1000).toFixed(1)} s`],
    ...(record.tags ?? []).map((/** @type {string} */ tag) => ["tag", tag]),
  ];
  const shown = facts.filter(([, value]) => value).map(([name, value]) => make("li", {}, `${name}: ${value}`));
  const rows = events.map(({ id, type, body }) => {
    const row = make("div", { class: "delivery" }, fold(type, pretty(body), type !== "call.completed"));
    for (const one of deliveries.filter((delivery) => delivery.event_id === id)) row.append(delivery(one));
    return row;
  });
  if (events.length === 0) rows.push(fold("the record", pretty(record)));
  emptied("result", false);
  the("result").replaceChildren(make("ul", { class: "facts" }, ...shown), ...rows);
}

/** @param {any} one */
function delivery({ endpoint, state, attempts, last_status: status, last_error: error }) {
  const how = state === "delivered" ? "delivered" : state === "failed" ? "failed" : "quiet";
  const tries = attempts === 1 ? "" : `, ${attempts} tries`;
  const answer = status ? `, answered ${status}` : error ? `, ${error}` : "";
  return make("p", { class: "quiet" }, "→ ", make("code", {}, endpoint), " ", make("span", { class: how }, state), `${answer}${tries}`);
}
