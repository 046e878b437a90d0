// Limits how much work of a kind is under way at a time. What waits holds nothing for it.
// Connections take turns, so that one with a thousand calls delays another by one of them.

/** On whose behalf work is done. */
interface Worker {
  /** The gate of its connection. */
  readonly gate: object;
  readonly aborted: boolean;
  readonly reason: Error | undefined;
}

export class Turns {
  private readonly atOnce: number;
  private readonly waiting = new Map<object, (() => void)[]>();
  private runningCount = 0;

  constructor(atOnce: number) {
    this.atOnce = atOnce;
  }

  /** Does work in its turn. Throws the call's reason if the call has ended meanwhile. */
  async make<T>(call: Worker, work: () => T | Promise<T>): Promise<T> {
    const end = await this.turn(call);
    try {
      return await work();
    } finally {
      end();
    }
  }

  /** Returns a function that ends the turn. */
  async turn(call: Worker): Promise<() => void> {
    if (this.runningCount < this.atOnce) this.runningCount++;
    else await this.wait(call.gate);
    let isOver = false;
    const end = (): void => {
      if (!isOver) this.next();
      isOver = true;
    };
    if (!call.aborted) return end;
    end();
    throw call.reason ?? new Error("the call is over");
  }

  private wait(gate: object): Promise<void> {
    const line = this.waiting.get(gate) ?? [];
    this.waiting.set(gate, line);
    return new Promise((resolve) => line.push(resolve));
  }

  private next(): void {
    const [first] = this.waiting;
    if (first === undefined) {
      this.runningCount--;
      return;
    }
    const [gate, line] = first;
    const resolve = line.shift();
    // The next call of this connection waits behind the other connections.
    this.waiting.delete(gate);
    if (line.length > 0) this.waiting.set(gate, line);
    resolve?.();
  }
}
