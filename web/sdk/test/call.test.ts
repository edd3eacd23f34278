import assert from "node:assert/strict";
import { test } from "node:test";
import { type Call, type CallOptions, dial } from "../src/call.js";
import { CallboxError } from "../src/errors.js";
import { FakeBrowser, FakePeer, FakeStream, accepted, problem, settle } from "./fakes.js";

const TOKEN = { token: "t" };

/** A call with everything it tells. */
async function called(browser = new FakeBrowser(), options: CallOptions = TOKEN) {
  const call = await dial(options, browser.environment());
  const told: string[] = [];
  call.on("state", ({ state }) => told.push(state));
  call.on("ended", ({ reason, by, answered }) => told.push(`${reason} by ${by}${answered ? "" : ", not answered"}`));
  call.on("error", ({ code }) => told.push(`error ${code}`));
  return { browser, call, peer: FakePeer.last, told };
}

/** The same, with sound. */
async function talking(browser = new FakeBrowser()) {
  const all = await called(browser);
  all.peer.becomes("connected");
  all.peer.channel.open();
  all.peer.channel.says({ type: "state", state: "answered" });
  return all;
}

async function refusal(browser: FakeBrowser, options: CallOptions = TOKEN): Promise<CallboxError> {
  const thrown = await dial(options, browser.environment()).then(
    () => assert.fail("it was taken"),
    (thrown: unknown) => thrown,
  );
  assert.ok(thrown instanceof CallboxError, String(thrown));
  return thrown;
}

test("a call is one exchange, and tells where it stands", async () => {
  const { browser, call, peer, told } = await called();
  const [post] = browser.asked;
  assert.equal(post?.url, "https://page.example/v1/webrtc/calls");
  assert.equal(post.headers["authorization"], "Bearer t");
  assert.equal(post.headers["content-type"], "application/sdp");
  assert.equal(post.body, "offer 1");
  assert.deepEqual(peer.descriptions, ["local offer 1", "remote answer"]);
  assert.equal(call.id, "call_1");
  assert.equal(call.state, "connecting");
  peer.becomes("connected");
  peer.channel.open();
  peer.channel.says({ type: "state", state: "ringing" });
  peer.channel.says({ type: "state", state: "answered" });
  peer.channel.says({ type: "state", state: "ended", reason: "script_returned" });
  assert.deepEqual(told, ["ringing", "answered", "ended", "script_returned by host"]);
  assert.deepEqual(call.ended, { reason: "script_returned", by: "host", answered: true });
  assert.ok(peer.closed && browser.stream.track.stopped);
  assert.equal(browser.timers, 0);
  assert.deepEqual(browser.asked.map(({ method }) => method), ["POST"], "the host knows that it is over");
});

test("the host may be elsewhere, and say which servers help", async () => {
  const browser = new FakeBrowser();
  const link = '<turn:turn.example:3478?transport=udp>; rel="ice-server"; username="u"; credential="a,b;c"';
  browser.answer = () => accepted("answer", { link: `<https://x.example>; rel="next", ${link}` });
  const { peer } = await called(browser, { ...TOKEN, url: "https://calls.example/" });
  assert.equal(browser.asked[0]?.url, "https://calls.example/v1/webrtc/calls");
  const servers = [{ urls: "turn:turn.example:3478?transport=udp", username: "u", credential: "a,b;c" }];
  assert.deepEqual(peer.configuration.iceServers, servers);
});

test("captions and events reach the page, and nonsense does not", async () => {
  const { call, peer } = await talking();
  const told: unknown[] = [];
  call.on("caption", (caption) => told.push(caption));
  call.on("event", (event) => told.push(event.name));
  for (const nonsense of ["", "{", "null", "3", '{"type":"caption"}', '{"type":"later"}', '{"type":"state"}']) {
    peer.channel.says(nonsense);
  }
  peer.channel.says({ type: "caption", role: "robot", text: "Hello", final: false, seq: 1 });
  peer.channel.says({ type: "event", name: "node" });
  assert.deepEqual(told, [{ role: "robot", text: "Hello", final: false, seq: 1 }, "node"]);
});

test("keys and messages wait for the channel, in order", async () => {
  const { call, peer } = await called();
  call.digits("12");
  call.message({ a: 1 });
  assert.deepEqual(peer.channel.sent, []);
  peer.channel.open();
  call.digits("#");
  assert.deepEqual(peer.channel.sent, [
    { type: "digits", digits: "12" },
    { type: "message", data: { a: 1 } },
    { type: "digits", digits: "#" },
  ]);
  for (const wrong of ["", "A", "1 2"]) assert.throws(() => call.digits(wrong), TypeError);
});

test("hanging up says so twice, for one of both arrives", async () => {
  const { browser, call, peer, told } = await talking();
  call.hangUp();
  call.hangUp();
  await settle();
  assert.deepEqual(peer.channel.sent, [{ type: "hangup" }]);
  const deletes = browser.asked.filter(({ method }) => method === "DELETE");
  assert.deepEqual(deletes.map(({ url }) => url), ["https://page.example/v1/webrtc/calls/call_1"]);
  assert.deepEqual(told, ["answered", "ended", "caller_hangup by caller"]);
});

test("a page that goes away hangs up", async () => {
  const { browser, call } = await talking();
  browser.pageHides();
  assert.equal(call.ended?.reason, "caller_hangup");
});

test("mute stops the sound, also of another microphone", async () => {
  const { browser, call, peer } = await talking();
  call.mute();
  assert.equal(browser.stream.track.enabled, false);
  const other = new FakeStream();
  await call.useMicrophone(other as unknown as MediaStream);
  assert.equal(peer.sender.track, other.track);
  assert.ok(browser.stream.track.stopped && !other.track.enabled && call.muted);
  call.mute(false);
  assert.ok(other.track.enabled);
  call.hangUp();
  assert.ok(!other.track.stopped, "what the page brought is the page's");
});

test("a microphone that is pulled out is replaced, or missed", async () => {
  const { browser, peer, told } = await talking();
  const next = new FakeStream();
  browser.microphone = async () => next;
  browser.stream.track.onended?.();
  await settle();
  assert.equal(peer.sender.track, next.track);
  browser.microphone = () => Promise.reject(new DOMException("none", "NotFoundError"));
  next.track.onended?.();
  await settle();
  assert.deepEqual(told, ["answered", "error no_microphone"]);
});

test("a connection that falls silent is restarted", async () => {
  const { browser, call, peer, told } = await talking();
  browser.answer = ({ method }) => (method === "PATCH" ? new Response("answer 2", { status: 200 }) : accepted());
  peer.becomes("disconnected");
  await browser.pass(1_000);
  assert.equal(call.state, "answered", "it may come back by itself");
  await browser.pass(1_000);
  assert.equal(call.state, "reconnecting");
  const patch = browser.asked[1];
  assert.deepEqual([patch?.method, patch?.body, patch?.headers["if-match"]], ["PATCH", "offer 2 restart", "*"]);
  peer.becomes("connected");
  await settle();
  assert.deepEqual(told, ["answered", "reconnecting", "answered"]);
  assert.equal(peer.descriptions.at(-1), "remote answer 2");
});

test("a restart is tried until the network is back", async () => {
  const { browser, peer, told } = await talking();
  let tries = 0;
  browser.answer = () => {
    tries += 1;
    if (tries < 4) throw new TypeError("Failed to fetch");
    return new Response("answer 2", { status: 200 });
  };
  peer.becomes("failed");
  await browser.pass(4_000);
  assert.equal(tries, 4);
  peer.becomes("connected");
  await settle();
  assert.deepEqual(told, ["answered", "reconnecting", "answered"]);
});

test("a network that does not come back ends the call", async () => {
  const { browser, peer, told } = await talking();
  browser.answer = () => Promise.reject(new TypeError("Failed to fetch"));
  peer.becomes("failed");
  await browser.pass(40_000);
  assert.deepEqual(told, ["answered", "reconnecting", "ended", "connection_lost by network"]);
});

test("a call that the host has forgotten is over at once", async () => {
  const { browser, told } = await talking();
  browser.answer = () => problem(404, "not_found");
  browser.networkChanges();
  await browser.pass(10);
  assert.deepEqual(told, ["answered", "reconnecting", "ended", "ended by host"]);
  assert.deepEqual(browser.asked.map(({ method }) => method), ["POST", "PATCH"]);
});

test("a host that hangs up ends the connection, and is not asked for another", async () => {
  const { browser, peer, told } = await talking();
  peer.becomes("failed");
  await browser.pass(100);
  peer.channel.says({ type: "state", state: "ended", reason: "script_returned" });
  await browser.pass(5_000);
  assert.deepEqual(told, ["answered", "ended", "script_returned by host"]);
  assert.deepEqual(browser.asked.map(({ method }) => method), ["POST"]);
});

test("a state that comes while reconnecting is where the call goes on", async () => {
  const { browser, call, peer } = await called();
  browser.answer = () => new Response("answer 2", { status: 200 });
  peer.becomes("connected");
  peer.channel.open();
  peer.becomes("failed");
  await browser.pass(500);
  peer.channel.says({ type: "state", state: "answered" });
  assert.equal(call.state, "reconnecting");
  peer.becomes("connected");
  await settle();
  assert.equal(call.state, "answered");
});

test("no way for sound is an error and the end", async () => {
  for (const fail of [(peer: FakePeer) => peer.becomes("failed"), () => {}]) {
    const { browser, peer, told } = await called();
    fail(peer);
    await browser.pass(20_000);
    assert.deepEqual(told, ["error media", "ended", "connect_failed by network, not answered"]);
  }
});

test("a channel that closes without a word is the end, and the host knows whose", async () => {
  for (const [answer, end] of [
    [() => problem(404, "not_found"), "ended by host"],
    [() => new Response(null, { status: 200 }), "connection_lost by network"],
    [() => Promise.reject(new TypeError("Failed to fetch")), "connection_lost by network"],
  ] as const) {
    const { browser, peer, told } = await talking();
    browser.answer = answer;
    peer.channel.close();
    await browser.pass(1_000);
    assert.deepEqual(told, ["answered", "ended", end]);
    assert.equal(browser.asked.filter(({ method }) => method === "DELETE").length, 1);
  }
});

test("a browser that wants a click first says so", async () => {
  const browser = new FakeBrowser();
  browser.audio.play = () => Promise.reject(new DOMException("click first", "NotAllowedError"));
  const { call, peer } = await called(browser);
  const told: boolean[] = [];
  call.on("blocked", (blocked) => told.push(blocked));
  peer.ontrack?.({ track: {}, streams: ["voice"] });
  await settle();
  assert.ok(call.blocked);
  browser.audio.play = async () => {};
  await call.play();
  assert.deepEqual([told, call.blocked, browser.audio.srcObject], [[true, false], false, "voice"]);
});

test("levels are measured while somebody wants them", async () => {
  const { browser, call } = await talking();
  await browser.pass(500);
  const told: number[] = [];
  const off = call.on("level", ({ input, output }) => told.push(input, output));
  await browser.pass(100);
  assert.deepEqual(told.slice(0, 2), [0.5, 0.25]);
  call.mute();
  await browser.pass(100);
  assert.deepEqual(told.slice(-2), [0, 0.25]);
  off();
  const before = told.length;
  await browser.pass(1_000);
  assert.equal(told.length, before);
});

test("a listener that throws disturbs nobody", async () => {
  const { call, peer } = await talking();
  const reported: unknown[] = [];
  (globalThis as { reportError?: unknown }).reportError = (thrown: unknown) => reported.push(thrown);
  const heard: string[] = [];
  call.on("caption", () => {
    throw new Error("the page's");
  });
  call.once("caption", ({ text }) => heard.push(text));
  for (const text of ["one", "two"]) peer.channel.says({ type: "caption", role: "robot", text, final: true, seq: 1 });
  assert.deepEqual([heard, reported.length], [["one"], 2]);
});

test("what the host refuses has a name and a reason", async () => {
  const cases: [Response, string, string | undefined, number | undefined][] = [
    [problem(401, "token_expired"), "token_refused", "token_expired", undefined],
    [problem(403, "origin_not_allowed"), "token_refused", "origin_not_allowed", undefined],
    [problem(503, "overloaded", { "retry-after": "7" }), "busy", "overloaded", 7],
    [problem(429, "rate_limited", { "retry-after": "2" }), "busy", "rate_limited", 2],
    [problem(422, "invalid_offer"), "refused", "invalid_offer", undefined],
    [new Response("<html>", { status: 502 }), "refused", undefined, undefined],
    [new Response("", { status: 200 }), "refused", undefined, undefined],
    [new Response("broken", { status: 201, headers: { location: "/x" } }), "media", undefined, undefined],
  ];
  for (const [response, code, reason, retryAfter] of cases) {
    const browser = new FakeBrowser();
    browser.answer = ({ method }) => (method === "DELETE" ? new Response(null, { status: 204 }) : response);
    const error = await refusal(browser);
    assert.deepEqual([error.code, error.reason, error.retryAfter], [code, reason, retryAfter]);
    assert.ok(browser.stream.track.stopped && FakePeer.last.closed, "nothing stays open");
  }
});

test("a host that cannot be reached, or does not answer", async () => {
  const browser = new FakeBrowser();
  browser.answer = () => Promise.reject(new TypeError("Failed to fetch"));
  assert.equal((await refusal(browser)).code, "network");
  browser.answer = () => new Promise(() => {});
  const waiting = refusal(browser);
  await browser.pass(15_000);
  assert.equal((await waiting).code, "timeout");
});

test("what keeps a page from the microphone has a name", async () => {
  const names = {
    NotAllowedError: "microphone_denied",
    NotFoundError: "no_microphone",
    OverconstrainedError: "no_microphone",
    NotReadableError: "microphone_busy",
    Whatever: "no_microphone",
  };
  for (const [name, code] of Object.entries(names)) {
    const browser = new FakeBrowser();
    browser.microphone = () => Promise.reject(new DOMException("no", name));
    assert.equal((await refusal(browser)).code, code);
    assert.equal(browser.asked.length, 0, "the host is not asked");
  }
  const insecure = new FakeBrowser();
  insecure.secure = false;
  assert.equal((await refusal(insecure)).code, "insecure_context");
  const environment = { ...new FakeBrowser().environment(), RTCPeerConnection: undefined };
  await assert.rejects(dial(TOKEN, environment), { code: "unsupported" });
});

test("a call is given up while it is being made", async () => {
  const [browser, giveUp] = [new FakeBrowser(), new AbortController()];
  browser.answer = () => new Promise(() => {});
  const waiting = refusal(browser, { ...TOKEN, signal: giveUp.signal });
  await settle();
  assert.equal(browser.asked.length, 1);
  giveUp.abort();
  assert.equal((await waiting).code, "aborted");
  assert.ok(browser.stream.track.stopped);

  // Also while the user is asked for the microphone.
  const early = new AbortController();
  const asking = new FakeBrowser();
  asking.microphone = async () => (early.abort(), asking.stream);
  assert.equal((await refusal(asking, { ...TOKEN, signal: early.signal })).code, "aborted");
  assert.equal(asking.asked.length, 0);
});

test("the host's end comes before its answer is taken", async () => {
  const browser = new FakeBrowser();
  const call: Promise<Call> = dial(TOKEN, browser.environment());
  await settle();
  FakePeer.last.channel.says({ type: "state", state: "ended", reason: "rejected" });
  const made = await call;
  assert.equal(made.ended?.reason, "rejected");
  assert.equal(made.state, "ended");
});
