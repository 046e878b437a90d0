// Limits how many answers are made at a time whose size is known only once they are made, such as
// snapshots of up to 3 MiB. Calls that wait hold nothing. Connections take turns, so that one with
// a thousand such calls delays another by one of them.

/** The memory that these few answers need is not drawn from the budget. */
const atOnce = 4;

/** The call to answer. */
interface Asker {
  /** The gate of its connection. */
  readonly gate: object;
  readonly aborted: boolean;
  readonly reason: Error | undefined;
  /** Resolves when the client takes more of the answer. */
  room(): Promise<void> | undefined;
}

export class LargeAnswers {
  private readonly waiting = new Map<object, (() => void)[]>();
  private runningCount = 0;

  /** Makes an answer in its turn. Throws the call's reason if the call has ended meanwhile. */
  async make<T>(call: Asker, answer: () => Promise<T>): Promise<T> {
    const end = await this.turn(call);
    try {
      return await answer();
    } finally {
      end();
    }
  }

  /** Returns a function that ends the turn. */
  async turn(call: Asker): Promise<() => void> {
    await call.room();
    if (this.runningCount < atOnce) this.runningCount++;
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
