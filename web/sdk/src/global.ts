/** For pages with a script tag: the global `Callbox`. */
import { Callbox, CallboxError } from "./index.js";

(globalThis as { Callbox?: unknown }).Callbox = { ...Callbox, Error: CallboxError };
