// A host within the page: another connection of the same browser answers. What it has in common with a host is the shape
// of the exchange, and that it is told none of our candidates.
"use strict";

const standin = new RTCPeerConnection();
const opened = new Promise((resolve) => {
  standin.ondatachannel = ({ channel }) => {
    channel.onmessage = ({ data }) => tell("sent", JSON.parse(data));
    channel.onopen = () => resolve(channel);
  };
});
const says = async (message) => (await opened).send(JSON.stringify(message));

async function answer(offer) {
  await standin.setRemoteDescription({ type: "offer", sdp: offer });
  await standin.setLocalDescription();
  if (standin.iceGatheringState !== "complete") {
    await new Promise((done) => {
      standin.onicegatheringstatechange = () => standin.iceGatheringState === "complete" && done();
    });
  }
  return standin.localDescription.sdp;
}

window.fetch = async (url, { method, body, headers }) => {
  tell("asked", { method, path: new URL(url).pathname, token: headers.authorization, candidates: /a=candidate/.test(body) });
  if (method === "DELETE") return new Response(null, { status: 200 });
  if (method === "POST") {
    const tone = new OscillatorNode(new AudioContext());
    const out = tone.context.createMediaStreamDestination();
    tone.connect(out);
    tone.start();
    standin.addTrack(out.stream.getAudioTracks()[0], out.stream);
  }
  const init = method === "POST" ? { status: 201, headers: { location: "/v1/webrtc/calls/call_1" } } : { status: 200 };
  return new Response(await answer(body), init);
};
