import type { CallState } from "../call.js";
import type { CallboxErrorCode } from "../errors.js";
/** Everything the element says. Set `element.texts` to say it in another language. */
export interface CallboxCallTexts {
    /** What the element is, for those who do not see it. */
    name: string;
    call: string;
    hangUp: string;
    mute: string;
    keypad: string;
    captions: string;
    devices: string;
    microphone: string;
    speaker: string;
    /** Shown where the browser plays nothing before a click. */
    play: string;
    /** Who says what is in the captions. */
    robot: string;
    caller: string;
    /** Where nothing was said yet. */
    silent: string;
    /** Keys that were pressed, in the captions. */
    pressed: (digits: string) => string;
    star: string;
    hash: string;
    idle: string;
    states: Record<CallState, string>;
    /** For the reasons that are worth words; the rest is `states.ended`. */
    reasons: Record<string, string>;
    errors: Partial<Record<CallboxErrorCode, string>>;
    /** For a token that is refused, by the host's own code. */
    refusals: Record<string, string>;
    /** Where the host says when to try again. */
    retry: (seconds: number) => string;
}
/** English, the default. */
export declare const ENGLISH: CallboxCallTexts;
