// Time that a test turns by hand: what waits is called back when the test says so.

export interface HandTimers {
  /** As `Delay` of the engine. */
  readonly delay: (ms: number, callback: () => void) => () => void;
  /** Milliseconds so far. */
  nowMs(): number;
  /** How long each of those that wait asked to wait, soonest first. */
  waiting(): number[];
  /** Lets the time of the next callback come. False: nobody waits. */
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

/** Lets everything run that needs no time to pass. */
export async function settled(): Promise<void> {
  for (let i = 0; i < 50; i++) await new Promise((resolve) => setImmediate(resolve));
}
