// Pages of the whole log, in its order. They come by COPY in the binary format, which takes a third
// of the time of a SELECT: bytes arrive as bytes, and of a record only its CRC is looked at. What
// else a read needs of an event is read from its record, once it is asked for.

import { corruption } from "../../../domain/errors.ts";
import type { PlacedEvent } from "../../../domain/event.ts";
import { scanRecord, scanRecordedAt } from "../../../domain/record.ts";
import { readUint64 } from "../../leveldb/format/keys.ts";
import type { Range } from "../../storage.ts";
import type { Database } from "../sessions/database.ts";
import { assertCrc, type EventRow } from "../tables/rows.ts";

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
  database: Database,
  page: LogPage,
): Promise<LogEvent[] | undefined> {
  const { first } = page.positions;
  const last = Math.min(page.positions.last, first + page.eventsMax - 1);
  const events: LogEvent[] = [];
  let begin = headerBytes;
  await database.copying((session) =>
    session.copyOut(textOf(first, last, page.bytesMax), (chunk) => {
      // The end is a row without fields.
      if (begin + 2 < chunk.length) {
        const event = new LogEvent(Buffer.from(chunk.subarray(begin)));
        if (event.position !== first + events.length) throw missing(first + events.length);
        events.push(event);
      }
      begin = 0;
    }),
  );
  return events.length === 0 ? undefined : events;
}

/** Numbers are part of the text: COPY takes no parameters. */
function textOf(first: number, last: number, bytesMax: number): string {
  return `COPY (
    SELECT position, crc, type ^@ '$', removed_in IS NOT NULL, record FROM (
      SELECT position, crc, type, removed_in, record, sum(octet_length(record)) OVER (
        ORDER BY position ROWS UNBOUNDED PRECEDING) - octet_length(record) AS before
      FROM event WHERE position BETWEEN ${first} AND ${last}
    ) e WHERE before < ${bytesMax} ORDER BY position
  ) TO STDOUT (FORMAT binary)`;
}

/** The header of the format: a signature, flags, and the length of an extension. */
const headerBytes = 19;
/**
 * A row is the count of its fields in two bytes, and for each its length in four bytes and its
 * value. All but the last one have a fixed length.
 */
const positionAt = 2 + 4;
const crcAt = positionAt + 8 + 4;
const systemAt = crcAt + 8 + 4;
const emptiedAt = systemAt + 1 + 4;
const recordAt = emptiedAt + 1 + 4;

/** An event by its row. Throws CORRUPTION if its record fails its CRC. */
export class LogEvent implements EventRow {
  readonly position: number;
  readonly record: Uint8Array;
  /** Whether its type is one of the store's own. */
  readonly isOfSystem: boolean;
  readonly isEmptied: boolean;
  private scanned: PlacedEvent | undefined;

  constructor(row: Buffer) {
    this.position = readUint64(row, positionAt);
    this.isOfSystem = row[systemAt] === 1;
    this.isEmptied = row[emptiedAt] === 1;
    this.record = row.subarray(recordAt);
    assertCrc(this.position, this.record, readUint64(row, crcAt));
  }

  get id(): string {
    return this.header.id;
  }

  get stream(): string {
    return this.header.stream;
  }

  get type(): string {
    return this.header.type;
  }

  get tags(): readonly string[] {
    return this.header.tags;
  }

  get version(): number {
    return this.header.version;
  }

  get recordedAt(): number {
    return scanRecordedAt(this.record);
  }

  private get header(): PlacedEvent {
    return (this.scanned ??= scanRecord(this.record));
  }
}

function missing(position: number): Error {
  return corruption("an event is missing", { first: position });
}
