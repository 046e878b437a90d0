// Events as messages of this protocol, written into one buffer: each is a `ReadResp` with gRPC's
// prefix before it. The fields are the same in reads and in persistent subscriptions.

import { create, toBinary } from "@bufbuild/protobuf";
import { varintBytes, WireReader, writeVarint } from "../../../domain/wire.ts";
import { UUIDSchema } from "../../../gen/event_store/client/shared_pb.js";
import { PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import type { Batch } from "../../../log/verbs.ts";
import { bufferOf, fieldSize, writeBytesField } from "../mapping/bytes.ts";
import { tombstoneVersion } from "../mapping/content.ts";
import { halvesOf } from "../mapping/ids.ts";
import { FixedEntries } from "./fixed-entries.ts";
import { presentedRecord } from "../mapping/metadata.ts";
import { RecordView } from "../mapping/record-view.ts";

const prefixBytes = 5;
/** What a message has beside what the record has, at most: tags, lengths and names. */
const envelopeBytes = 160;
const nothing = Buffer.alloc(0);
/** The key of an entry, with tag and length. */
const typeKey = Buffer.concat([Buffer.from([0x0a, 4]), Buffer.from("type")]);
/** Revision 2^63 - 1 as a varint. */
const lastRevision = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);
const idBytes = 36;

export interface WriterOptions {
  /** Ids as two numbers instead of text. */
  readonly structuredIds: boolean;
  /** Streams of which metadata is shown were deleted and got events since. */
  readonly isRecreated?: boolean;
}

/** The sizes of a recorded event's parts. */
interface Measured {
  readonly view: RecordView;
  /** Undefined: the id is text, and in the record. */
  readonly id: Uint8Array | undefined;
  readonly entries: Buffer;
  readonly bytes: number;
}

export class EventWriter {
  private readonly options: WriterOptions;
  private buffer = nothing;
  private offset = 0;
  private readonly view = new RecordView();
  private readonly linkView = new RecordView();
  private readonly jsonEntries = new FixedEntries("application/json");
  private readonly otherEntries = new FixedEntries("application/octet-stream");

  constructor(options: WriterOptions) {
    this.options = options;
  }

  /** Room for some records, so that it is allocated once. */
  reserve(count: number, bytes: number): void {
    this.room(bytes + count * envelopeBytes);
  }

  get length(): number {
    return this.offset;
  }

  /** All records of a batch. */
  addAll(batch: Batch): void {
    this.reserve(batch.count, batch.bytes);
    for (const frames of batch.frames) {
      const reader = new WireReader(bufferOf(frames));
      while (!reader.done) this.addView(this.view.scanFrame(reader));
    }
  }

  /** A record, and the link by which it was found. `retries`: only of persistent subscriptions. */
  add(record: Uint8Array, link?: Uint8Array, retries?: number): void {
    this.addView(this.view.scan(record), link && this.linkView.scan(link), retries);
  }

  /** As `add`, of records that are scanned. */
  addView(view: RecordView, link?: RecordView, retries?: number): void {
    const linked = link && withOwnEntries(this.measure(link));
    const event = this.measure(view.isOfLifecycle ? this.presented(view) : view);
    const { position } = (linked ?? event).view;
    const bytes =
      fieldSize(event.bytes) +
      (linked === undefined ? 0 : fieldSize(linked.bytes)) +
      (1 + varintBytes(position)) +
      (retries === undefined ? 0 : 1 + varintBytes(retries));
    const message = fieldSize(bytes);
    const into = this.room(prefixBytes + message);
    let at = this.offset;
    into[at] = 0;
    into[at + 1] = message >>> 24;
    into[at + 2] = message >>> 16;
    into[at + 3] = message >>> 8;
    into[at + 4] = message;
    at = writeHead(into, at + prefixBytes, 0x0a, bytes);
    at = write(into, writeHead(into, at, 0x0a, event.bytes), event);
    if (linked !== undefined) at = write(into, writeHead(into, at, 0x12, linked.bytes), linked);
    into[at] = 0x18;
    at = writeVarint(into, at + 1, position);
    if (retries !== undefined) {
      into[at] = 0x28;
      at = writeVarint(into, at + 1, retries);
    }
    this.offset = at;
  }

  /** A message that is not an event. */
  message(message: Uint8Array): void {
    const into = this.room(prefixBytes + message.length);
    into[this.offset] = 0;
    into.writeUInt32BE(message.length, this.offset + 1);
    into.set(message, this.offset + prefixBytes);
    this.offset += prefixBytes + message.length;
  }

  /** What was added, which the writer forgets. Undefined: nothing. */
  take(): PrefixedMessages | undefined {
    if (this.offset === 0) return undefined;
    const bytes = this.buffer.subarray(0, this.offset);
    this.buffer = nothing;
    this.offset = 0;
    this.view.clear();
    this.linkView.clear();
    return new PrefixedMessages(bytes);
  }

  private room(bytes: number): Buffer {
    const needed = this.offset + bytes;
    if (needed <= this.buffer.length) return this.buffer;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * this.buffer.length, 1024));
    this.buffer.copy(grown, 0, 0, this.offset);
    this.buffer = grown;
    return grown;
  }

  private presented(view: RecordView): RecordView {
    const { isRecreated } = this.options;
    return new RecordView().scan(presentedRecord(view.record, isRecreated === true));
  }

  private measure(view: RecordView): Measured {
    const isInRecord = !this.options.structuredIds && view.otherId === "";
    const id = isInRecord ? undefined : this.encodedId(view.id);
    const entries = (view.isJson ? this.jsonEntries : this.otherEntries).at(view.micros);
    const bytes =
      fieldSize(id === undefined ? 2 + idBytes : id.length) +
      fieldSize(fieldSize(view.streamEnd - view.streamAt)) +
      revisionBytes(view.version) +
      2 * (1 + varintBytes(view.position)) +
      fieldSize(typeKey.length + fieldSize(view.typeEnd - view.typeAt)) +
      entries.length +
      optionalBytes(view.metadataEnd - view.metadataAt) +
      optionalBytes(view.dataEnd - view.dataAt);
    return { view, id, entries, bytes };
  }

  private encodedId(id: string): Uint8Array {
    const { high, low } = halvesOf(id);
    const halves = { mostSignificantBits: high, leastSignificantBits: low };
    const value = this.options.structuredIds
      ? ({ case: "structured", value: halves } as const)
      : ({ case: "string", value: id } as const);
    return toBinary(UUIDSchema, create(UUIDSchema, { value }));
  }
}

/** So that the next event may use the kept bytes. */
function withOwnEntries(measured: Measured): Measured {
  return { ...measured, entries: Buffer.from(measured.entries) };
}

/** The fields of a recorded event. Returns the offset after them. */
function write(into: Buffer, from: number, { view, id, entries }: Measured): number {
  const { bytes, idAt, streamAt, streamEnd, typeAt, typeEnd, version, position } = view;
  let at = from;
  if (id === undefined) {
    into[at] = 0x0a;
    into[at + 1] = 2 + idBytes;
    into[at + 2] = 0x12;
    into[at + 3] = idBytes;
    at = copied(bytes, idAt, idAt + idBytes, into, at + 4);
  } else at = writeBytesField(into, at, 0x0a, id);
  at = writeHead(into, at, 0x12, fieldSize(streamEnd - streamAt));
  at = writeHead(into, at, 0x1a, streamEnd - streamAt);
  at = copied(bytes, streamAt, streamEnd, into, at);
  at = writeRevision(into, at, version);
  into[at] = 0x20;
  at = writeVarint(into, at + 1, position);
  into[at] = 0x28;
  at = writeVarint(into, at + 1, position);
  at = writeHead(into, at, 0x32, typeKey.length + fieldSize(typeEnd - typeAt));
  at = copied(typeKey, 0, typeKey.length, into, at);
  at = writeHead(into, at, 0x12, typeEnd - typeAt);
  at = copied(bytes, typeAt, typeEnd, into, at);
  at = copied(entries, 0, entries.length, into, at);
  if (view.metadataEnd > view.metadataAt) {
    at = writeHead(into, at, 0x3a, view.metadataEnd - view.metadataAt);
    at = copied(view.metadataBytes, view.metadataAt, view.metadataEnd, into, at);
  }
  if (view.dataEnd === view.dataAt) return at;
  at = writeHead(into, at, 0x42, view.dataEnd - view.dataAt);
  return copied(bytes, view.dataAt, view.dataEnd, into, at);
}

/** Copying so few bytes one by one takes less time than the call that copies them. */
const loopBytesMax = 40;

/** Copies bytes and returns the offset after them. */
function copied(from: Buffer, start: number, end: number, into: Buffer, at: number): number {
  if (end - start > loopBytesMax) return at + from.copy(into, at, start, end);
  for (let i = start; i < end; i++) into[at++] = from[i] as number;
  return at;
}

function writeHead(into: Buffer, at: number, tag: number, length: number): number {
  into[at] = tag;
  return writeVarint(into, at + 1, length);
}

/** A field that is left out if it is empty. */
function optionalBytes(length: number): number {
  return length === 0 ? 0 : fieldSize(length);
}

function revisionBytes(version: number): number {
  if (version === tombstoneVersion) return 1 + lastRevision.length;
  return version <= 1 ? 0 : 1 + varintBytes(version - 1);
}

function writeRevision(into: Buffer, at: number, version: number): number {
  if (version <= 1) return at;
  into[at] = 0x18;
  if (version !== tombstoneVersion) return writeVarint(into, at + 1, version - 1);
  return at + 1 + lastRevision.copy(into, at + 1);
}
