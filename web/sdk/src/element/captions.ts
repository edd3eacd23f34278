import type { Caption } from "../messages.js";
import { make } from "./make.js";
import type { CallboxCallTexts } from "./texts.js";

/** Captions that stay; what is older scrolls out for good. */
const KEPT = 200;

/**
 * What is said, as a log that screen readers follow. What may still change is shown, and told only once it stays.
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

  show({ role, text, final, seq }: Caption): void {
    const list = this.element;
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    const who = make("span", { class: "who" }, role === "robot" ? this.#texts.robot : this.#texts.caller);
    const row = make(
      "p",
      {
        class: `${role}${final ? "" : " partial"}`,
        part: `caption caption-${role}`,
        "aria-hidden": final ? undefined : "true",
      },
      who,
      text,
    );
    const before = this.#rows.get(seq);
    // A new row, so that it is told when it became final.
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
