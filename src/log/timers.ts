// Time as this layer waits for it: monotonic, and passed in, so that tests move it themselves.

export interface Timers {
  /** Milliseconds from any beginning; never goes back. */
  nowMs(): number;
  /** Calls back once, after at least `ms`. Answers a function that prevents it. */
  delay(ms: number, callback: () => void): () => void;
}

/** Node's own. Nothing here keeps a process alive. */
export const nodeTimers: Timers = Object.freeze({
  nowMs: () => performance.now(),
  delay: (ms: number, callback: () => void) => {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
});
