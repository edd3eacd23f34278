import type { CallState } from "../call.js";
import type { CallboxError, CallboxErrorCode } from "../errors.js";

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
export const ENGLISH: CallboxCallTexts = {
  name: "Call",
  call: "Call",
  hangUp: "Hang up",
  mute: "Mute",
  keypad: "Keypad",
  captions: "Captions",
  devices: "Devices",
  microphone: "Microphone",
  speaker: "Loudspeaker",
  play: "Turn the sound on",
  robot: "Voice",
  caller: "You",
  silent: "What is said appears here.",
  pressed: (digits) => `[${digits}]`,
  star: "star",
  hash: "hash",
  idle: "Ready to call",
  states: {
    microphone: "Please allow the microphone",
    connecting: "Connecting …",
    ringing: "Ringing …",
    answered: "Connected",
    reconnecting: "The network changed. Reconnecting …",
    ended: "The call is over",
  },
  reasons: {
    caller_hangup: "You hung up",
    connection_lost: "The connection was lost",
    connect_failed: "The call could not be connected",
    transfer_completed: "You were put through",
  },
  errors: {
    insecure_context: "Calls need a secure page (HTTPS).",
    unsupported: "This browser cannot make calls.",
    microphone_denied: "Please allow the microphone in your browser, then call again.",
    no_microphone: "No microphone was found. Please connect one, then call again.",
    microphone_busy: "The microphone is in use by another program.",
    token_refused: "This call is not allowed.",
    busy: "All lines are busy.",
    network: "The service cannot be reached. Are you online?",
    timeout: "The service does not answer.",
    media: "No way for sound was found. A firewall may be in between.",
  },
  refusals: {
    token_expired: "The permission for this call has expired. Please reload the page.",
    token_spent: "The permission for this call was used already. Please reload the page.",
    origin_not_allowed: "This page is not allowed to make this call.",
  },
  retry: (seconds) => `Please try again in ${seconds} s.`,
};

/** An error in the user's words. @internal */
export function words(texts: CallboxCallTexts, error: CallboxError): string {
  const own = error.reason === undefined ? undefined : texts.refusals[error.reason];
  const text = own ?? texts.errors[error.code] ?? error.message;
  return error.retryAfter === undefined ? text : `${text} ${texts.retry(error.retryAfter)}`;
}
