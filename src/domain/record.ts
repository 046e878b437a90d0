// The record codec: the bytes of an event as they go to disk and, unchanged, to the reader. A
// record is a `RecordedEvent` message: the client's fields (the body), followed by the store's.
//
//   frame  = 0x0a, varint length of record, record      (one `RecordedEvent events = 1` of a batch)
//   record = body (fields 1 to 8), 0x0a id (if the store made it),
//            0x48 version (absent if 0), 0x50 position, 0x5a recorded_at,
//            0x62 principal (absent if nobody asked who called),
//            0x6a trace_parent (absent if no trace is recorded)
//
// This layout is on disk: format version 1. A test proves it equal to the generated codec.

import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { RecordedEventSchema, type RecordedEvent } from "../gen/annals/v1/event_pb.js";
import type { PlacedEvent, Placement, StoredEvent } from "./event.ts";
import { varintBytes, WireReader, writeVarint } from "./wire.ts";

/** The tag of `repeated RecordedEvent events = 1`. */
const frameTag = 0x0a;
const tagId = 0x0a;
const tagMetadata = 0x2a;
const tagVersion = 0x48;
const tagPosition = 0x50;
const tagRecordedAt = 0x5a;
const tagPrincipal = 0x62;
const tagTraceParent = 0x6a;

const microsPerSecond = 1_000_000;
const text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** What the store adds to an event besides its numbers and its time. */
export interface Additions {
  /** The end of the body, which is not copied to it for this. */
  readonly bodyEnd?: Uint8Array | undefined;
  /** The id that the store made. Empty: the body holds one. */
  readonly ownId?: string;
  /** The name of the caller who appended the event. Empty: callers were not authenticated. */
  readonly principal?: string;
  /** In ASCII, at most 127 characters. Empty: none is recorded. */
  readonly traceParent?: string;
}

const nothingMore: Additions = Object.freeze({});
const noBytes = new Uint8Array();

/** Composes the framed record of an event. `recordedAt` is microseconds since 1970, UTC. */
export function composeFrame(
  body: Uint8Array,
  version: number,
  position: number,
  recordedAt: number,
  { bodyEnd = noBytes, ownId = "", principal = "", traceParent = "" }: Additions = nothingMore,
): Uint8Array {
  const seconds = Math.floor(recordedAt / microsPerSecond);
  const nanos = (recordedAt - seconds * microsPerSecond) * 1_000;
  const timeBytes = 1 + varintBytes(seconds) + (nanos > 0 ? 1 + varintBytes(nanos) : 0);
  const name = principal === "" ? noBytes : bytesOf(principal);
  const recordBytes =
    body.length +
    bodyEnd.length +
    (ownId === "" ? 0 : 2 + ownId.length) +
    (version > 0 ? 1 + varintBytes(version) : 0) +
    (1 + varintBytes(position)) +
    (2 + timeBytes) +
    (name.length === 0 ? 0 : 1 + varintBytes(name.length) + name.length) +
    (traceParent === "" ? 0 : 2 + traceParent.length);
  const frame = Buffer.allocUnsafe(1 + varintBytes(recordBytes) + recordBytes);
  frame[0] = frameTag;
  let offset = writeVarint(frame, 1, recordBytes);
  frame.set(body, offset);
  offset += body.length;
  frame.set(bodyEnd, offset);
  offset += bodyEnd.length;
  if (ownId !== "") {
    frame[offset] = tagId;
    frame[offset + 1] = ownId.length;
    offset += 2 + frame.write(ownId, offset + 2, "latin1");
  }
  if (version > 0) {
    frame[offset] = tagVersion;
    offset = writeVarint(frame, offset + 1, version);
  }
  frame[offset] = tagPosition;
  offset = writeVarint(frame, offset + 1, position);
  frame[offset] = tagRecordedAt;
  frame[offset + 1] = timeBytes;
  frame[offset + 2] = 0x08;
  offset = writeVarint(frame, offset + 3, seconds);
  if (nanos > 0) {
    frame[offset] = 0x10;
    offset = writeVarint(frame, offset + 1, nanos);
  }
  if (name.length > 0) {
    frame[offset] = tagPrincipal;
    offset = writeVarint(frame, offset + 1, name.length);
    for (let i = 0; i < name.length; i++) frame[offset++] = name[i] as number;
  }
  if (traceParent !== "") {
    frame[offset] = tagTraceParent;
    frame[offset + 1] = traceParent.length;
    frame.write(traceParent, offset + 2, "latin1");
  }
  return frame;
}

let lastPrincipal = "";
let lastBytes: Uint8Array = noBytes;

/** Most events are appended by the principal of the event before. */
function bytesOf(principal: string): Uint8Array {
  if (principal !== lastPrincipal) {
    lastBytes = Buffer.from(principal);
    lastPrincipal = principal;
  }
  return lastBytes;
}

/** The body of an event of which only this much is known. */
export function headerBody(header: Pick<PlacedEvent, "stream" | "type" | "tags">): Uint8Array {
  const { stream, type, tags } = header;
  const event = create(RecordedEventSchema, { stream, type, tags: [...tags] });
  return toBinary(RecordedEventSchema, event);
}

/** The records in framed bytes, as views. Throws `RangeError` on malformed framing. */
export function* recordsIn(frames: Uint8Array): Generator<Uint8Array> {
  const reader = new WireReader(frames);
  while (!reader.done) {
    const end = enterFrame(reader);
    yield frames.subarray(reader.offset, end);
    reader.offset = end;
  }
}

/** Goes to the beginning of the next record in framed bytes, and returns the offset of its end. */
export function enterFrame(frames: WireReader): number {
  if (frames.varint() !== frameTag) throw new RangeError("record: not a frame");
  return frames.lengthEnd();
}

/**
 * Reads the header and placement of a record without decoding the rest. Throws on malformed bytes.
 */
export function scanRecord(record: Uint8Array): PlacedEvent {
  let id = "";
  let stream = "";
  let type = "";
  let version = 0;
  let position = 0;
  const tags: string[] = [];
  const reader = new WireReader(record);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x0a) id = scanText(reader);
    else if (tag === 0x12) stream = scanText(reader);
    else if (tag === 0x1a) type = scanText(reader);
    else if (tag === 0x22) tags.push(scanText(reader));
    else if (tag === tagVersion) version = reader.varint();
    else if (tag === tagPosition) position = reader.varint();
    else reader.passOver(tag & 7);
  }
  return { id, stream, type, tags, version, position };
}

/** Reads only the stream of a record. */
export function scanStream(record: Uint8Array): string {
  const reader = new WireReader(record);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x12) return scanText(reader);
    reader.passOver(tag & 7);
  }
  return "";
}

/** Reads only the placement of a record. This is the cheapest scan. */
export function scanPlacement(record: Uint8Array): Placement {
  let version = 0;
  let position = 0;
  const reader = new WireReader(record);
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === tagVersion) version = reader.varint();
    else if (tag === tagPosition) position = reader.varint();
    else reader.passOver(tag & 7);
  }
  return { version, position };
}

/** The time of a record: microseconds since 1970, UTC. */
export function scanRecordedAt(record: Uint8Array): number {
  const reader = new WireReader(record);
  let micros = 0;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag !== tagRecordedAt) {
      reader.passOver(tag & 7);
      continue;
    }
    const end = reader.lengthEnd();
    micros = 0;
    while (reader.offset < end) {
      const part = reader.varint();
      if (part === 0x08) micros += reader.varint() * microsPerSecond;
      else if (part === 0x10) micros += Math.floor(reader.varint() / 1_000);
      else reader.passOver(part & 7);
    }
  }
  return micros;
}

/** A record with its header and placement decoded. */
export function storedEvent(record: Uint8Array): StoredEvent {
  return { ...scanRecord(record), recordedAt: scanRecordedAt(record), record };
}

/**
 * Whether every varint of a record is written in as few bytes as it needs. Protobuf allows more,
 * and parsers of some languages refuse it.
 */
export function isShortest(record: Uint8Array): boolean {
  try {
    passOverAll(new WireReader(record, 0, record.length, true), tagMetadata);
    return true;
  } catch (error) {
    if (error instanceof RangeError) return false;
    throw error;
  }
}

/** Fields, and the fields of those that are messages of the tag. */
function passOverAll(reader: WireReader, messageTag: number): void {
  while (!reader.done) {
    const tag = reader.varint();
    if (tag !== messageTag) {
      reader.passOver(tag & 7);
      continue;
    }
    const end = reader.lengthEnd();
    passOverAll(new WireReader(reader.bytes, reader.offset, end, true), 0);
    reader.offset = end;
  }
}

/** Framed records, those that are not in the shortest form composed anew: they mean the same. */
export function regularFrames(frames: Uint8Array): Uint8Array {
  const records = [...recordsIn(frames)];
  if (records.every(isShortest)) return frames;
  const parts = records.map((record) => {
    const regular = isShortest(record)
      ? record
      : toBinary(RecordedEventSchema, decodeRecord(record));
    const head = Buffer.allocUnsafe(1 + varintBytes(regular.length));
    head[0] = frameTag;
    writeVarint(head, 1, regular.length);
    return Buffer.concat([head, regular]);
  });
  return Buffer.concat(parts);
}

/** The whole record, by the generated codec. */
export function decodeRecord(record: Uint8Array): RecordedEvent {
  return fromBinary(RecordedEventSchema, record);
}

/**
 * Whether the content of a proposed event equals that of a record, apart from the order of map
 * entries.
 */
export function sameContent(body: Uint8Array, record: Uint8Array): boolean {
  // A body may also be a prefix of a record with more client fields. The store's fields must
  // follow.
  const next = record[body.length];
  const whole = next === tagVersion || next === tagPosition;
  if (whole && equalBytes(body, record.subarray(0, body.length))) return true;
  const proposed = decodeRecord(body);
  const recorded = decodeRecord(record);
  return (
    proposed.type === recorded.type &&
    proposed.contentType === recorded.contentType &&
    equalBytes(proposed.data, recorded.data) &&
    equalLists(proposed.tags, recorded.tags) &&
    equalMaps(proposed.metadata, recorded.metadata)
  );
}

function scanText(reader: WireReader): string {
  const end = reader.lengthEnd();
  const { bytes, offset } = reader;
  reader.offset = end;
  for (let i = offset; i < end; i++) {
    if ((bytes[i] as number) >= 0x80) return text.decode(bytes.subarray(offset, end));
  }
  return latin1(bytes, offset, end);
}

/** Decodes bytes that are known to be ASCII. */
function latin1(bytes: Uint8Array, start: number, end: number): string {
  if (bytes instanceof Buffer) return bytes.toString("latin1", start, end);
  return Buffer.from(bytes.buffer, bytes.byteOffset + start, end - start).toString("latin1");
}

function equalBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && Buffer.compare(a, b) === 0;
}

function equalLists(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

function equalMaps(a: Record<string, string>, b: Record<string, string>): boolean {
  const keys = Object.keys(a);
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}
