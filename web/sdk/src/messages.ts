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

/** What the host writes on the data channel. @internal */
export type FromHost =
  | { type: "caption"; caption: Caption }
  | { type: "state"; state: string; reason: string | undefined; by: string | undefined }
  | { type: "event"; event: HostEvent };

/** What the page writes on it. @internal */
export type ToHost =
  | { type: "digits"; digits: string }
  | { type: "message"; data: unknown }
  | { type: "hangup" };

/** Keys of a telephone. */
export const KEYS = "123456789*0#";

const text = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);

/** Reads a message of the host; nothing where it is none that this version knows. @internal */
export function read(message: unknown): FromHost | undefined {
  if (typeof message !== "string") return undefined;
  let value: unknown;
  try {
    value = JSON.parse(message);
  } catch {
    return undefined;
  }
  if (typeof value !== "object" || value === null) return undefined;
  const fields = value as Record<string, unknown>;
  switch (fields["type"]) {
    case "caption": {
      const { role, text: said, final, seq } = fields;
      if ((role !== "robot" && role !== "caller") || typeof said !== "string" || typeof seq !== "number") return undefined;
      const digits = text(fields["digits"]);
      const caption = { role, text: said, final: final !== false, seq, ...(digits === undefined ? {} : { digits }) } as const;
      return { type: "caption", caption };
    }
    case "state": {
      const state = text(fields["state"]);
      if (state === undefined) return undefined;
      return { type: "state", state, reason: text(fields["reason"]), by: text(fields["by"]) };
    }
    case "event":
      return { type: "event", event: { name: text(fields["name"] ?? fields["event"]), data: fields } };
    default:
      return undefined;
  }
}
