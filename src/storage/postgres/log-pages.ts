// Pages of the whole log, in its order. They come by COPY in the binary format, which takes a third
// of the time of a SELECT: bytes arrive as bytes, and nothing is parsed but what a read needs.

import { corruption } from "../../domain/errors.ts";
import type { Range } from "../storage.ts";
import type { Database } from "./database.ts";
import { recordCrc, soundEvent, type EventRow } from "./rows.ts";
import type { DbSession } from "./session.ts";

export interface LogPage {
  readonly positions: Range;
  readonly eventsMax: number;
  /** The page ends with the event that exceeds this. */
  readonly bytesMax: number;
}

/** The header of the format: a signature, flags, and the length of an extension. */
const headerBytes = 19;
const nullLength = -1;

/**
 * The next events of the range, without their ids and tags: at least one, and dense. Undefined: the
 * database does not have all of them.
 */
export async function copiedLogPage(
  database: Database,
  page: LogPage,
): Promise<EventRow[] | undefined> {
  const { first } = page.positions;
  const last = Math.min(page.positions.last, first + page.eventsMax - 1);
  const events: EventRow[] = [];
  await database.copying(async (session) => {
    await copyRows(session, textOf(first, last, page.bytesMax), (row) => {
      const event = eventOf(row);
      if (event.position !== first + events.length) throw missing(first + events.length);
      events.push(event);
    });
  });
  return events.length === 0 ? undefined : events;
}

/** Numbers are part of the text: COPY takes no parameters. */
function textOf(first: number, last: number, bytesMax: number): string {
  return `COPY (
    SELECT position, stream, version, type, recorded_at, crc, removed_in, record FROM (
      SELECT *, sum(octet_length(record)) OVER (ORDER BY position) - octet_length(record) AS before
      FROM event WHERE position BETWEEN ${first} AND ${last}
    ) e WHERE before < ${bytesMax} ORDER BY position
  ) TO STDOUT (FORMAT binary)`;
}

async function copyRows(
  session: DbSession,
  text: string,
  take: (row: FieldReader) => void,
): Promise<void> {
  let isBegun = false;
  await session.copyOut(text, (chunk) => {
    const row = new FieldReader(chunk, isBegun ? 0 : headerBytes);
    isBegun = true;
    if (row.next()) take(row);
  });
}

/** The fields of one row. What it returns is only valid until the next row comes. */
class FieldReader {
  private readonly bytes: Buffer;
  private offset: number;

  constructor(bytes: Buffer, offset: number) {
    this.bytes = bytes;
    this.offset = offset;
  }

  /** Whether there is a row. */
  next(): boolean {
    if (this.offset >= this.bytes.length) return false;
    const count = this.bytes.readInt16BE(this.offset);
    this.offset += 2;
    return count >= 0;
  }

  number(): number | undefined {
    const length = this.length();
    if (length === nullLength) return undefined;
    const { bytes, offset } = this;
    this.offset += 8;
    return bytes.readUInt32BE(offset) * 0x1_0000_0000 + bytes.readUInt32BE(offset + 4);
  }

  text(): string | undefined {
    const length = this.length();
    if (length === nullLength) return undefined;
    const start = this.offset;
    this.offset += length;
    return this.bytes.toString("utf8", start, this.offset);
  }

  /** A copy. */
  copy(): Uint8Array {
    const length = this.length();
    const start = this.offset;
    this.offset += length;
    return Buffer.from(this.bytes.subarray(start, this.offset));
  }

  private length(): number {
    const length = this.bytes.readInt32BE(this.offset);
    this.offset += 4;
    return length;
  }
}

function eventOf(row: FieldReader): EventRow {
  const position = row.number() ?? 0;
  const stream = row.text() ?? "";
  const version = row.number() ?? 0;
  const type = row.text() ?? "";
  const recordedAt = row.number() ?? 0;
  const crc = row.number();
  const isEmptied = row.number() !== undefined;
  const record = row.copy();
  if (recordCrc(position, record) !== crc) {
    throw corruption("a record fails its CRC", { first: position, stream });
  }
  const placed = { position, version, stream, type, recordedAt, record, isEmptied };
  return soundEvent({ id: "", tags: [], ...placed });
}

function missing(position: number): Error {
  return corruption("an event is missing", { first: position });
}
