// A request that has begun must make progress and end in time, because what has arrived is held in
// memory until the rest arrives.

import { AnnalsError } from "../../domain/errors.ts";

/** What must arrive next: a message of the request, and how much of it has arrived. */
export interface Awaited {
  readonly message: number;
  readonly bytes: number;
}

export interface RequestTimes {
  /** The time in which some more of the request must arrive. */
  readonly idleMs: number;
  /** The time in which the request, or each message of a call that sends many, must end. */
  readonly wholeMs: number;
}

interface Seen extends Awaited {
  readonly beganMs: number;
  readonly grewMs: number;
}

/** The times of one request. They begin when it is looked at first. */
export class RequestDeadline {
  private readonly times: RequestTimes;
  private seen: Seen | undefined;

  constructor(times: RequestTimes) {
    this.times = times;
  }

  /** Why the request is too late. `awaited` undefined: its client is not to blame. */
  overdue(awaited: Awaited | undefined, nowMs: number): AnnalsError | undefined {
    const { seen, times } = this;
    if (awaited === undefined || seen?.message !== awaited.message) {
      this.seen = awaited && { ...awaited, beganMs: nowMs, grewMs: nowMs };
      return undefined;
    }
    const grewMs = seen.bytes === awaited.bytes ? seen.grewMs : nowMs;
    this.seen = { ...awaited, beganMs: seen.beganMs, grewMs };
    if (nowMs - grewMs >= times.idleMs) {
      return late(`request_idle_seconds: nothing came of the request for ${times.idleMs} ms`);
    }
    if (nowMs - seen.beganMs < times.wholeMs) return undefined;
    return late(`request_seconds: the request did not end within ${times.wholeMs} ms`);
  }
}

function late(message: string): AnnalsError {
  return new AnnalsError({ reason: "DEADLINE_EXCEEDED" }, message);
}
