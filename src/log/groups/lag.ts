// How many events lie ahead of a group's cursor: counted once, and kept as both ends move. Only who
// asks pays for it.

import type { Group } from "../../domain/group/group.ts";
import { batchesOf, type Source } from "../read/cursor.ts";
import { readingBytes, selectionOf } from "./reading.ts";

export class LagCounter {
  private readonly core: Group;
  private epoch = -1;
  /** Matches after the core's `through`, up to `through`. */
  private ahead = 0;
  private through = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(core: Group) {
    this.core = core;
  }

  /** The core was offered this event. */
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
    const { core } = this;
    const head = source.storage.head().position;
    for (;;) {
      this.keepUp();
      const { epoch } = core;
      if (this.through >= head || this.lag >= max) break;
      const read = {
        selection: selectionOf(core.settings.query),
        direction: "forwards",
        positions: { first: this.through + 1, last: head },
        batchBytes: readingBytes,
      } as const;
      let reached = true;
      for await (const batch of batchesOf(source, read, signal)) {
        // The core has overtaken us, or begun anew: what this slab says is of no use.
        reached = core.epoch === epoch && core.through <= this.through;
        if (!reached) break;
        this.ahead += batch.count;
        this.through = batch.through;
        if (this.lag >= max) break;
      }
      if (signal?.aborted === true) break;
      if (reached && this.lag < max && core.through <= head) this.through = head;
    }
    return Math.min(this.lag, max);
  }

  private get lag(): number {
    return this.core.unsettledCount + Math.max(0, this.ahead);
  }

  private keepUp(): void {
    if (this.epoch === this.core.epoch && this.through >= this.core.through) return;
    this.epoch = this.core.epoch;
    this.through = this.core.through;
    this.ahead = 0;
  }
}
