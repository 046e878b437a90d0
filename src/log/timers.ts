// Time for this layer: monotonic, and passed in, so that tests can control it.

export interface Timers {
  /** Milliseconds since an arbitrary moment. Never decreases. */
  nowMs(): number;
  /** Calls back once, after at least `ms`. Returns a function that prevents it. */
  delay(ms: number, callback: () => void): () => void;
}

/** Node's timers. They do not keep the process alive. */
export const nodeTimers: Timers = Object.freeze({
  nowMs: () => performance.now(),
  delay: (ms: number, callback: () => void) => {
    const timer = setTimeout(callback, ms).unref();
    return () => clearTimeout(timer);
  },
});
