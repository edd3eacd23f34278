import { Emitter } from "./emitter.js";
import { type Environment, browser } from "./environment.js";
import { CallboxError, asCallboxError } from "./errors.js";
import { type Caption, type HostEvent, KEYS, type ToHost, read } from "./messages.js";
import { type AudioDevices, devices, microphone } from "./microphone.js";
import { type Exchange, Signalling } from "./signalling.js";

/** Where a call stands. */
export type CallState =
  /** The user is asked for the microphone. */
  | "microphone"
  /** The host is asked, and a way for sound is looked for. */
  | "connecting"
  /** The script runs and has not answered yet. */
  | "ringing"
  /** It talks. */
  | "answered"
  /** The network changed; another way is looked for. */
  | "reconnecting"
  /** It is over. */
  | "ended";

/** How a call ended. */
export interface Ended {
  /**
   * Why: `caller_hangup`, `script_returned`, `script_hangup`, `max_duration` … as in the record of the call; and of this
   * side `connection_lost` (the network went and did not come back), `connect_failed` (no sound ever passed), and `ended`
   * where the host's reason did not arrive.
   */
  reason: string;
  /** Who: the `caller` (this page), the `script`, the `platform`; the `host` where it did not say; the `network`. */
  by: string;
  /** Whether it had been answered. */
  answered: boolean;
}

/** How loud it is, 0 to 1. */
export interface Level {
  /** The microphone; 0 while muted, and where the browser does not tell. */
  input: number;
  /** What is heard. */
  output: number;
}

/** What a call tells. */
export interface CallEvents {
  /** It stands elsewhere now. */
  state: { state: CallState; previous: CallState };
  /** Something was said; the same `seq` again replaces what was said before. */
  caption: Caption;
  /** How loud it is, ten times a second, while somebody listens to this event. */
  level: Level;
  /** The script or the host tells something else. */
  event: HostEvent;
  /** The browser plays nothing before the user does something: call `play()` from a click. False when it plays. */
  blocked: boolean;
  /** Something went wrong; the call goes on unless `ended` follows. */
  error: CallboxError;
  /** It is over. Comes once. */
  ended: Ended;
  /** An exchange with the host, for those who want to see the signalling. */
  signalling: Exchange;
}

/** How to call. */
export interface CallOptions {
  /** From your server, which gets it with `POST /v1/webrtc/tokens`. */
  token: string;
  /** The host, for example `https://calls.example.com`; else where the script tag or the page is from. */
  url?: string;
  /** A microphone: its id, constraints, or sound of your own. */
  microphone?: string | MediaTrackConstraints | MediaStream;
  /** A loudspeaker, by its id. */
  speaker?: string;
  /** STUN and TURN servers: `ice_servers` of the token. */
  iceServers?: RTCIceServer[];
  /** Plays what is heard; one is made where none is given. */
  audio?: HTMLAudioElement;
  /** Gives the call up while it is being made. */
  signal?: AbortSignal;
}

/** Sound has to pass within this time of the host's answer. */
const CONNECT_MS = 20_000;
/** A connection that is silent for so long is not coming back by itself. */
const SILENT_MS = 1_500;
/** The same, where the browser has given it up. */
const FAILED_MS = 300;
/** One try to reconnect. */
const TRY_MS = 5_000;
/** All tries. */
const RECONNECT_MS = 30_000;
/** Between two tries. */
const PAUSE_MS = 700;
/** After the channel has closed without a word. */
const LAST_WORDS_MS = 1_000;
const LEVEL_MS = 100;
/** Exchanges that are kept. */
const EXCHANGES = 20;

/** A call that runs. Made by {@link call}. */
export class Call extends Emitter<CallEvents> {
  readonly #env: Environment;
  readonly #peer: RTCPeerConnection;
  readonly #signalling: Signalling;
  readonly #channel: RTCDataChannel;
  readonly #audio: HTMLAudioElement;
  readonly #offs: (() => void)[] = [];
  readonly #over = new AbortController();
  /** What is to be said to the host when the channel is open. */
  #waiting: ToHost[] = [];
  #id: string | undefined;
  #sender: RTCRtpSender | undefined;
  #stream: MediaStream;
  /** The stream is ours to stop. */
  #own: boolean;
  #state: CallState = "connecting";
  #before: CallState = "connecting";
  #muted = false;
  #blocked = false;
  /** Sound could pass at least once. */
  #connected = false;
  #answered = false;
  #ended: Ended | undefined;
  #restarting = false;
  #silence: number | undefined;
  #levels: number | undefined;
  #exchanges: readonly Exchange[] = [];

  /** @internal */
  constructor(env: Environment, options: CallOptions, stream: MediaStream) {
    super();
    this.#env = env;
    this.#stream = stream;
    this.#own = stream !== options.microphone;
    const seen = (exchange: Exchange) => {
      this.#exchanges = [...this.#exchanges, exchange].slice(-EXCHANGES);
      this.emit("signalling", exchange);
    };
    this.#signalling = new Signalling(env, options.url, options.token, seen);
    const Peer = env.RTCPeerConnection as NonNullable<Environment["RTCPeerConnection"]>;
    this.#peer = new Peer({ bundlePolicy: "max-bundle", iceServers: options.iceServers ?? [] });
    this.#channel = this.#peer.createDataChannel("callbox");
    this.#audio = options.audio ?? env.audio();
    this.#audio.autoplay = true;
    if (options.speaker !== undefined) {
      this.useSpeaker(options.speaker).catch((thrown: unknown) => this.#report(thrown, "No such loudspeaker."));
    }
  }

  /** Where it stands. */
  get state(): CallState {
    return this.#state;
  }

  /** How it ended, once it has. */
  get ended(): Ended | undefined {
    return this.#ended;
  }

  /** Whether the host hears nothing of the microphone. */
  get muted(): boolean {
    return this.#muted;
  }

  /** Whether the browser waits for the user before it plays anything. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** The last part of the call's URL at the host, `call_…`. */
  get id(): string | undefined {
    return this.#id;
  }

  /** What was exchanged with the host so far, the last 20. */
  get exchanges(): readonly Exchange[] {
    return this.#exchanges;
  }

  /** The connection below, for figures that are not here (`getStats`). */
  get connection(): RTCPeerConnection {
    return this.#peer;
  }

  /** What plays. */
  get audio(): HTMLAudioElement {
    return this.#audio;
  }

  /** Sends nothing of the microphone any more, or again. */
  mute(muted = true): void {
    this.#muted = muted;
    for (const track of this.#stream.getAudioTracks()) track.enabled = !muted;
  }

  /** Presses keys: `0`–`9`, `*`, `#`. What is pressed before the connection stands is sent when it does. */
  digits(digits: string): void {
    if (digits === "" || [...digits].some((key) => !KEYS.includes(key))) {
      throw new TypeError(`not keys of a telephone: ${JSON.stringify(digits)}`);
    }
    this.#tell({ type: "digits", digits });
  }

  /** Tells the script something; it gets it as an event. Anything that JSON can carry. */
  message(data: unknown): void {
    this.#tell({ type: "message", data });
  }

  /** Ends the call. */
  hangUp(): void {
    if (this.#ended) return;
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify({ type: "hangup" } satisfies ToHost));
    this.#end({ reason: "caller_hangup", by: "caller", answered: this.#answered });
  }

  /** Plays what is heard; from a click, where the browser asks for one. */
  async play(): Promise<void> {
    try {
      await this.#audio.play();
      this.#block(false);
    } catch (thrown) {
      // Replaced by another stream, or stopped: nothing is blocked.
      if ((thrown as { name?: string } | null)?.name === "NotAllowedError") this.#block(true);
    }
  }

  /** Speaks into another microphone from now on. */
  async useMicrophone(device: string | MediaTrackConstraints | MediaStream): Promise<void> {
    const given = isStream(device);
    const stream = given ? device : await microphone(this.#env, device);
    const track = stream.getAudioTracks()[0];
    if (this.#ended || !track) {
      if (!given) stop(stream);
      if (this.#ended) return;
      throw new CallboxError("no_microphone", "There is no sound in this stream.");
    }
    await this.#sender?.replaceTrack(track);
    if (this.#own) stop(this.#stream);
    this.#stream = stream;
    this.#own = !given;
    this.mute(this.#muted);
    this.#watchMicrophone();
  }

  /** Is heard by another loudspeaker from now on. */
  async useSpeaker(id: string): Promise<void> {
    const audio = this.#audio as HTMLAudioElement & { setSinkId?: (id: string) => Promise<void> };
    if (!audio.setSinkId) throw new CallboxError("unsupported", "This browser lets pages choose no loudspeaker.");
    await audio.setSinkId(id);
  }

  /** Looks for another way through the network now; it also happens by itself when the network changes. */
  reconnect(): void {
    void this.#restart();
  }

  /** Offers, and has the answer. @internal */
  async begin(signal?: AbortSignal): Promise<void> {
    const peer = this.#peer;
    const over = this.#over.signal;
    const given = () => this.#over.abort();
    signal?.addEventListener("abort", given, { once: true });
    try {
      for (const track of this.#stream.getAudioTracks()) this.#sender = peer.addTrack(track, this.#stream);
      this.#watch();
      // Candidates are looked for once the host has said by which servers (RFC 9725, section 4.6); it needs none of ours.
      const offer = await peer.createOffer();
      const { answer, iceServers } = await this.#signalling.call(offer.sdp ?? "", over);
      this.#id = this.#signalling.resource?.split("/").pop();
      over.throwIfAborted();
      if (iceServers.length > 0 && (peer.getConfiguration().iceServers ?? []).length === 0) {
        peer.setConfiguration({ ...peer.getConfiguration(), iceServers });
      }
      await peer.setLocalDescription(offer);
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
      over.throwIfAborted();
    } catch (thrown) {
      const error = over.aborted
        ? new CallboxError("aborted", "The call was given up.", { cause: thrown })
        : asCallboxError(thrown, "media", "The host's answer does not fit this browser.");
      this.#end({ reason: "connect_failed", by: "caller", answered: false });
      throw error;
    } finally {
      signal?.removeEventListener("abort", given);
    }
    const timer = this.#env.setTimeout(() => {
      if (!this.#connected) this.#unconnected();
    }, CONNECT_MS);
    this.#offs.push(() => this.#env.clearTimeout(timer));
  }

  /** Takes what the connection, the channel and the page tell. */
  #watch(): void {
    const peer = this.#peer;
    peer.ontrack = ({ track, streams }) => {
      this.#audio.srcObject = streams[0] ?? new MediaStream([track]);
      void this.play();
    };
    peer.onconnectionstatechange = () => this.#connection();
    this.#channel.onopen = () => {
      const waiting = this.#waiting;
      this.#waiting = [];
      for (const message of waiting) this.#tell(message);
    };
    this.#channel.onmessage = ({ data }: MessageEvent<unknown>) => this.#hear(data);
    this.#channel.onclose = () => {
      const timer = this.#env.setTimeout(() => void this.#closed(), LAST_WORDS_MS);
      this.#offs.push(() => this.#env.clearTimeout(timer));
    };
    this.#offs.push(
      this.#env.onPageHide(() => this.hangUp()),
      this.#env.onNetworkChange(() => void this.#restart()),
    );
    this.#watchMicrophone();
  }

  /** A microphone that is pulled out: the next one that is there takes its place. */
  #watchMicrophone(): void {
    const track = this.#stream.getAudioTracks()[0];
    if (!track || !this.#own) return;
    track.onended = () => {
      if (this.#ended || this.#stream.getAudioTracks()[0] !== track) return;
      this.useMicrophone({}).catch((thrown: unknown) => this.#report(thrown, "The microphone is gone."));
    };
  }

  #connection(): void {
    this.#env.clearTimeout(this.#silence);
    switch (this.#peer.connectionState) {
      case "connected":
        this.#connected = true;
        if (this.#state === "reconnecting") this.#move(this.#before);
        break;
      case "disconnected":
        this.#silence = this.#env.setTimeout(() => void this.#restart(), SILENT_MS);
        break;
      case "failed":
        if (!this.#connected) this.#unconnected();
        // A host that hangs up ends DTLS, too: its last words may come a little later.
        else this.#silence = this.#env.setTimeout(() => void this.#restart(), FAILED_MS);
        break;
      default:
    }
  }

  /** Restarts ICE until sound passes again, or the call is over. */
  async #restart(): Promise<void> {
    if (this.#restarting || this.#ended || !this.#connected) return;
    this.#restarting = true;
    if (this.#state !== "reconnecting") {
      this.#before = this.#state;
      this.#move("reconnecting");
    }
    let late = false;
    const timer = this.#env.setTimeout(() => (late = true), RECONNECT_MS);
    while (!this.#ended && !late) {
      if (await this.#tryAgain()) break;
      await this.#pause(PAUSE_MS);
    }
    this.#env.clearTimeout(timer);
    this.#restarting = false;
    if (this.#ended) return;
    if (this.#peer.connectionState === "connected") this.#connection();
    else this.#lost();
  }

  /** One try: whether it is decided how it goes on. */
  async #tryAgain(): Promise<boolean> {
    const peer = this.#peer;
    try {
      const offer = await peer.createOffer({ iceRestart: true });
      await peer.setLocalDescription(offer);
      const answer = await this.#signalling.restart(offer.sdp ?? "", this.#over.signal);
      await peer.setRemoteDescription({ type: "answer", sdp: answer });
    } catch (thrown) {
      const status = thrown instanceof CallboxError ? thrown.status : undefined;
      // The host knows of no such call any more; the rest may get better.
      if (status === 404 || status === 410) this.#end({ reason: "ended", by: "host", answered: this.#answered }, false);
      return false;
    }
    return this.#settled();
  }

  /** Waits until the restarted connection stands, or seems not to. */
  #settled(): Promise<boolean> {
    const peer = this.#peer;
    return new Promise((resolve) => {
      const look = () => {
        const transport = peer.iceConnectionState;
        if (peer.connectionState === "connected" && (transport === "connected" || transport === "completed")) done(true);
        if (this.#ended) done(false);
      };
      const done = (connected: boolean) => {
        this.#env.clearTimeout(timer);
        peer.removeEventListener("iceconnectionstatechange", look);
        peer.removeEventListener("connectionstatechange", look);
        this.#over.signal.removeEventListener("abort", look);
        resolve(connected);
      };
      const timer = this.#env.setTimeout(() => done(false), TRY_MS);
      peer.addEventListener("iceconnectionstatechange", look);
      peer.addEventListener("connectionstatechange", look);
      this.#over.signal.addEventListener("abort", look);
      look();
    });
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => this.#env.setTimeout(resolve, ms));
  }

  #unconnected(): void {
    if (this.#ended) return;
    const message = "No way for sound was found between this browser and the host: a firewall may be in between.";
    this.emit("error", new CallboxError("media", message));
    this.#end({ reason: "connect_failed", by: "network", answered: this.#answered });
  }

  /** The host has ended the connection without a word that arrived: was it the call's end? */
  async #closed(): Promise<void> {
    if (this.#ended) return;
    const there = await this.#signalling.hangUp();
    if (there === false) this.#end({ reason: "ended", by: "host", answered: this.#answered }, false);
    else this.#lost();
  }

  #lost(): void {
    this.#end({ reason: "connection_lost", by: "network", answered: this.#answered });
  }

  #hear(data: unknown): void {
    const message = read(data);
    switch (message?.type) {
      case "caption":
        this.emit("caption", message.caption);
        break;
      case "event":
        this.emit("event", message.event);
        break;
      case "state":
        if (message.state === "ended") {
          const { reason = "ended", by = "host" } = message;
          // The host has no such call any more: nothing is left to delete.
          this.#end({ reason, by, answered: this.#answered }, false);
        } else if (message.state === "ringing" || message.state === "answered") {
          this.#answered ||= message.state === "answered";
          // A restart that is under way ends where the call stands by then.
          if (this.#state === "reconnecting") this.#before = message.state;
          else this.#move(message.state);
        }
        break;
      default:
      // Of a later version than ours.
    }
  }

  #tell(message: ToHost): void {
    if (this.#ended) return;
    if (this.#channel.readyState === "open") this.#channel.send(JSON.stringify(message));
    else if (this.#channel.readyState === "connecting") this.#waiting.push(message);
  }

  #move(state: CallState): void {
    const previous = this.#state;
    if (previous === state || previous === "ended") return;
    this.#state = state;
    this.emit("state", { state, previous });
  }

  #block(blocked: boolean): void {
    if (this.#blocked === blocked) return;
    this.#blocked = blocked;
    this.emit("blocked", blocked);
  }

  #report(thrown: unknown, message: string): void {
    this.emit("error", asCallboxError(thrown, "media", message));
  }

  #end(ended: Ended, hangUp = true): void {
    if (this.#ended) return;
    this.#ended = ended;
    this.#over.abort();
    for (const off of this.#offs) off();
    this.#env.clearTimeout(this.#silence);
    this.#env.clearTimeout(this.#levels);
    if (hangUp) void this.#signalling.hangUp();
    if (this.#own) stop(this.#stream);
    this.#peer.close();
    this.#audio.srcObject = null;
    this.#move("ended");
    this.emit("ended", ended);
  }

  /** @internal */
  protected override listened(name: keyof CallEvents, somebody: boolean): void {
    if (name !== "level") return;
    this.#env.clearTimeout(this.#levels);
    if (somebody && !this.#ended) this.#measure();
  }

  #measure(): void {
    const again = () => {
      if (!this.#ended) this.#levels = this.#env.setTimeout(() => this.#measure(), LEVEL_MS);
    };
    this.#peer
      .getStats()
      .then((stats) => {
        const level: Level = { input: 0, output: 0 };
        stats.forEach((one: { type: string; kind?: string; audioLevel?: number }) => {
          if (one.kind !== "audio" || one.audioLevel === undefined) return;
          if (one.type === "media-source") level.input = this.#muted ? 0 : one.audioLevel;
          if (one.type === "inbound-rtp") level.output = one.audioLevel;
        });
        if (!this.#ended) this.emit("level", level);
      })
      .then(again, again);
  }
}

function stop(stream: MediaStream): void {
  for (const track of stream.getTracks()) track.stop();
}

function isStream(device: unknown): device is MediaStream {
  return typeof device === "object" && device !== null && "getAudioTracks" in device;
}

/**
 * Calls the script that the token is for. Asks for the microphone first; returns when the host has taken the call.
 * Rejects with a {@link CallboxError}.
 */
export function call(options: CallOptions): Promise<Call> {
  return dial(options, browser());
}

/** What there is to speak into and to hear with. */
export function listDevices(): Promise<AudioDevices> {
  return devices(browser());
}

/** @internal */
export async function dial(options: CallOptions, env: Environment): Promise<Call> {
  if (!env.RTCPeerConnection) throw new CallboxError("unsupported", "This browser has no WebRTC.");
  const given = options.microphone;
  const stream = isStream(given) ? given : await microphone(env, given);
  const made = new Call(env, options, stream);
  if (options.signal?.aborted) {
    made.hangUp();
    throw new CallboxError("aborted", "The call was given up.");
  }
  await made.begin(options.signal);
  return made;
}
