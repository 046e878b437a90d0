// Open loop: hands out the moments at which calls are due, whether or not the server keeps up.

const tickMs = 1;
/** Calls that are due and not yet made; beyond it they are given up and counted as late. */
const backlogMax = 100_000;

export interface Pace {
  /** The moment the next call was due, if one is. */
  take(now: number): number | undefined;
  /** How many were given up. */
  readonly late: number;
}

/** Calls `due` every tick at which something is; answers how to stop as well. */
export function pace(perSecond: number, due: () => void): Pace & { stop(): void } {
  const since = performance.now();
  let taken = 0;
  let late = 0;
  const timer = setInterval(due, tickMs);
  return {
    take(now) {
      const sofar = Math.floor(((now - since) / 1_000) * perSecond);
      if (sofar - taken > backlogMax) {
        late += sofar - taken - backlogMax;
        taken = sofar - backlogMax;
      }
      return taken < sofar ? since + (++taken / perSecond) * 1_000 : undefined;
    },
    get late() {
      return late;
    },
    stop: () => clearInterval(timer),
  };
}
