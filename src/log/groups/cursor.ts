// The cursor of a running group. It offers the log to the group's state machine as long as that
// wants events, and waits at the head like a subscription. A group that wants no events costs one
// interest.

import type { GroupStateMachine } from "../../domain/group/state-machine.ts";
import type { Batch } from "../../storage/storage.ts";
import { schedulingPolicy } from "../scheduling/policy.ts";
import { recordsOf } from "../read/records.ts";
import { scheduledRead, type Source } from "../scheduling/scheduled-read.ts";
import { groupEvent, selectionOf } from "./reading.ts";
import type { Interest, Interests } from "../subscribe/interest.ts";

/** A mark, an abort or a stop ends the wait at the head earlier. */
const waitMs = 3_600_000;

export interface CursorParts extends Source {
  readonly interests: Interests;
  /** Milliseconds since 1970 on a clock that never jumps. */
  readonly nowMs: () => number;
  /** Called when something was offered or skipped. */
  readonly moved: () => void;
  readonly offered: (position: number) => void;
  readonly failed: (error: unknown) => void;
}

export class GroupCursor {
  private readonly parts: CursorParts;
  private readonly machine: GroupStateMachine;
  private abort = new AbortController();
  private interest: Interest | undefined;
  private atHead = false;
  private wanted: (() => void) | undefined;

  constructor(parts: CursorParts, machine: GroupStateMachine) {
    this.parts = parts;
    this.machine = machine;
  }

  start(): void {
    const { signal } = this.abort;
    this.follow(signal).catch((error: unknown) => {
      if (!signal.aborted) this.parts.failed(error);
    });
  }

  stop(): void {
    this.abort.abort();
    this.wake();
  }

  /** The group was reset: reading continues elsewhere. */
  restart(): void {
    this.stop();
    this.abort = new AbortController();
    this.start();
  }

  get signal(): AbortSignal {
    return this.abort.signal;
  }

  /** The machine may want events. */
  wake(): void {
    const { wanted } = this;
    this.wanted = undefined;
    wanted?.();
  }

  /** Skips positions that are known not to match, if everything before them was offered. */
  catchUp(): void {
    if (this.atHead && this.interest !== undefined) this.machine.pass(this.interest.quietThrough);
  }

  private async follow(signal: AbortSignal): Promise<void> {
    const { machine } = this;
    const { interests } = this.parts;
    const { epoch } = machine;
    const interest = interests.add(selectionOf(machine.settings.query), signal);
    const goesOn = (): boolean =>
      !signal.aborted && machine.epoch === epoch && !interests.isStopped;
    this.interest = interest;
    let bound = 0;
    try {
      while (goesOn()) {
        if (!machine.wantsEvents) await this.appetite();
        else if (machine.through < bound) await this.offerTo(bound, signal, goesOn);
        else if (interest.isMarked) bound = interest.look();
        else {
          machine.pass(interest.quietThrough);
          this.parts.moved();
          this.atHead = true;
          await interest.wait(waitMs);
          this.atHead = false;
        }
      }
    } finally {
      interest.close();
    }
  }

  /** Resolves when the machine may want events, or the group ends. */
  private appetite(): Promise<void> {
    return new Promise((resolve) => {
      this.wanted = resolve;
    });
  }

  /** Offers less if the machine wants no more and has no members. The rest is read again later. */
  private async offerTo(bound: number, signal: AbortSignal, goesOn: () => boolean): Promise<void> {
    const { machine } = this;
    if (machine.fromTime > 0) await this.passOver(bound, goesOn);
    if (!goesOn()) return;
    const read = {
      selection: selectionOf(machine.settings.query),
      direction: "forwards",
      positions: { first: machine.through + 1, last: bound },
      batchBytes: schedulingPolicy.groupBatchBytes,
    } as const;
    for await (const batch of scheduledRead(this.parts, read, signal)) {
      if (!(await this.offerBatch(batch, goesOn))) return;
      this.parts.moved();
    }
    if (!goesOn()) return;
    machine.pass(bound);
    this.parts.moved();
  }

  /** False: part of the batch was not offered. */
  private async offerBatch(batch: Batch, goesOn: () => boolean): Promise<boolean> {
    const { machine } = this;
    if (!goesOn()) return false;
    for (const record of recordsOf(batch)) {
      while (!machine.wantsEvents) {
        if (machine.memberCount === 0) return false;
        this.parts.moved();
        await this.appetite();
        if (!goesOn()) return false;
      }
      const event = groupEvent(record);
      machine.offer(event, this.parts.nowMs());
      this.parts.offered(event.position);
    }
    machine.pass(batch.through);
    return true;
  }

  /** If the start time has not been reached by `bound`, skips everything up to there. */
  private async passOver(bound: number, goesOn: () => boolean): Promise<void> {
    const { machine } = this;
    const first = await this.parts.storage.positionAt(machine.fromTime);
    if (!goesOn()) return;
    machine.pass(Math.max(machine.through, Math.min(first - 1, bound)));
    if (first <= bound) machine.endWait();
  }
}
