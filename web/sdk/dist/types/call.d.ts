import { Emitter } from "./emitter.js";
import { CallboxError } from "./errors.js";
import { type Caption, type HostEvent } from "./messages.js";
import { type AudioDevices } from "./microphone.js";
import { type Exchange } from "./signalling.js";
/** Where a call stands. */
export type CallState = 
/** The user is asked for the microphone. */
"microphone"
/** The host is asked, and a way for sound is looked for. */
 | "connecting"
/** The script runs and has not answered yet. */
 | "ringing"
/** It talks. */
 | "answered"
/** The network changed; another way is looked for. */
 | "reconnecting"
/** It is over. */
 | "ended";
/** How a call ended. */
export interface Ended {
    /**
     * Why: `caller_hangup`, `script_returned`, `script_hangup`, `max_duration` … as in the record of the call; and of this
     * side `connection_lost` (the network went and did not come back), `connect_failed` (no sound ever passed), and `ended`
     * where the host's reason did not arrive.
     */
    reason: string;
    /** Who: the `caller` (this page), the `script`, the `platform`; the `host` where it did not say; the `network`. */
    by: string;
    /** Whether it had been answered. */
    answered: boolean;
}
/** How loud it is, 0 to 1. */
export interface Level {
    /** The microphone; 0 while muted, and where the browser does not tell. */
    input: number;
    /** What is heard. */
    output: number;
}
/** What a call tells. */
export interface CallEvents {
    /** It stands elsewhere now. */
    state: {
        state: CallState;
        previous: CallState;
    };
    /** Something was said; the same `seq` again replaces what was said before. */
    caption: Caption;
    /** How loud it is, ten times a second, while somebody listens to this event. */
    level: Level;
    /** The script or the host tells something else. */
    event: HostEvent;
    /** The browser plays nothing before the user does something: call `play()` from a click. False when it plays. */
    blocked: boolean;
    /** Something went wrong; the call goes on unless `ended` follows. */
    error: CallboxError;
    /** It is over. Comes once. */
    ended: Ended;
    /** An exchange with the host, for those who want to see the signalling. */
    signalling: Exchange;
}
/** How to call. */
export interface CallOptions {
    /** From your server, which gets it with `POST /v1/webrtc/tokens`. */
    token: string;
    /** The host, for example `https://calls.example.com`; else where the script tag or the page is from. */
    url?: string;
    /** A microphone: its id, constraints, or sound of your own. */
    microphone?: string | MediaTrackConstraints | MediaStream;
    /** A loudspeaker, by its id. */
    speaker?: string;
    /** STUN and TURN servers: `ice_servers` of the token. */
    iceServers?: RTCIceServer[];
    /** Plays what is heard; one is made where none is given. */
    audio?: HTMLAudioElement;
    /** Gives the call up while it is being made. */
    signal?: AbortSignal;
}
/** A call that runs. Made by {@link call}. */
export declare class Call extends Emitter<CallEvents> {
    #private;
    /** Where it stands. */
    get state(): CallState;
    /** How it ended, once it has. */
    get ended(): Ended | undefined;
    /** Whether the host hears nothing of the microphone. */
    get muted(): boolean;
    /** Whether the browser waits for the user before it plays anything. */
    get blocked(): boolean;
    /** The last part of the call's URL at the host, `call_…`. */
    get id(): string | undefined;
    /** What was exchanged with the host so far, the last 20. */
    get exchanges(): readonly Exchange[];
    /** The connection below, for figures that are not here (`getStats`). */
    get connection(): RTCPeerConnection;
    /** What plays. */
    get audio(): HTMLAudioElement;
    /** Sends nothing of the microphone any more, or again. */
    mute(muted?: boolean): void;
    /** Presses keys: `0`–`9`, `*`, `#`. What is pressed before the connection stands is sent when it does. */
    digits(digits: string): void;
    /** Tells the script something; it gets it as an event. Anything that JSON can carry. */
    message(data: unknown): void;
    /** Ends the call. */
    hangUp(): void;
    /** Plays what is heard; from a click, where the browser asks for one. */
    play(): Promise<void>;
    /** Speaks into another microphone from now on. */
    useMicrophone(device: string | MediaTrackConstraints | MediaStream): Promise<void>;
    /** Is heard by another loudspeaker from now on. */
    useSpeaker(id: string): Promise<void>;
    /** Looks for another way through the network now; it also happens by itself when the network changes. */
    reconnect(): void;
}
/**
 * Calls the script that the token is for. Asks for the microphone first; returns when the host has taken the call.
 * Rejects with a {@link CallboxError}.
 */
export declare function call(options: CallOptions): Promise<Call>;
/** What there is to speak into and to hear with. */
export declare function listDevices(): Promise<AudioDevices>;
