import { type Call, type CallOptions } from "../call.js";
import { type CallboxCallTexts } from "./texts.js";
/** What a token comes as: the token, or the whole answer of `POST /v1/webrtc/tokens`. */
export type TokenAnswer = string | {
    token: string;
    url?: string;
    ice_servers?: RTCIceServer[];
};
/** Where there is no DOM (a page rendered on a server) the class can still be imported. */
declare const Base: {
    new (): HTMLElement;
    prototype: HTMLElement;
};
/**
 * `<callbox-call>`: a telephone in a page.
 *
 * Attributes: `token`, or `token-url` (asked by POST when the user calls; answers `{"token": …}`), `server` (the host),
 * `captions="off"`, `keypad="off"` (both can be opened by the user), `theme="light|dark"`.
 *
 * Events: `callbox-state`, `callbox-caption`, `callbox-event`, `callbox-ended`, `callbox-error`, with what the events of a
 * call carry in `detail`.
 */
export declare class CallboxCallElement extends Base {
    #private;
    static readonly observedAttributes: string[];
    /** Gives the token when the user calls; goes before the attributes. */
    tokenProvider: (() => TokenAnswer | Promise<TokenAnswer>) | undefined;
    /** More options for the call: a microphone, ICE servers … */
    options: Partial<CallOptions>;
    /** The call that runs, or the last one. */
    get call(): Call | undefined;
    /** What the element says; missing texts stay English. Set it before the element is shown. */
    get texts(): CallboxCallTexts;
    set texts(texts: Partial<CallboxCallTexts>);
    connectedCallback(): void;
    /** Taken out of the page: nobody could hang up any more. Moved within it, the call goes on. */
    disconnectedCallback(): void;
    attributeChangedCallback(): void;
    /** Calls, as a click on the button does. */
    start(): Promise<void>;
    /** Ends the call, or the making of one. */
    hangUp(): void;
}
declare global {
    interface HTMLElementTagNameMap {
        "callbox-call": CallboxCallElement;
    }
}
export {};
