/** Tells listeners what happens; one that throws disturbs no other. */
export class Emitter<Events extends object> {
  readonly #listeners = new Map<keyof Events, Set<(event: never) => void>>();

  /** Calls `listener` at every such event, until the returned function is called. */
  on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
    const all = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, all.add(listener));
    this.listened(name, true);
    return () => this.off(name, listener);
  }

  /** Calls `listener` at the next such event only. */
  once<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void {
    const off = this.on(name, (event) => {
      off();
      listener(event);
    });
    return off;
  }

  /** Does not call `listener` any more. */
  off<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): void {
    const all = this.#listeners.get(name);
    all?.delete(listener);
    if (all?.size === 0) this.listened(name, false);
  }

  /** Somebody listens to this, or nobody any more. @internal */
  protected listened(_name: keyof Events, _somebody: boolean): void {}

  /** @internal */
  protected emit<K extends keyof Events>(name: K, event: Events[K]): void {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        (listener as (event: Events[K]) => void)(event);
      } catch (thrown) {
        // The page's mistake: shown as every uncaught error is, and the call goes on.
        reportError(thrown);
      }
    }
  }
}
