// Events as rows of the table `event`. A record is believed if its CRC fits and it is of the
// position that it was asked for; otherwise that is CORRUPTION.

import { crc32 } from "node:zlib";
import { corruption } from "../../../domain/errors.ts";
import type { EventHeader } from "../../../domain/event.ts";
import { scanPlacement } from "../../../domain/record.ts";
import { varintBytes, WireReader, writeVarint } from "../../../domain/wire.ts";
import { writeUint64 } from "../../leveldb/format/keys.ts";
import type { Row } from "../sessions/session.ts";

/** An event as the engine handles it. */
export interface EventRow extends EventHeader {
  /** 0: it has no stream. */
  readonly version: number;
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly recordedAt: number;
  /** The `RecordedEvent` message. */
  readonly record: Uint8Array;
  /** Whether it is a removed record. */
  readonly isEmptied: boolean;
}

/** The columns that `eventIn` reads, of a table `e`. */
export const eventColumns =
  "e.position, e.stream, e.version, e.id, e.type, e.tags, e.recorded_at, e.record, e.crc, " +
  "e.removed_in IS NOT NULL AS is_emptied";

const frameTag = 0x0a;

/** The event in a row's columns from an index on. Throws CORRUPTION. */
export function eventIn(row: Row, at = 0): EventRow {
  const position = row[at] as number;
  const record = row[at + 7] as Uint8Array;
  assertCrc(position, record, row[at + 8] as number);
  const version = (row[at + 2] as number | null) ?? 0;
  const placed = scanPlacement(record);
  if (placed.position !== position || placed.version !== version) throw displaced(position);
  return {
    position,
    stream: (row[at + 1] as string | null) ?? "",
    version,
    id: row[at + 3] as string,
    type: row[at + 4] as string,
    tags: row[at + 5] as string[],
    recordedAt: row[at + 6] as number,
    record,
    isEmptied: row[at + 9] as boolean,
  };
}

/** Throws CORRUPTION. */
export function assertCrc(position: number, record: Uint8Array, crc: number | undefined): void {
  if (recordCrc(position, record) === crc) return;
  throw corruption("a record fails its CRC", { first: position });
}

export function displaced(position: number): Error {
  return corruption("a record disagrees with its place", { first: position });
}

const positionBytes = Buffer.alloc(8);

export function recordCrc(position: number, record: Uint8Array): number {
  writeUint64(positionBytes, 0, position);
  return crc32(record, crc32(positionBytes));
}

export function sideCrc(space: string, name: string, value: Uint8Array): number {
  return crc32(value, crc32(`${space}\0${name}\0`));
}

/** The record in a frame. */
export function unframed(frame: Uint8Array): Uint8Array {
  const reader = new WireReader(frame);
  reader.varint();
  return reader.view();
}

/** Records as frames, one after another. */
export function recordFrames(records: readonly Uint8Array[]): Uint8Array {
  let bytes = 0;
  for (const { length } of records) bytes += 1 + varintBytes(length) + length;
  const frames = Buffer.allocUnsafe(bytes);
  let offset = 0;
  for (const record of records) {
    frames[offset] = frameTag;
    offset = writeVarint(frames, offset + 1, record.length);
    frames.set(record, offset);
    offset += record.length;
  }
  return frames;
}
