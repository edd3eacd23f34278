import { type Call, type CallOptions, type CallState, type Ended, call } from "../call.js";
import { CallboxError, asCallboxError } from "../errors.js";
import { refused } from "../signalling.js";
import { type CallboxCallTexts, ENGLISH, words } from "./texts.js";
import { View } from "./view.js";

/** What a token comes as: the token, or the whole answer of `POST /v1/webrtc/tokens`. */
export type TokenAnswer = string | { token: string; url?: string; ice_servers?: RTCIceServer[] };

/** Where there is no DOM (a page rendered on a server) the class can still be imported. */
const Base = typeof HTMLElement === "undefined" ? (class {} as unknown as typeof HTMLElement) : HTMLElement;

/**
 * `<callbox-call>`: a telephone in a page.
 *
 * Attributes: `token`, or `token-url` (asked by POST when the user calls; answers `{"token": …}`), `server` (the host),
 * `captions="off"`, `keypad="off"` (both can be opened by the user), `theme="light|dark"`.
 *
 * Events: `callbox-state`, `callbox-caption`, `callbox-event`, `callbox-ended`, `callbox-error`, with what the events of a
 * call carry in `detail`.
 */
export class CallboxCallElement extends Base {
  static readonly observedAttributes = ["captions", "keypad"];

  /** Gives the token when the user calls; goes before the attributes. */
  tokenProvider: (() => TokenAnswer | Promise<TokenAnswer>) | undefined;
  /** More options for the call: a microphone, ICE servers … */
  options: Partial<CallOptions> = {};

  #texts = ENGLISH;
  #view: View | undefined;
  #call: Call | undefined;
  #making: AbortController | undefined;
  #answeredAt: number | undefined;
  #clock: ReturnType<typeof setInterval> | undefined;

  /** The call that runs, or the last one. */
  get call(): Call | undefined {
    return this.#call;
  }

  /** What the element says; missing texts stay English. Set it before the element is shown. */
  get texts(): CallboxCallTexts {
    return this.#texts;
  }
  set texts(texts: Partial<CallboxCallTexts>) {
    const merged = { ...ENGLISH, ...texts };
    for (const map of ["states", "reasons", "errors", "refusals"] as const) {
      Object.assign(merged, { [map]: { ...ENGLISH[map], ...texts[map] } });
    }
    this.#texts = merged;
    if (this.#view && !this.#running) this.#render();
  }

  connectedCallback(): void {
    if (!this.#view) this.#render();
  }

  /** Taken out of the page: nobody could hang up any more. Moved within it, the call goes on. */
  disconnectedCallback(): void {
    queueMicrotask(() => {
      if (!this.isConnected) this.hangUp();
    });
  }

  attributeChangedCallback(): void {
    this.#view?.show(this.getAttribute("captions") !== "off", this.getAttribute("keypad") !== "off");
  }

  /** Calls, as a click on the button does. */
  async start(): Promise<void> {
    const view = this.#view;
    if (!view || this.#running) return;
    const making = new AbortController();
    this.#making = making;
    view.captions.clear();
    view.notice("");
    this.#state("microphone");
    try {
      const given = await this.#token();
      const token = typeof given === "string" ? { token: given } : given;
      const url = this.getAttribute("server") ?? token.url;
      if (making.signal.aborted) throw new CallboxError("aborted", "The call was given up.");
      const made = await call({
        token: token.token,
        ...(url ? { url } : {}),
        ...(token.ice_servers ? { iceServers: token.ice_servers } : {}),
        ...this.options,
        signal: making.signal,
      });
      this.#making = undefined;
      this.#follow(made);
      await view.devices.list();
    } catch (thrown) {
      if (this.#making === making) this.#making = undefined;
      const why = thrown instanceof Error ? thrown.message : "The call could not be made.";
      const error = asCallboxError(thrown, "refused", why);
      this.#state("ended");
      if (error.code !== "aborted") {
        view.notice(words(this.#texts, error));
        this.#dispatch("error", error);
      }
      const reason = error.code === "aborted" ? "caller_hangup" : "connect_failed";
      this.#over({ reason, by: error.code === "aborted" ? "caller" : "network", answered: false });
    }
  }

  /** Ends the call, or the making of one. */
  hangUp(): void {
    this.#making?.abort();
    this.#call?.hangUp();
  }

  get #running(): boolean {
    return this.#making !== undefined || (this.#call !== undefined && this.#call.ended === undefined);
  }

  async #token(): Promise<TokenAnswer> {
    if (this.tokenProvider) return this.tokenProvider();
    const url = this.getAttribute("token-url");
    if (url !== null) {
      let response: Response;
      try {
        response = await fetch(url, { method: "POST", headers: { accept: "application/json" } });
      } catch (thrown) {
        throw new CallboxError("network", "The page's server does not answer.", { cause: thrown });
      }
      if (!response.ok) throw await refused(response);
      return (await response.json()) as TokenAnswer;
    }
    const token = this.getAttribute("token");
    if (token) return token;
    throw new CallboxError("token_refused", "The element has neither `token` nor `token-url`.");
  }

  #follow(made: Call): void {
    this.#call = made;
    const view = this.#view;
    if (!view) return;
    this.#state(made.state);
    view.blocked(made.blocked);
    made.on("state", ({ state }) => this.#state(state));
    made.on("caption", (caption) => {
      view.captions.show(caption);
      this.#dispatch("caption", caption);
    });
    made.on("level", ({ input, output }) => view.level(input, output));
    made.on("blocked", (blocked) => view.blocked(blocked));
    made.on("event", (event) => this.#dispatch("event", event));
    made.on("error", (error) => {
      view.notice(words(this.#texts, error));
      this.#dispatch("error", error);
    });
    made.on("ended", (ended) => this.#over(ended));
    if (made.ended) this.#over(made.ended);
  }

  #state(state: CallState): void {
    const view = this.#view;
    if (!view) return;
    if (state === "answered" && this.#answeredAt === undefined) {
      this.#answeredAt = Date.now();
      const tick = () => view.time(Date.now() - (this.#answeredAt ?? Date.now()));
      tick();
      this.#clock = setInterval(tick, 1000);
    }
    view.state(state, this.#texts.states[state]);
    this.#dispatch("state", { state });
  }

  #over(ended: Ended): void {
    clearInterval(this.#clock);
    this.#answeredAt = undefined;
    const view = this.#view;
    view?.state("ended", this.#texts.reasons[ended.reason] ?? this.#texts.states.ended);
    view?.blocked(false);
    view?.level(0, 0);
    this.#dispatch("ended", ended);
  }

  #dispatch(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(`callbox-${name}`, { detail, bubbles: true, composed: true }));
  }

  #render(): void {
    const root = this.shadowRoot ?? this.attachShadow({ mode: "open" });
    this.#view = new View(root, this.#texts, {
      toggle: () => {
        if (this.#running) this.hangUp();
        else void this.start();
      },
      mute: (muted) => this.#call?.mute(muted),
      press: (key) => {
        if (this.#call && !this.#call.ended) this.#call.digits(key);
      },
      play: () => void this.#call?.play(),
      microphone: (id) => this.#switch((call) => call.useMicrophone(id)),
      speaker: (id) => this.#switch((call) => call.useSpeaker(id)),
    });
    this.attributeChangedCallback();
  }

  #switch(to: (call: Call) => Promise<void>): void {
    const view = this.#view;
    if (!this.#call || !view) return;
    to(this.#call).then(
      () => view.notice(""),
      (thrown: unknown) =>
        view.notice(words(this.#texts, asCallboxError(thrown, "no_microphone", "This device cannot be used."))),
    );
  }
}

/** Makes `<callbox-call>` known, once. @internal */
export function defineElement(): void {
  if (typeof customElements !== "undefined" && !customElements.get("callbox-call")) {
    customElements.define("callbox-call", CallboxCallElement);
  }
}

declare global {
  interface HTMLElementTagNameMap {
    "callbox-call": CallboxCallElement;
  }
}
