/**
 * A web page calls a Callbox script.
 *
 * ```ts
 * import { Callbox } from "@callbox/web";
 * const call = await Callbox.call({ token, url: "https://calls.example.com" });
 * call.on("caption", ({ role, text }) => console.log(role, text));
 * call.on("ended", ({ reason }) => console.log(reason));
 * ```
 *
 * The element `<callbox-call>` is there as soon as this is loaded.
 */
import { call, listDevices } from "./call.js";
export { Call, call, listDevices } from "./call.js";
export type { CallEvents, CallOptions, CallState, Ended, Level } from "./call.js";
export { CallboxCallElement } from "./element/element.js";
export type { CallboxCallTexts } from "./element/texts.js";
export { CallboxError } from "./errors.js";
export type { CallboxErrorCode, ErrorDetails } from "./errors.js";
export { KEYS } from "./messages.js";
export type { Caption, HostEvent } from "./messages.js";
export type { AudioDevice, AudioDevices } from "./microphone.js";
export type { Exchange } from "./signalling.js";
/** The library as one thing; in a page with the script tag it is the global `Callbox`. */
export declare const Callbox: {
    /** Calls the script that the token is for. */
    readonly call: typeof call;
    /** Microphones and loudspeakers. */
    readonly devices: typeof listDevices;
};
