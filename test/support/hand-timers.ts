// Timers that a test advances by hand.

export interface HandTimers {
  /** As the engine's `Delay`. */
  readonly delay: (ms: number, callback: () => void) => () => void;
  /** Milliseconds so far. */
  nowMs(): number;
  /** The delays of all waiting timers, soonest first. */
  waiting(): number[];
  /** Advances to the next timer. False: none is waiting. */
  next(): boolean;
}

export function handTimers(): HandTimers {
  let now = 0;
  let made = 0;
  const waiting = new Map<number, { at: number; ms: number; callback: () => void }>();
  const inOrder = () => [...waiting].toSorted(([a, x], [b, y]) => x.at - y.at || a - b);
  return {
    delay(ms, callback) {
      const number = made++;
      waiting.set(number, { at: now + ms, ms, callback });
      return () => void waiting.delete(number);
    },
    nowMs: () => now,
    waiting: () => inOrder().map(([, { ms }]) => ms),
    next() {
      const [first] = inOrder();
      if (first === undefined) return false;
      const [number, { at, callback }] = first;
      waiting.delete(number);
      now = Math.max(now, at);
      callback();
      return true;
    },
  };
}

/** Resolves when everything that needs no time has run. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}
