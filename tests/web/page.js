// A customer's page: the element calls, and everything it tells is kept. Tests wait by promises made here.
"use strict";

/** Everything that was told, in order: `[name, detail]`. */
const told = [];
const waiting = new Set();

function tell(name, detail) {
  // Of sound only the last is of interest.
  if (name === "block" && told.at(-1)?.[0] === name) told.pop();
  told.push([name, detail]);
  for (const look of [...waiting]) look();
}

/** Resolves with the first thing told, from `from` on, that fits; rejects after too long a time. */
function seen(test, from = 0, patience = 40_000) {
  return new Promise((resolve, reject) => {
    const look = () => {
      const found = told.slice(from).find(([name, detail]) => test(name, detail));
      if (!found) return;
      waiting.delete(look);
      clearTimeout(timer);
      resolve(found[1]);
    };
    const timer = setTimeout(() => {
      waiting.delete(look);
      reject(new Error(`it was not told: ${test}; only ${JSON.stringify(told)}`));
    }, patience);
    waiting.add(look);
    look();
  });
}

const state = (wanted, from) => seen((name, detail) => name === "state" && detail.state === wanted, from);
const caption = (words, from) =>
  seen((name, detail) => name === "caption" && detail.role === "robot" && detail.text.includes(words), from);
const ended = (from) => seen((name) => name === "ended", from);

for (const name of ["state", "caption", "event", "ended", "error"]) {
  addEventListener(`callbox-${name}`, ({ detail }) => {
    const plain = detail instanceof Error ? { ...detail, message: detail.message, code: detail.code } : detail;
    tell(name, plain);
  });
}

/** Keeps what a call sounds like, as the page plays it: 16 bit, 8,000 a second. */
async function capture(call) {
  const context = new AudioContext({ sampleRate: 8_000 });
  await context.audioWorklet.addModule("/capture.js");
  // A machine that does too much at once is no bad line: what comes late is waited for.
  for (const receiver of call.connection.getReceivers()) receiver.jitterBufferTarget = 400;
  const stream = call.audio.srcObject ?? (await new Promise((resolve) => {
    const timer = setInterval(() => {
      if (!call.audio.srcObject) return;
      clearInterval(timer);
      resolve(call.audio.srcObject);
    }, 5);
  }));
  const source = context.createMediaStreamSource(stream);
  const ear = new AudioWorkletNode(context, "ear");
  let blocks = [];
  ear.port.onmessage = ({ data }) => {
    blocks.push(data);
    tell("block", blocks.length);
  };
  source.connect(ear).connect(context.destination);
  /** All that was kept, as base64; from here on anew where that is asked for. */
  window.heard = (anew = false) => {
    const all = new Int16Array(blocks.reduce((length, block) => length + block.length, 0));
    let at = 0;
    for (const block of blocks) {
      all.set(block, at);
      at += block.length;
    }
    if (anew) blocks = [];
    let text = "";
    for (const byte of new Uint8Array(all.buffer)) text += String.fromCharCode(byte);
    return btoa(text);
  };
  /** Resolves when so many milliseconds more were kept. */
  window.talked = (ms) => {
    const wanted = blocks.length + (ms * 8) / 128;
    return seen((name, count) => name === "block" && count >= wanted, Math.max(0, told.length - 1)).then(() => true);
  };
}
