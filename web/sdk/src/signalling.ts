import { CallboxError } from "./errors.js";
import type { Environment } from "./environment.js";

/** One exchange over HTTP, for whoever wants to see the signalling. */
export interface Exchange {
  /** `POST`, `PATCH` or `DELETE`. */
  method: string;
  /** Where. */
  url: string;
  /** The SDP that was sent. */
  offer?: string;
  /** The HTTP status of the answer. */
  status: number;
  /** The SDP that came back. */
  answer?: string;
}

/** What the host answers to an offer. @internal */
export interface Accepted {
  answer: string;
  iceServers: RTCIceServer[];
}

/** A host that says nothing for so long is not there. */
const PATIENCE_MS = 15_000;
const SDP = "application/sdp";

/**
 * The HTTP side of a call, in the manner of WHIP (RFC 9725): an offer is posted, the resource that comes of it is
 * patched to restart ICE, and deleted to hang up.
 * @internal
 */
export class Signalling {
  readonly #env: Environment;
  readonly #endpoint: string;
  readonly #token: string;
  readonly #seen: (exchange: Exchange) => void;
  #resource: string | undefined;

  constructor(env: Environment, url: string | undefined, token: string, seen: (exchange: Exchange) => void) {
    this.#env = env;
    this.#endpoint = new URL("/v1/webrtc/calls", url ?? env.home).href;
    this.#token = token;
    this.#seen = seen;
  }

  /** The URL of the call, once it is taken. */
  get resource(): string | undefined {
    return this.#resource;
  }

  /** Posts the first offer. */
  async call(offer: string, signal?: AbortSignal): Promise<Accepted> {
    const response = await this.#send("POST", this.#endpoint, offer, signal);
    const location = response.headers.get("location");
    const answer = await response.text();
    this.#seen({ method: "POST", url: this.#endpoint, offer, status: response.status, answer });
    if (!location || response.status !== 201) {
      throw new CallboxError("refused", `${this.#endpoint} does not answer as a Callbox host does.`, {
        status: response.status,
      });
    }
    this.#resource = new URL(location, this.#endpoint).href;
    return { answer, iceServers: iceServers(response.headers.get("link")) };
  }

  /** Posts an offer that restarts ICE; returns the answer. */
  async restart(offer: string, signal?: AbortSignal): Promise<string> {
    const url = this.#resource ?? this.#endpoint;
    const response = await this.#send("PATCH", url, offer, signal);
    const answer = await response.text();
    this.#seen({ method: "PATCH", url, offer, status: response.status, answer });
    return answer;
  }

  /**
   * Hangs up; also while the page goes away. What does not arrive is noticed by the host all the same. Returns whether the
   * call was there; nothing where the host cannot be reached.
   */
  async hangUp(): Promise<boolean | undefined> {
    const url = this.#resource;
    if (url === undefined) return false;
    this.#resource = undefined;
    try {
      const response = await this.#send("DELETE", url, undefined, undefined);
      this.#seen({ method: "DELETE", url, status: response.status });
      return true;
    } catch (thrown) {
      return thrown instanceof CallboxError && thrown.status !== undefined ? false : undefined;
    }
  }

  async #send(method: string, url: string, body: string | undefined, signal: AbortSignal | undefined): Promise<Response> {
    const patience = new AbortController();
    const timer = this.#env.setTimeout(() => patience.abort(), PATIENCE_MS);
    const given = () => patience.abort();
    signal?.addEventListener("abort", given);
    const headers: Record<string, string> = { authorization: `Bearer ${this.#token}` };
    if (body !== undefined) headers["content-type"] = SDP;
    if (method === "PATCH") headers["if-match"] = "*";
    try {
      if (signal?.aborted) patience.abort();
      const request: RequestInit = { method, headers, signal: patience.signal, credentials: "omit", cache: "no-store" };
      if (body !== undefined) request.body = body;
      if (method === "DELETE") request.keepalive = true;
      const response = await this.#env.fetch(url, request);
      if (!response.ok) {
        this.#seen({ method, url, status: response.status, ...(body === undefined ? {} : { offer: body }) });
        throw await refused(response);
      }
      return response;
    } catch (thrown) {
      if (thrown instanceof CallboxError) throw thrown;
      if (signal?.aborted) throw new CallboxError("aborted", "The call was given up.", { cause: thrown });
      if (patience.signal.aborted) {
        throw new CallboxError("timeout", `${url} does not answer.`, { cause: thrown });
      }
      const why = "It may be down, or not allow this page's origin.";
      throw new CallboxError("network", `${url} cannot be reached. ${why}`, { cause: thrown });
    } finally {
      this.#env.clearTimeout(timer);
      signal?.removeEventListener("abort", given);
    }
  }
}

/** The host's no, with its reason. @internal */
export async function refused(response: Response): Promise<CallboxError> {
  const status = response.status;
  const problem: { code?: unknown; detail?: unknown; title?: unknown } = await response
    .json()
    .then((body: unknown) => (typeof body === "object" && body !== null ? body : {}))
    .catch(() => ({}));
  const text = (value: unknown) => (typeof value === "string" && value !== "" ? value : undefined);
  const reason = text(problem.code);
  const message = text(problem.detail) ?? text(problem.title) ?? `The host answered ${status}.`;
  const retryAfter = seconds(response.headers.get("retry-after"));
  const details = { status, ...(reason ? { reason } : {}), ...(retryAfter === undefined ? {} : { retryAfter }) };
  const busy = status === 429 || status === 503 || status === 486;
  const code = status === 401 || status === 403 ? "token_refused" : busy ? "busy" : "refused";
  return new CallboxError(code, message, details);
}

/** `Retry-After` is a number of seconds, or a date (RFC 9110, section 10.2.3). @internal */
export function seconds(header: string | null, now: number = Date.now()): number | undefined {
  if (header === null || header.trim() === "") return undefined;
  if (/^\s*\d+\s*$/.test(header)) return Number(header);
  const date = Date.parse(header);
  return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - now) / 1000));
}

/** STUN and TURN servers of `Link` headers (RFC 9725, section 4.6). @internal */
export function iceServers(header: string | null): RTCIceServer[] {
  const servers: RTCIceServer[] = [];
  for (const [, url, rest] of (header ?? "").matchAll(/<\s*((?:stun|turn)s?:[^>]*)>((?:[^",]|"(?:[^"\\]|\\.)*")*)/gi)) {
    const parameter = (name: string): string | undefined => {
      const found = new RegExp(`;\\s*${name}\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^;,\\s]*))`, "i").exec(rest ?? "");
      return found?.[1]?.replace(/\\(.)/g, "$1") ?? found?.[2];
    };
    if (!url || parameter("rel")?.toLowerCase() !== "ice-server") continue;
    const [username, credential] = [parameter("username"), parameter("credential")];
    servers.push({ urls: url.trim(), ...(username ? { username } : {}), ...(credential ? { credential } : {}) });
  }
  return servers;
}
