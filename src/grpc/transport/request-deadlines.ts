// Requests that have begun must go on, and come to their end: what a client has sent of one is held
// until the rest comes. Times are looked at now and then, for all requests together.

import { AnnalsError } from "../../domain/errors.ts";
import type { Timers } from "../../log/timers.ts";

/** A request, or one message of a call that sends many. */
export interface Awaited {
  /** What is awaited, and how much of it has come. Undefined: it is not up to the client. */
  readonly awaited: { readonly message: number; readonly bytes: number } | undefined;
  /** It is awaited no longer. */
  fail(error: AnnalsError): void;
}

export interface RequestTimes {
  /** In which some of it must come. */
  readonly idleMs: number;
  /** In which it must end. */
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
  /** With what was seen of each. Undefined: nothing is awaited of it, or it was not looked at. */
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
