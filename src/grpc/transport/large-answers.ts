// Limits how many answers are made at a time whose size is known only once they are made, such as
// snapshots of up to 3 MiB. Calls that wait hold nothing.

import { Turns } from "./turns.ts";

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
  private readonly turns = new Turns(atOnce);

  /** Makes an answer in its turn. Throws the call's reason if the call has ended meanwhile. */
  async make<T>(call: Asker, answer: () => Promise<T>): Promise<T> {
    await call.room();
    return this.turns.make(call, answer);
  }

  /** Returns a function that ends the turn. */
  async turn(call: Asker): Promise<() => void> {
    await call.room();
    return this.turns.turn(call);
  }
}
