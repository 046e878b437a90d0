// Pages of the whole log, in its order. They come by COPY in the binary format, which takes a third
// of the time of a SELECT: bytes arrive as bytes, and of a record only its CRC is looked at. What
// else a read needs of an event is read from its record, once it is asked for.

import { corruption } from "../../../domain/errors.ts";
import type { Range } from "../../storage.ts";
import type { DbSession } from "../sessions/session.ts";
import { RowReader } from "../sessions/row-reader.ts";
import { logColumns, logEventIn, type LogEvent } from "../tables/log-event.ts";

export interface LogPage {
  readonly positions: Range;
  readonly eventsMax: number;
  /** The page ends with the event that exceeds this. */
  readonly bytesMax: number;
}

/**
 * The next events of the range: at least one, and dense. Undefined: the database does not have all
 * of them.
 */
export async function copiedLogPage(
  session: DbSession,
  page: LogPage,
): Promise<LogEvent[] | undefined> {
  const { first } = page.positions;
  const last = Math.min(page.positions.last, first + page.eventsMax - 1);
  const events: LogEvent[] = [];
  let isBegun = false;
  let bytesLeft = page.bytesMax;
  await session.copyOut(textOf(first, last), ({ bytes, at, end }) => {
    // The first message has the header of the format before its row; the end is no row.
    const row = isBegun ? at : at + headerBytes;
    isBegun = true;
    if (row + 2 >= end) return true;
    if (bytesLeft > 0) {
      const event = logEventIn(new RowReader({ bytes, at: row }));
      if (event?.position !== first + events.length) throw missing(first + events.length);
      events.push(event);
    }
    bytesLeft -= end - row;
    return bytesLeft > -excessBytes;
  });
  return events.length === 0 ? undefined : events;
}

/**
 * Events become larger at times: what comes behind the end of a page is dropped. If that is more
 * than this, it is broken off, and the connection with it.
 */
const excessBytes = 4 * 1_024 * 1_024;

/** Numbers are part of the text: COPY takes no parameters. */
function textOf(first: number, last: number): string {
  return `COPY (
    SELECT ${logColumns} FROM event e WHERE position BETWEEN ${first} AND ${last} ORDER BY position
  ) TO STDOUT (FORMAT binary)`;
}

/** The header of the format: a signature, flags, and the length of an extension. */
const headerBytes = 19;
function missing(position: number): Error {
  return corruption("an event is missing", { first: position });
}
