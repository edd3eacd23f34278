import { type CallState, listDevices } from "../call.js";
import { Captions } from "./captions.js";
import { Keypad } from "./keypad.js";
import { make } from "./make.js";
import { STYLES } from "./styles.js";
import type { CallboxCallTexts } from "./texts.js";

/** What the user can do. @internal */
export interface Deeds {
  toggle: () => void;
  mute: (muted: boolean) => void;
  press: (key: string) => void;
  play: () => void;
  microphone: (id: string) => void;
  speaker: (id: string) => void;
}

/** What the element looks like, and what its buttons do. It holds nothing of a call. @internal */
export class View {
  readonly captions: Captions;
  readonly devices: Devices;
  readonly #card: HTMLElement;
  readonly #status: HTMLElement;
  readonly #time: HTMLElement;
  readonly #notice: HTMLElement;
  readonly #main: HTMLButtonElement;
  readonly #mute: HTMLButtonElement;
  readonly #play: HTMLButtonElement;
  readonly #input = make("span");
  readonly #output = make("span");
  readonly #keypad: Keypad;
  readonly #toggles: { keypad: HTMLButtonElement; captions: HTMLButtonElement };
  readonly #texts: CallboxCallTexts;

  constructor(root: ShadowRoot, texts: CallboxCallTexts, deeds: Deeds) {
    this.#texts = texts;
    this.captions = new Captions(texts);
    this.devices = new Devices(texts, deeds);
    this.#keypad = new Keypad(texts, deeds.press);
    this.#status = make("p", { class: "status", part: "status", role: "status" }, texts.idle);
    this.#time = make("span", { class: "time", part: "time", role: "timer" });
    this.#notice = make("p", { class: "notice", part: "notice", role: "alert", hidden: "" });
    this.#main = make("button", { type: "button", class: "call", part: "call" }, texts.call);
    this.#play = make("button", { type: "button", part: "play", hidden: "" }, texts.play);
    this.#mute = make("button", { type: "button", part: "mute", "aria-pressed": "false", disabled: "" }, texts.mute);
    this.#toggles = { keypad: toggle("keypad", texts.keypad), captions: toggle("captions", texts.captions) };
    const levels = make("span", { class: "levels", part: "levels", "aria-hidden": "true" }, this.#output, this.#input);
    this.#card = make(
      "section",
      { class: "card", part: "card", "aria-label": texts.name, "data-state": "idle" },
      make("div", { class: "head" }, make("span", { class: "light", "aria-hidden": "true" }), this.#status, levels, this.#time),
      this.#notice,
      this.#play,
      this.#main,
      this.captions.element,
      this.#keypad.element,
      make("div", { class: "tools" }, this.#mute, this.#toggles.keypad, this.#toggles.captions),
      this.devices.element,
    );
    // The second click of a double click must not hang up what the first one began.
    this.#main.addEventListener("click", (event) => {
      if (event.detail < 2) deeds.toggle();
    });
    this.#play.addEventListener("click", deeds.play);
    this.#mute.addEventListener("click", () => {
      const muted = this.#mute.getAttribute("aria-pressed") !== "true";
      this.#mute.setAttribute("aria-pressed", String(muted));
      deeds.mute(muted);
    });
    this.#toggles.keypad.addEventListener("click", () => this.show(undefined, this.#keypad.element.hidden));
    this.#toggles.captions.addEventListener("click", () => this.show(this.captions.element.hidden, undefined));
    this.#card.addEventListener("keydown", (event) => {
      const choosing = (event.target as HTMLElement).localName === "select";
      if (event.ctrlKey || event.altKey || event.metaKey || event.repeat || choosing) return;
      if (this.#keypad.typed(event.key)) event.preventDefault();
    });
    root.adoptedStyleSheets = [sheet()];
    root.replaceChildren(this.#card);
  }

  /** Shows captions and keypad, or hides them. */
  show(captions?: boolean, keypad?: boolean): void {
    for (const [shown, element, button] of [
      [captions, this.captions.element, this.#toggles.captions],
      [keypad, this.#keypad.element, this.#toggles.keypad],
    ] as const) {
      if (shown === undefined) continue;
      element.hidden = !shown;
      button.setAttribute("aria-expanded", String(shown));
    }
  }

  state(state: CallState, text: string): void {
    const running = state !== "ended";
    this.#card.dataset["state"] = state;
    this.#card.classList.toggle("busy", running);
    if (this.#status.textContent !== text) this.#status.textContent = text;
    this.#main.textContent = running ? this.#texts.hangUp : this.#texts.call;
    this.#mute.disabled = !running || state === "microphone";
    if (!running || state === "microphone") this.#mute.setAttribute("aria-pressed", "false");
    if (state === "microphone") this.#time.textContent = "";
  }

  time(ms: number): void {
    const seconds = Math.floor(ms / 1000);
    this.#time.textContent = `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, "0")}`;
  }

  notice(text: string): void {
    this.#notice.hidden = text === "";
    this.#notice.textContent = text;
  }

  blocked(blocked: boolean): void {
    this.#play.hidden = !blocked;
  }

  level(input: number, output: number): void {
    // Voices are quiet figures: the root makes them visible.
    this.#input.style.setProperty("--level", Math.sqrt(input).toFixed(2));
    this.#output.style.setProperty("--level", Math.sqrt(output).toFixed(2));
  }
}

/** Which microphone and which loudspeaker. */
class Devices {
  readonly element: HTMLDetailsElement;
  readonly #microphones = make("select", { part: "microphone" });
  readonly #speakers = make("select", { part: "speaker" });
  readonly #speakerLabel: HTMLElement;

  constructor(texts: CallboxCallTexts, deeds: Deeds) {
    this.#speakerLabel = make("label", {}, texts.speaker, this.#speakers);
    this.element = make(
      "details",
      { part: "devices", hidden: "" },
      make("summary", {}, texts.devices),
      make("label", {}, texts.microphone, this.#microphones),
      this.#speakerLabel,
    );
    this.#microphones.addEventListener("change", () => deeds.microphone(this.#microphones.value));
    this.#speakers.addEventListener("change", () => deeds.speaker(this.#speakers.value));
  }

  async list(): Promise<void> {
    const { microphones, speakers } = await listDevices();
    const fill = (select: HTMLSelectElement, all: { id: string; label: string }[]) => {
      const chosen = select.value;
      select.replaceChildren(...all.map(({ id, label }) => make("option", { value: id }, label || id)));
      if (all.some(({ id }) => id === chosen)) select.value = chosen;
    };
    fill(this.#microphones, microphones);
    fill(this.#speakers, speakers);
    this.#speakerLabel.hidden = speakers.length === 0;
    this.element.hidden = microphones.length + speakers.length === 0;
  }
}

function toggle(of: string, text: string): HTMLButtonElement {
  return make("button", { type: "button", part: `${of}-toggle`, "aria-expanded": "true", "aria-controls": of }, text);
}

let made: CSSStyleSheet | undefined;
function sheet(): CSSStyleSheet {
  if (!made) {
    made = new CSSStyleSheet();
    made.replaceSync(STYLES);
  }
  return made;
}
