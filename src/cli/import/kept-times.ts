// The times that events keep in a new store (`--keep-times`). Time never goes back in a store: a
// time that is before that of an event before it becomes that one, and is counted.

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { CommandError, UsageError } from "../arguments/options.ts";
import { isoTime, timestampOf } from "../arguments/time.ts";

export class KeptTimes {
  /** How many events got the time of one before them. */
  movedCount = 0;
  private last: Timestamp | undefined;
  private settled: { readonly last: Timestamp | undefined; readonly movedCount: number } = {
    last: undefined,
    movedCount: 0,
  };

  /** The latest time so far, for `resume`. Empty: there is none. */
  get latest(): string {
    return isoTime(this.last);
  }

  /** Goes on where an earlier run ended. Undefined: it said nothing. */
  resume(latest: string | undefined): void {
    if (latest === undefined || latest === "") return;
    this.last = timestampOf(latest, "the checkpoint");
    this.settle();
  }

  /** Events from here on may come again. */
  begin(): void {
    this.last = this.settled.last;
    this.movedCount = this.settled.movedCount;
  }

  /** The events since `begin` are stored, and do not come again. */
  settle(): void {
    this.settled = { last: this.last, movedCount: this.movedCount };
  }

  /** The time of the next event. `where`: which one it is. Throws `CommandError`. */
  next(text: string, where: string): Timestamp {
    const time = timeIn(text, where);
    if (this.last !== undefined && isBefore(time, this.last)) this.movedCount += 1;
    else this.last = time;
    return this.last;
  }
}

function timeIn(text: string, where: string): Timestamp {
  if (text === "") throw new CommandError(`${where}: has no time: leave out --keep-times`);
  try {
    return timestampOf(text, where);
  } catch (error) {
    if (!(error instanceof UsageError)) throw error;
    throw new CommandError(error.message, { cause: error });
  }
}

function isBefore(time: Timestamp, other: Timestamp): boolean {
  return time.seconds === other.seconds ? time.nanos < other.nanos : time.seconds < other.seconds;
}

/** Follows the message that refuses a time. */
export const keptTimesHint = "--keep-times is for a new store, to which nothing else is written";
