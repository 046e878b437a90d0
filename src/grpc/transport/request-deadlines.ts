// A request that has begun must make progress and end in time, because what has arrived is held in
// memory until the rest arrives. One timer checks all requests together.

import { AnnalsError } from "../../domain/errors.ts";
import type { Timers } from "../../log/timers.ts";

/** A request, or one message of a call that sends many. */
export interface Awaited {
  /** What must arrive next, and how much of it has. Undefined: the client is not to blame. */
  readonly awaited: { readonly message: number; readonly bytes: number } | undefined;
  /** Called when the request is too late. */
  fail(error: AnnalsError): void;
}

export interface RequestTimes {
  /** The time in which some more of the request must arrive. */
  readonly idleMs: number;
  /** The time in which the request must end. */
  readonly wholeMs: number;
}

interface Seen {
  message: number;
  bytes: number;
  beganMs: number;
  grewMs: number;
}

const tickMs = 1_000;

export class RequestDeadlines {
  private readonly times: RequestTimes;
  private readonly timers: Timers;
  /** The requests, with their state at the last check. Undefined: none yet, or none awaited. */
  private readonly requests = new Map<Awaited, Seen | undefined>();
  private isTicking = false;

  constructor(times: RequestTimes, timers: Timers) {
    this.times = times;
    this.timers = timers;
  }

  watch(request: Awaited): void {
    this.requests.set(request, undefined);
    this.tickSoon();
  }

  forget(request: Awaited): void {
    this.requests.delete(request);
  }

  private tickSoon(): void {
    if (this.isTicking) return;
    this.isTicking = true;
    this.timers.delay(tickMs, () => {
      this.isTicking = false;
      if (this.requests.size === 0) return;
      this.tick(this.timers.nowMs());
      this.tickSoon();
    });
  }

  private tick(nowMs: number): void {
    for (const [request, seen] of this.requests) {
      const { awaited } = request;
      if (awaited === undefined) {
        if (seen !== undefined) this.requests.set(request, undefined);
      } else if (seen === undefined || seen.message !== awaited.message) {
        this.requests.set(request, { ...awaited, beganMs: nowMs, grewMs: nowMs });
      } else {
        if (seen.bytes !== awaited.bytes) seen.grewMs = nowMs;
        seen.bytes = awaited.bytes;
        const overdue = this.overdue(nowMs - seen.grewMs, nowMs - seen.beganMs);
        if (overdue === undefined) continue;
        this.requests.delete(request);
        request.fail(overdue);
      }
    }
  }

  private overdue(idleMs: number, wholeMs: number): AnnalsError | undefined {
    const { times } = this;
    if (idleMs >= times.idleMs) {
      return late(`request_idle_seconds: nothing came of the request for ${times.idleMs} ms`);
    }
    if (wholeMs < times.wholeMs) return undefined;
    return late(`request_seconds: the request did not end within ${times.wholeMs} ms`);
  }
}

function late(message: string): AnnalsError {
  return new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, message);
}
