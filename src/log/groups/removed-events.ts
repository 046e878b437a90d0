// Events that a running group holds in memory and that a lifecycle removes meanwhile: those that
// wait are forgotten as soon as a lifecycle changes, and looked at now and then besides, as events
// also age, and outnumber what their stream keeps. What is sent to a member is looked at once more
// (see member.ts), so that nothing depends on how soon this is.

import type { HeldEvents } from "../../domain/group/held-events.ts";
import { streamKeptIn } from "../../domain/lifecycle/lifecycle-event.ts";
import type { Advance, Storage } from "../../storage/storage.ts";
import type { Timers } from "../timers.ts";

/** Events looked at between two turns. */
const pageCount = 4_096;
/** Between two looks at all that wait. */
const pauseMs = 10_000;

export interface RemovedEventsParts {
  readonly storage: Storage;
  readonly timers: Timers;
  /** Milliseconds since 1970 on a clock that never jumps. */
  readonly nowMs: () => number;
  /** Called when events were removed, so that the group can go on with the next ones. */
  readonly touch: () => void;
  readonly failed: (error: unknown) => void;
}

export class RemovedEvents {
  private readonly parts: RemovedEventsParts;
  private readonly held: HeldEvents;
  /** Whose events are to be looked at next. */
  private next: Set<string> | "all" | undefined;
  /** Under way, or done. */
  private looking: Promise<void> = Promise.resolve();
  private isLooking = false;
  private stopTimer: (() => void) | undefined;
  private isStopped = false;

  constructor(parts: RemovedEventsParts, held: HeldEvents) {
    this.parts = parts;
    this.held = held;
  }

  /** The lifecycles of these streams changed; "all": of any. */
  changed(streams: ReadonlySet<string> | "all"): void {
    if (streams === "all" || this.next === "all") this.next = "all";
    else this.next = new Set([...(this.next ?? []), ...streams]);
    if (this.isLooking || this.isStopped) return;
    this.isLooking = true;
    this.looking = this.look().catch((error: unknown) => this.parts.failed(error));
  }

  /** When the look that is under way has ended. */
  settled(): Promise<void> {
    return this.looking;
  }

  /** Must be called when events may have begun to wait. */
  plan(): void {
    if (this.stopTimer !== undefined || this.isStopped || this.held.waitingCount === 0) return;
    this.stopTimer = this.parts.timers.delay(pauseMs, () => {
      this.stopTimer = undefined;
      this.changed("all");
      this.plan();
    });
  }

  stop(): void {
    this.isStopped = true;
    this.stopTimer?.();
  }

  private async look(): Promise<void> {
    const { held } = this;
    const { storage, nowMs, touch } = this.parts;
    for (let streams = this.next; streams !== undefined; streams = this.next) {
      this.next = undefined;
      const waiting = held.unsent();
      const which = streams;
      const events = which === "all" ? waiting : waiting.filter(({ stream }) => which.has(stream));
      for (let from = 0; from < events.length; from += pageCount) {
        const some = events.slice(from, from + pageCount);
        const removed = await storage.areRemoved(some);
        const found = some.filter((_, i) => removed[i] === true);
        if (found.length > 0) held.removed(found, nowMs());
      }
      touch();
    }
    this.isLooking = false;
  }
}

/** The streams whose lifecycle an advance of the head has changed; "all": that is not known. */
export function lifecyclesChanged({ events }: Advance): ReadonlySet<string> | "all" {
  if (events === undefined) return "all";
  return new Set(events.flatMap(({ stream }) => streamKeptIn(stream) ?? []));
}
