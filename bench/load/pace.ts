// Open loop: provides the moments at which calls are due, whether or not the server keeps up.

const tickMs = 1;
/** Calls that are due and not yet made. Beyond this number they are dropped and counted as late. */
const backlogMax = 100_000;

export interface Pace {
  /** The moment at which the next call was due. Undefined: none is due. */
  take(now: number): number | undefined;
  /** The number of dropped calls. */
  readonly late: number;
}

/** Calls `due` in every tick in which a call is due. The result can also stop it. */
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
