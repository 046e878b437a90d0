// Runs commands of this process on one aggregate one after another, because they would only
// conflict with each other. Other processes are handled by optimistic concurrency.

export class KeyedMutex {
  /** The last work in progress for each key. */
  private readonly last = new Map<string, Promise<void>>();

  /** Runs the work when all earlier work under the key has ended, successfully or not. */
  async take<T>(key: string, signal: AbortSignal | undefined, work: () => Promise<T>): Promise<T> {
    const before = this.last.get(key);
    let over = () => {};
    const turn = new Promise<void>((resolve) => {
      over = resolve;
    });
    const own = before === undefined ? turn : before.then(() => turn);
    this.last.set(key, own);
    try {
      if (before !== undefined) await unlessAborted(before, signal);
      return await work();
    } finally {
      over();
      if (this.last.get(key) === own) this.last.delete(key);
    }
  }
}

async function unlessAborted(before: Promise<void>, signal: AbortSignal | undefined) {
  if (signal === undefined) return before;
  signal.throwIfAborted();
  let abort = () => {};
  const aborted = new Promise<void>((resolve) => {
    abort = resolve;
  });
  signal.addEventListener("abort", abort, { once: true });
  await Promise.race([before, aborted]);
  signal.removeEventListener("abort", abort);
  signal.throwIfAborted();
}
