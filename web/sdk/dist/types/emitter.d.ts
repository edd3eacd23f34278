/** Tells listeners what happens; one that throws disturbs no other. */
export declare class Emitter<Events extends object> {
    #private;
    /** Calls `listener` at every such event, until the returned function is called. */
    on<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void;
    /** Calls `listener` at the next such event only. */
    once<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): () => void;
    /** Does not call `listener` any more. */
    off<K extends keyof Events>(name: K, listener: (event: Events[K]) => void): void;
}
