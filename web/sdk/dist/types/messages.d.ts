/** Something said, as text. */
export interface Caption {
    /** Who says it. */
    role: "robot" | "caller";
    /** What. While it is not final it may still change: speech is still being understood, a prompt may still be cut. */
    text: string;
    /** Keys that the caller pressed; masked where they are secret. */
    digits?: string;
    /** Whether it stays as it is. */
    final: boolean;
    /** Captions with the same number are the same one: the later replaces the earlier. */
    seq: number;
}
/** What a script or the host tells the page. */
export interface HostEvent {
    /** Its name, where it has one. */
    name: string | undefined;
    /** The message as it came. */
    data: Record<string, unknown>;
}
/** Keys of a telephone. */
export declare const KEYS = "123456789*0#";
