import { CallboxError } from "./errors.js";
import type { Environment } from "./environment.js";

/** A microphone, a loudspeaker or a headset. */
export interface AudioDevice {
  /** For `useMicrophone` and `useSpeaker`. */
  id: string;
  /** Its name; empty before the user has allowed the microphone once. */
  label: string;
}

/** What there is to speak into and to hear with. */
export interface AudioDevices {
  /** Microphones. */
  microphones: AudioDevice[];
  /** Loudspeakers; empty where the browser does not let pages choose. */
  speakers: AudioDevice[];
}

/** What a robot on the telephone wants to hear: one voice, without the room and without itself. */
const VOICE: MediaTrackConstraints = {
  echoCancellation: true,
  noiseSuppression: true,
  autoGainControl: true,
  channelCount: 1,
};

/** Asks for the microphone; what goes wrong has a name. @internal */
export async function microphone(env: Environment, device?: string | MediaTrackConstraints): Promise<MediaStream> {
  if (!env.secure) {
    throw new CallboxError("insecure_context", "The microphone needs a page served over HTTPS, or from localhost.");
  }
  if (!env.mediaDevices?.getUserMedia) {
    throw new CallboxError("unsupported", "This browser gives pages no microphone.");
  }
  const asked = typeof device === "string" ? { deviceId: { exact: device } } : device;
  try {
    return await env.mediaDevices.getUserMedia({ audio: { ...VOICE, ...asked } });
  } catch (thrown) {
    throw refusal(thrown);
  }
}

function refusal(thrown: unknown): CallboxError {
  const cause = { cause: thrown };
  switch ((thrown as { name?: string } | null)?.name) {
    case "NotAllowedError":
    case "SecurityError":
      return new CallboxError("microphone_denied", "The microphone was not allowed.", cause);
    case "NotFoundError":
    case "OverconstrainedError":
      return new CallboxError("no_microphone", "There is no such microphone.", cause);
    case "NotReadableError":
    case "AbortError":
      return new CallboxError("microphone_busy", "The microphone cannot be used: another program may hold it.", cause);
    default:
      return new CallboxError("no_microphone", "The microphone could not be opened.", cause);
  }
}

/** Lists them. @internal */
export async function devices(env: Environment): Promise<AudioDevices> {
  const all = (await env.mediaDevices?.enumerateDevices()) ?? [];
  const of = (kind: MediaDeviceKind) =>
    all
      .filter((device) => device.kind === kind && device.deviceId !== "")
      .map((device) => ({ id: device.deviceId, label: device.label }));
  return { microphones: of("audioinput"), speakers: of("audiooutput") };
}
