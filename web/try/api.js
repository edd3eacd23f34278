// @ts-check
const STORED = "callbox.key";

/** What the host said when it did not do what was asked. */
export class Problem extends Error {
  /** @param {number} status @param {string} code @param {string} detail */
  constructor(status, code, detail) {
    super(detail);
    this.status = status;
    this.code = code;
  }
}

/** The REST API with the user's key. The key lives in this tab, and is sent as a header: never in a URL. */
export const api = {
  get key() {
    return sessionStorage.getItem(STORED);
  },
  /** @param {string | null} key */
  set key(key) {
    if (key === null) sessionStorage.removeItem(STORED);
    else sessionStorage.setItem(STORED, key);
  },

  /** Asks; the answer's text.
   * @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<string>} */
  async text(method, path, body) {
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${this.key ?? ""}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    /** @type {RequestInit} */
    const request = { method, headers, cache: "no-store", credentials: "omit" };
    if (body !== undefined) request.body = JSON.stringify(body);
    let response;
    try {
      response = await fetch(path, request);
    } catch {
      throw new Problem(0, "network", "The host does not answer. Does it run?");
    }
    const text = await response.text();
    if (response.ok) return text;
    let problem = /** @type {{ code?: string, detail?: string }} */ ({});
    try {
      problem = JSON.parse(text);
    } catch {
      // Not from the host: the status has to do.
    }
    throw new Problem(response.status, problem.code ?? "http", problem.detail ?? `The host answered ${response.status}.`);
  },

  /** @param {string} method @param {string} path @param {unknown} [body] @returns {Promise<any>} */
  async json(method, path, body) {
    return JSON.parse(await this.text(method, path, body));
  },

  /** @param {string} path @returns {Promise<any>} */
  get(path) {
    return this.json("GET", path);
  },

  /** What may not be there (yet): nothing then.
   * @template T @param {Promise<T>} asked @returns {Promise<T | undefined>} */
  async maybe(asked) {
    try {
      return await asked;
    } catch (thrown) {
      if (thrown instanceof Problem && [403, 404, 409, 503].includes(thrown.status)) return undefined;
      throw thrown;
    }
  },
};
