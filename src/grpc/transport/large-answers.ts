// Answers whose size is known only once they are made, such as snapshots of up to 3 MiB: a few are
// made at a time, and those that wait hold nothing. Connections take turns, so that one with a
// thousand such calls delays another by one of them.

/** What is needed while so many are made is beside the budget. */
const atOnce = 4;

/** The call that is to be answered. */
interface Asker {
  /** Its connection's. */
  readonly gate: object;
  readonly aborted: boolean;
  readonly reason: Error | undefined;
  /** Until the client takes what it is sent. */
  room(): Promise<void> | undefined;
}

export class LargeAnswers {
  private readonly waiting = new Map<object, (() => void)[]>();
  private runningCount = 0;

  /** Makes an answer in its turn. Throws the call's reason where nobody wants it any more. */
  async make<T>(call: Asker, answer: () => Promise<T>): Promise<T> {
    const end = await this.turn(call);
    try {
      return await answer();
    } finally {
      end();
    }
  }

  /** Answers how to end the turn. */
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
    // Behind the other connections.
    this.waiting.delete(gate);
    if (line.length > 0) this.waiting.set(gate, line);
    resolve?.();
  }
}
