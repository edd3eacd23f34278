/** What a call needs of the browser. Tests bring their own. @internal */
export interface Environment {
  fetch: typeof fetch;
  /** Not there in an insecure context. */
  mediaDevices: MediaDevices | undefined;
  secure: boolean;
  RTCPeerConnection: (new (configuration?: RTCConfiguration) => RTCPeerConnection) | undefined;
  /** Plays what is heard. */
  audio: () => HTMLAudioElement;
  setTimeout: (run: () => void, ms: number) => number;
  clearTimeout: (timer: number | undefined) => void;
  /** The page is about to go. Returns how to stop listening. */
  onPageHide: (run: () => void) => () => void;
  /** Another network may carry the call now. Returns how to stop listening. */
  onNetworkChange: (run: () => void) => () => void;
  /** Where the page, or the script of the library, is from. */
  home: string;
}

/** The script tag that loaded us tells where the host is; a module has none. */
const loadedFrom = typeof document === "undefined" ? null : (document.currentScript as HTMLScriptElement | null);

/** The browser that runs this. @internal */
export function browser(): Environment {
  return {
    fetch: (input, init) => fetch(input, init),
    mediaDevices: navigator.mediaDevices as MediaDevices | undefined,
    secure: isSecureContext,
    RTCPeerConnection: globalThis.RTCPeerConnection as typeof RTCPeerConnection | undefined,
    audio: () => new Audio(),
    setTimeout: (run, ms) => window.setTimeout(run, ms),
    clearTimeout: (timer) => window.clearTimeout(timer),
    onPageHide: (run) => listen(window, "pagehide", run),
    onNetworkChange,
    home: loadedFrom?.src ? new URL(loadedFrom.src).origin : location.origin,
  };
}

function listen(target: EventTarget, name: string, run: () => void): () => void {
  target.addEventListener(name, run);
  return () => target.removeEventListener(name, run);
}

/** Back on line, or on another kind of network (its speed changes too, and does not matter). */
function onNetworkChange(run: () => void): () => void {
  const connection = (navigator as Navigator & { connection?: EventTarget & { type?: string } }).connection;
  let kind = connection?.type;
  const offs = [listen(window, "online", run)];
  if (connection) {
    const changed = () => {
      const before = kind;
      kind = connection.type;
      if (kind !== before && kind !== "none") run();
    };
    offs.push(listen(connection, "change", changed));
  }
  return () => {
    for (const off of offs) off();
  };
}
