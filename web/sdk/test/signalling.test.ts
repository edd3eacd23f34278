import assert from "node:assert/strict";
import { test } from "node:test";
import { read } from "../src/messages.js";
import { iceServers, seconds } from "../src/signalling.js";
import { CallboxError } from "../src/errors.js";
import { ENGLISH, words } from "../src/element/texts.js";

test("Retry-After is seconds or a date", () => {
  const now = Date.parse("Sat, 21 Nov 2026 15:00:00 GMT");
  const cases: [string | null, number | undefined][] = [
    [null, undefined],
    ["", undefined],
    ["5", 5],
    [" 12 ", 12],
    ["Sat, 21 Nov 2026 15:00:30 GMT", 30],
    ["Sat, 21 Nov 2026 14:00:00 GMT", 0],
    ["soon", undefined],
  ];
  for (const [header, wanted] of cases) assert.equal(seconds(header, now), wanted, String(header));
});

test("Link headers name servers", () => {
  assert.deepEqual(iceServers(null), []);
  assert.deepEqual(iceServers('<https://a.example>; rel="ice-server"'), []);
  assert.deepEqual(iceServers("<stun:a.example>; rel=ice-server"), [{ urls: "stun:a.example" }]);
  const two = '<turns:b.example>; rel="ice-server"; username="1:u"; credential="p\\"q"; credential-type="password", <stun:c>; rel="ice-server"';
  assert.deepEqual(iceServers(two), [
    { urls: "turns:b.example", username: "1:u", credential: 'p"q' },
    { urls: "stun:c" },
  ]);
});

test("what the host says is read, whatever it is", () => {
  const junk = [undefined, null, 7, {}, "x", "[]", '"a"', '{"type":7}', '{"type":"caption","role":"other","text":"a","seq":1}'];
  for (const message of junk) assert.equal(read(message), undefined);
  const keys = read('{"type":"caption","role":"caller","text":"","digits":"**","seq":2}');
  const caption = { role: "caller", text: "", final: true, seq: 2, digits: "**" };
  assert.deepEqual(keys, { type: "caption", caption });
  const ended = read('{"type":"state","state":"ended","reason":"script_returned"}');
  assert.deepEqual(ended, { type: "state", state: "ended", reason: "script_returned", by: undefined });
});

test("errors are told in words for people", () => {
  const spent = new CallboxError("token_refused", "detail", { reason: "token_spent" });
  assert.equal(words(ENGLISH, spent), ENGLISH.refusals["token_spent"]);
  const busy = new CallboxError("busy", "detail", { reason: "overloaded", retryAfter: 7 });
  assert.equal(words(ENGLISH, busy), "All lines are busy. Please try again in 7 s.");
  assert.equal(words(ENGLISH, new CallboxError("refused", "the host's own words")), "the host's own words");
});
