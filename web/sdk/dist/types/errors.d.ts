/** What can go wrong, in words for programs. */
export type CallboxErrorCode = 
/** The page is not served over HTTPS (or from localhost): browsers give it no microphone. */
"insecure_context"
/** The browser has no WebRTC. */
 | "unsupported"
/** The user, or a policy of the page, refused the microphone. */
 | "microphone_denied"
/** There is no microphone, or not the one that was asked for. */
 | "no_microphone"
/** Another program holds the microphone. */
 | "microphone_busy"
/** The host does not take this token; `reason` tells why: expired, spent, another origin … */
 | "token_refused"
/** The host, or the number, takes no more calls now; `retryAfter` tells when to try again. */
 | "busy"
/** The host refuses the call for another reason; `reason` is its code. */
 | "refused"
/** The host cannot be reached. */
 | "network"
/** The host did not answer in time. */
 | "timeout"
/** No way for sound was found between the browser and the host. */
 | "media"
/** `options.signal` was aborted. */
 | "aborted";
/** More about an error. */
export interface ErrorDetails {
    /** The stable code of the host's problem document (RFC 9457), for example `token_expired`. */
    reason?: string;
    /** The HTTP status. */
    status?: number;
    /** Seconds to wait before another try. */
    retryAfter?: number;
    /** What was thrown below. */
    cause?: unknown;
}
/** Why a call did not come about, or what hurts one that runs. */
export declare class CallboxError extends Error {
    readonly name = "CallboxError";
    /** What went wrong; see the message for people. */
    readonly code: CallboxErrorCode;
    /** The host's own code, where the host said no. */
    readonly reason: string | undefined;
    /** The HTTP status, where the host said no. */
    readonly status: number | undefined;
    /** Seconds to wait before another try. */
    readonly retryAfter: number | undefined;
    constructor(code: CallboxErrorCode, message: string, details?: ErrorDetails);
}
/** Whatever was thrown, as one of ours. */
export declare function asCallboxError(thrown: unknown, code: CallboxErrorCode, message: string): CallboxError;
