// A page that exists already and calls by SIP, with JsSIP.
"use strict";

/** Calls, and resolves with what became of it when it is over. */
async function callBySip({ server, target, headers }) {
  const socket = new JsSIP.WebSocketInterface(server);
  const ua = new JsSIP.UA({ sockets: [socket], uri: "sip:page@example.com", register: false });
  const told = { events: [], connection: undefined, heard: 0 };
  ua.start();
  await new Promise((connected) => ua.on("connected", connected));
  const session = ua.call(target, {
    mediaConstraints: { audio: true, video: false },
    pcConfig: { iceServers: [] },
    extraHeaders: headers,
  });
  const peer = session.connection;
  peer.addEventListener("track", ({ track, streams: [stream] }) => {
    const audio = new Audio();
    audio.srcObject = stream ?? new MediaStream([track]);
    audio.play();
    window.playing = audio;
  });
  session.on("accepted", () => told.events.push("accepted"));
  session.on("confirmed", () => told.events.push("confirmed"));
  return new Promise((resolve) => {
    // What arrived is only known while the connection is there.
    const timer = setInterval(async () => {
      for (const one of (await peer.getStats()).values()) {
        if (one.type === "inbound-rtp" && one.kind === "audio") told.heard = one.packetsReceived;
        if (one.type === "transport" && one.dtlsState) told.connection = one.dtlsState;
      }
    }, 50);
    const over = (how) => (event) => {
      clearInterval(timer);
      told.events.push(how);
      told.cause = `${event.originator}: ${event.cause}`;
      ua.stop();
      resolve(told);
    };
    session.on("ended", over("ended"));
    session.on("failed", over("failed"));
  });
}
