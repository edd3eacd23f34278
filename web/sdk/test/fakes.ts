import type { Environment } from "../src/environment.js";

/** A request that the library made, and how to answer it. */
export interface Asked {
  url: string;
  method: string;
  headers: Record<string, string>;
  body: string | undefined;
}

/** Something with listeners, as browsers have it. */
class Target {
  readonly #all = new Map<string, Set<() => void>>();
  addEventListener(name: string, run: () => void): void {
    this.#all.set(name, (this.#all.get(name) ?? new Set()).add(run));
  }
  removeEventListener(name: string, run: () => void): void {
    this.#all.get(name)?.delete(run);
  }
  tell(name: string): void {
    (this as unknown as Record<string, (() => void) | null>)[`on${name}`]?.();
    for (const run of [...(this.#all.get(name) ?? [])]) run();
  }
}

export class FakeTrack {
  readonly kind = "audio";
  enabled = true;
  stopped = false;
  onended: (() => void) | null = null;
  stop(): void {
    this.stopped = true;
  }
}

export class FakeStream {
  readonly track = new FakeTrack();
  getAudioTracks(): FakeTrack[] {
    return [this.track];
  }
  getTracks(): FakeTrack[] {
    return [this.track];
  }
}

export class FakeChannel {
  readyState = "connecting";
  readonly sent: unknown[] = [];
  onopen: (() => void) | null = null;
  onclose: (() => void) | null = null;
  onmessage: ((event: { data: unknown }) => void) | null = null;
  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }
  open(): void {
    this.readyState = "open";
    this.onopen?.();
  }
  close(): void {
    this.readyState = "closed";
    this.onclose?.();
  }
  says(message: unknown): void {
    this.onmessage?.({ data: typeof message === "string" ? message : JSON.stringify(message) });
  }
}

export class FakePeer extends Target {
  static last: FakePeer;
  readonly channel = new FakeChannel();
  readonly sender = { track: undefined as unknown, replaceTrack: async (track: unknown) => void (this.sender.track = track) };
  connectionState = "new";
  iceConnectionState = "new";
  closed = false;
  offers = 0;
  readonly descriptions: string[] = [];
  ontrack: ((event: { track: unknown; streams: unknown[] }) => void) | null = null;
  constructor(public configuration: RTCConfiguration) {
    super();
    FakePeer.last = this;
  }
  createDataChannel(): FakeChannel {
    return this.channel;
  }
  addTrack(track: unknown): unknown {
    this.sender.track = track;
    return this.sender;
  }
  async createOffer(options?: { iceRestart?: boolean }): Promise<{ type: string; sdp: string }> {
    this.offers += 1;
    return { type: "offer", sdp: `offer ${this.offers}${options?.iceRestart ? " restart" : ""}` };
  }
  async setLocalDescription(description: { sdp: string }): Promise<void> {
    this.descriptions.push(`local ${description.sdp}`);
  }
  async setRemoteDescription(description: { sdp: string }): Promise<void> {
    if (description.sdp === "broken") throw new Error("no SDP");
    this.descriptions.push(`remote ${description.sdp}`);
  }
  getConfiguration(): RTCConfiguration {
    return this.configuration;
  }
  setConfiguration(configuration: RTCConfiguration): void {
    this.configuration = configuration;
  }
  async getStats(): Promise<Map<string, object>> {
    return new Map([
      ["a", { type: "media-source", kind: "audio", audioLevel: 0.5 }],
      ["b", { type: "inbound-rtp", kind: "audio", audioLevel: 0.25 }],
    ]);
  }
  becomes(state: string): void {
    this.connectionState = state;
    this.iceConnectionState = state;
    this.tell("iceconnectionstatechange");
    this.tell("connectionstatechange");
  }
  close(): void {
    this.closed = true;
    this.connectionState = "closed";
  }
}

/** A browser in which time passes when a test says so. */
export class FakeBrowser {
  readonly asked: Asked[] = [];
  readonly stream = new FakeStream();
  readonly audio = { autoplay: false, srcObject: null as unknown, play: async (): Promise<void> => {} };
  answer: (asked: Asked) => Response | Promise<Response> = ({ method }) =>
    method === "DELETE" ? new Response(null, { status: 204 }) : accepted();
  microphone: (constraints: unknown) => Promise<unknown> = async () => this.stream;
  secure = true;
  pageHides: () => void = () => {};
  networkChanges: () => void = () => {};
  #now = 0;
  #next = 1;
  readonly #timers = new Map<number, { at: number; run: () => void }>();

  environment(): Environment {
    const all = {
      fetch: async (url: string, init: RequestInit) => {
        const asked = {
          url,
          method: init.method ?? "GET",
          headers: init.headers as Record<string, string>,
          body: init.body as string | undefined,
        };
        this.asked.push(asked);
        const answered = Promise.resolve(this.answer(asked));
        const given = new Promise<never>((_, reject) =>
          init.signal?.addEventListener("abort", () => reject(new DOMException("aborted", "AbortError"))),
        );
        return Promise.race([answered, given]);
      },
      mediaDevices: { getUserMedia: (constraints: unknown) => this.microphone(constraints), enumerateDevices: async () => [] },
      secure: this.secure,
      RTCPeerConnection: FakePeer,
      audio: () => this.audio,
      setTimeout: (run: () => void, ms: number) => {
        this.#timers.set(this.#next, { at: this.#now + ms, run });
        return this.#next++;
      },
      clearTimeout: (timer: number | undefined) => void this.#timers.delete(timer ?? 0),
      onPageHide: (run: () => void) => ((this.pageHides = run), () => {}),
      onNetworkChange: (run: () => void) => ((this.networkChanges = run), () => {}),
      home: "https://page.example",
    };
    return all as unknown as Environment;
  }

  /** Timers that are set. */
  get timers(): number {
    return this.#timers.size;
  }

  /** Lets so much time pass, timer by timer. */
  async pass(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, { at }]) => at <= until).sort(([, a], [, b]) => a.at - b.at)[0];
      if (!due) break;
      const [id, { at, run }] = due;
      this.#timers.delete(id);
      this.#now = at;
      run();
      await settle();
    }
    this.#now = until;
  }
}

/** Whatever was begun goes on until it waits for time. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 3; turn += 1) await new Promise((resolve) => setImmediate(resolve));
}

export function accepted(sdp = "answer", headers: Record<string, string> = {}): Response {
  return new Response(sdp, { status: 201, headers: { location: "/v1/webrtc/calls/call_1", ...headers } });
}

export function problem(status: number, code: string, headers: Record<string, string> = {}): Response {
  const body = JSON.stringify({ title: "No", status, code, detail: `because of ${code}` });
  return new Response(body, { status, headers: { "content-type": "application/problem+json", ...headers } });
}
