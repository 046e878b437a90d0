// How many events a group has not settled: those its state machine knows of, and those ahead of it,
// which are counted once and kept count of as both ends move. Only a caller that asks pays for it.
//
// Events that a lifecycle removes are counted no more. Where they were passed over, or counted
// ahead, nothing says that they are gone: so what was counted is counted anew once a lifecycle has
// changed, and now and then besides, as events also age. Where that would be much work it is done
// rarely.

import type { GroupStateMachine } from "../../domain/group/state-machine.ts";
import { recordsOf } from "../read/records.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import { groupEvent, selectionOf } from "./reading.ts";

/** What was counted is believed for so long. */
const believedMs = 60_000;
/** How many events are counted again in one step if the count is in doubt. */
const fewEvents = 10_000;

export interface LagSource extends Source {
  /** Milliseconds since 1970 on a clock that never jumps. */
  readonly nowMs: () => number;
}

export class LagCounter {
  private readonly machine: GroupStateMachine;
  private epoch = -1;
  /** Matches after the machine's `through`, up to this counter's `through`. */
  private ahead = 0;
  private through = 0;
  private countedAtMs = Number.NEGATIVE_INFINITY;
  private isDoubtful = false;
  private last: Promise<unknown> = Promise.resolve();

  constructor(machine: GroupStateMachine) {
    this.machine = machine;
  }

  /** The machine was offered this event. */
  offered(position: number): void {
    if (position <= this.through) this.ahead--;
  }

  /** Events that were counted may be removed. */
  doubt(): void {
    this.isDoubtful = true;
  }

  /** Events that are not settled, at most so many. */
  count(source: LagSource, max: number, signal?: AbortSignal): Promise<number> {
    const counted = this.last.then(() => this.countOn(source, max, signal));
    this.last = counted.catch(() => {});
    return counted;
  }

  private async countOn(source: LagSource, max: number, signal?: AbortSignal): Promise<number> {
    await this.countAnew(source, max, signal);
    const head = source.storage.head().position;
    for (;;) {
      this.keepUp();
      if (this.through >= head || this.lag >= max) break;
      const { epoch } = this.machine;
      let reached = true;
      for await (const batch of this.read(source, this.through + 1, head, signal)) {
        // The machine has overtaken us, or begun anew: what this batch says is of no use.
        reached = this.machine.epoch === epoch && this.machine.through <= this.through;
        if (!reached) break;
        this.ahead += batch.count;
        this.through = batch.through;
        if (this.lag >= max) break;
      }
      if (signal?.aborted === true) break;
      if (reached && this.lag < max && this.machine.through <= head) this.through = head;
    }
    return Math.min(this.lag, max);
  }

  private async countAnew(source: LagSource, max: number, signal?: AbortSignal): Promise<void> {
    const now = source.nowMs();
    const isOld = now - this.countedAtMs > believedMs;
    if (!isOld && !(this.isDoubtful && this.lag < fewEvents)) return;
    this.isDoubtful = false;
    this.countedAtMs = now;
    this.epoch = -1;
    const { machine } = this;
    // Further than that it is believed: it is right unless much was removed that was passed over.
    if (machine.through - machine.position > max) return;
    const { epoch } = machine;
    let after = machine.held.beginRecount();
    while (after !== undefined && after < machine.through) {
      const bound = machine.through;
      for await (const batch of this.read(source, after + 1, bound, signal)) {
        if (machine.epoch !== epoch) return;
        machine.held.recount([...recordsOf(batch)].map(groupEvent), batch.through);
      }
      if (signal?.aborted === true || machine.epoch !== epoch) return;
      machine.held.recount([], bound);
      after = bound;
    }
  }

  private read(source: Source, first: number, last: number, signal?: AbortSignal) {
    const selection = selectionOf(this.machine.settings.query);
    const positions = { first, last };
    const read = {
      selection,
      direction: "forwards",
      positions,
      batchBytes: schedulingPolicy.groupBatchBytes,
    } as const;
    return scheduledRead(source, read, signal);
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
