import { KEYS } from "../messages.js";
import { make } from "./make.js";
import type { CallboxCallTexts } from "./texts.js";

const COLUMNS = 3;
/** A key that was pressed by typing shows it for so long. */
const SHOWN_MS = 150;

/**
 * The keys of a telephone: one stop of the tab key, arrows between the keys, and typing a key presses it.
 * @internal
 */
export class Keypad {
  readonly element: HTMLElement;
  readonly #keys: HTMLButtonElement[];
  readonly #press: (key: string) => void;

  constructor(texts: CallboxCallTexts, press: (key: string) => void) {
    this.#press = press;
    const names: Record<string, string> = { "*": texts.star, "#": texts.hash };
    this.#keys = [...KEYS].map((key, index) => {
      const tabindex = index === 0 ? "0" : "-1";
      const label = names[key];
      const button = make("button", { type: "button", class: "key", part: "key", tabindex, "aria-label": label, "data-key": key }, key);
      button.addEventListener("click", () => this.#press(key));
      button.addEventListener("focus", () => this.#stop(index));
      return button;
    });
    this.element = make("div", { class: "keypad", part: "keypad", role: "group", id: "keypad", "aria-label": texts.keypad }, ...this.#keys);
    this.element.addEventListener("keydown", (event) => this.#move(event));
  }

  /** A key that was typed somewhere in the element: whether it was one of ours. */
  typed(key: string): boolean {
    const button = this.#keys[KEYS.indexOf(key)];
    if (key.length !== 1 || !button) return false;
    button.classList.add("down");
    setTimeout(() => button.classList.remove("down"), SHOWN_MS);
    this.#press(key);
    return true;
  }

  /** The one key that the tab key stops at. */
  #stop(index: number): void {
    this.#keys.forEach((key, at) => (key.tabIndex = at === index ? 0 : -1));
  }

  #move(event: KeyboardEvent): void {
    const from = this.#keys.indexOf(event.target as HTMLButtonElement);
    const steps: Record<string, number> = {
      ArrowLeft: -1,
      ArrowRight: 1,
      ArrowUp: -COLUMNS,
      ArrowDown: COLUMNS,
      Home: -from,
      End: this.#keys.length - 1 - from,
    };
    const step = steps[event.key];
    if (from < 0 || step === undefined) return;
    this.#keys[from + step]?.focus();
    event.preventDefault();
  }
}
