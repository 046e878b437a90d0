// How many events lie ahead of a group's cursor: counted once, and kept as both ends move. Only who
// asks pays for it.

import type { GroupStateMachine } from "../../domain/group/state-machine.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import { readingBytes, selectionOf } from "./reading.ts";

export class LagCounter {
  private readonly machine: GroupStateMachine;
  private epoch = -1;
  /** Matches after the machine's `through`, up to `through`. */
  private ahead = 0;
  private through = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(machine: GroupStateMachine) {
    this.machine = machine;
  }

  /** The machine was offered this event. */
  offered(position: number): void {
    if (position <= this.through) this.ahead--;
  }

  /** Events that are not settled, at most so many. */
  count(source: Source, max: number, signal?: AbortSignal): Promise<number> {
    const counted = this.last.then(() => this.countOn(source, max, signal));
    this.last = counted.catch(() => {});
    return counted;
  }

  private async countOn(source: Source, max: number, signal?: AbortSignal): Promise<number> {
    const { machine } = this;
    const head = source.storage.head().position;
    for (;;) {
      this.keepUp();
      const { epoch } = machine;
      if (this.through >= head || this.lag >= max) break;
      const read = {
        selection: selectionOf(machine.settings.query),
        direction: "forwards",
        positions: { first: this.through + 1, last: head },
        batchBytes: readingBytes,
      } as const;
      let reached = true;
      for await (const batch of scheduledRead(source, read, signal)) {
        // The machine has overtaken us, or begun anew: what this batch says is of no use.
        reached = machine.epoch === epoch && machine.through <= this.through;
        if (!reached) break;
        this.ahead += batch.count;
        this.through = batch.through;
        if (this.lag >= max) break;
      }
      if (signal?.aborted === true) break;
      if (reached && this.lag < max && machine.through <= head) this.through = head;
    }
    return Math.min(this.lag, max);
  }

  private get lag(): number {
    return this.machine.unsettledCount + Math.max(0, this.ahead);
  }

  private keepUp(): void {
    if (this.epoch === this.machine.epoch && this.through >= this.machine.through) return;
    this.epoch = this.machine.epoch;
    this.through = this.machine.through;
    this.ahead = 0;
  }
}
