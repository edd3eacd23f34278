import type { Caption } from "../messages.js";
import { make } from "./make.js";
import type { CallboxCallTexts } from "./texts.js";

/** Captions that stay; what is older scrolls out for good. */
const KEPT = 200;

/**
 * What is said, as a log that screen readers follow. What a caller may or may not
 * have said is shown, and read out only once it is certain.
 * @internal
 */
export class Captions {
  readonly element: HTMLElement;
  readonly #texts: CallboxCallTexts;
  readonly #rows = new Map<number, HTMLElement>();

  constructor(texts: CallboxCallTexts) {
    this.#texts = texts;
    this.element = make("div", {
      class: "captions",
      part: "captions",
      id: "captions",
      role: "log",
      "aria-live": "polite",
      "aria-relevant": "additions",
      "aria-label": texts.captions,
      tabindex: "0",
      "data-empty": texts.silent,
    });
  }

  clear(): void {
    this.#rows.clear();
    this.element.replaceChildren();
  }

  show({ role, text, digits, final, seq }: Caption): void {
    const list = this.element;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const words = text || (digits ? this.#texts.pressed(digits) : "");
    const before = this.#rows.get(seq);
    if (before && (role === "robot" || !final)) {
      // Read out already, or not to be read yet: a prompt that was cut is not read twice.
      before.lastChild?.replaceWith(words);
      return;
    }
    const who = make("span", { class: "who" }, role === "robot" ? this.#texts.robot : this.#texts.caller);
    const guessed = role === "caller" && !final;
    const row = make(
      "p",
      { class: `${role}${guessed ? " guessed" : ""}`, part: `caption caption-${role}`, "aria-hidden": guessed ? "true" : undefined },
      who,
      words,
    );
    // A new row, so that it is read out now that it is certain.
    if (before) before.replaceWith(row);
    else list.append(row);
    this.#rows.set(seq, row);
    if (this.#rows.size > KEPT) {
      const [oldest] = this.#rows.keys();
      if (oldest !== undefined) {
        this.#rows.get(oldest)?.remove();
        this.#rows.delete(oldest);
      }
    }
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}
