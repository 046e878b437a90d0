// Events as messages of this protocol, written into one buffer: each is a `ReadResp` with gRPC's
// prefix before it. The fields are the same in reads and in persistent subscriptions.

import { create, toBinary } from "@bufbuild/protobuf";
import { varintBytes, writeVarint } from "../../../domain/wire.ts";
import { UUIDSchema } from "../../../gen/event_store/client/shared_pb.js";
import { PrefixedMessages } from "../../../grpc/transport/message-parts.ts";
import { tombstoneVersion } from "../mapping/content.ts";
import { halvesOf } from "../mapping/ids.ts";
import { presentedRecord } from "../mapping/metadata.ts";
import { RecordView } from "../mapping/record-view.ts";

const prefixBytes = 5;
/** What a message has beside what the record has, at most: tags, lengths and names. */
const envelopeBytes = 160;
const nothing = Buffer.alloc(0);
const json = Buffer.from("application/json");
const binary = Buffer.from("application/octet-stream");
/** Keys of entries, with the tag and length of each key. */
const typeKey = Buffer.concat([Buffer.from([0x0a, 4]), Buffer.from("type")]);
const contentTypeKey = Buffer.concat([Buffer.from([0x0a, 12]), Buffer.from("content-type")]);
const createdKey = Buffer.concat([Buffer.from([0x0a, 7]), Buffer.from("created")]);
/** Revision 2^63 - 1 as a varint. */
const lastRevision = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);

/** The sizes of a recorded event's parts. */
interface Measured {
  readonly view: RecordView;
  readonly id: Uint8Array | undefined;
  readonly created: string;
  readonly bytes: number;
}

export interface WriterOptions {
  /** Ids as two numbers instead of text. */
  readonly structuredIds: boolean;
  /** Streams of which metadata is shown were deleted and got events since. */
  readonly isRecreated?: boolean;
}

export class EventWriter {
  private readonly options: WriterOptions;
  private buffer = nothing;
  private offset = 0;
  private readonly view = new RecordView();
  private readonly linkView = new RecordView();

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

  /** A record, and the link by which it was found. `retries`: only of persistent subscriptions. */
  add(record: Uint8Array, link?: Uint8Array, retries?: number): void {
    const event = this.measure(this.present(this.view, record));
    const linked = link && this.measure(this.linkView.scan(link));
    const { position } = (linked ?? event).view;
    const bytes =
      fieldBytes(event.bytes) +
      (linked === undefined ? 0 : fieldBytes(linked.bytes)) +
      (1 + varintBytes(position)) +
      (retries === undefined ? 0 : 1 + varintBytes(retries));
    const message = fieldBytes(bytes);
    const into = this.room(prefixBytes + message);
    let at = this.offset;
    into[at] = 0;
    into.writeUInt32BE(message, at + 1);
    at = writeHead(into, at + prefixBytes, 0x0a, bytes);
    at = this.write(into, writeHead(into, at, 0x0a, event.bytes), event);
    if (linked !== undefined) {
      at = this.write(into, writeHead(into, at, 0x12, linked.bytes), linked);
    }
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

  private present(view: RecordView, record: Uint8Array): RecordView {
    view.scan(record);
    if (!view.isOfLifecycle) return view;
    return view.scan(presentedRecord(record, this.options.isRecreated === true));
  }

  private measure(view: RecordView): Measured {
    const id =
      this.options.structuredIds || view.otherId !== "" ? this.idBytes(view.id) : undefined;
    const created = `${view.micros}0`;
    const type = view.typeEnd - view.typeAt;
    const bytes =
      fieldBytes(id === undefined ? 38 : id.length) +
      fieldBytes(fieldBytes(view.streamEnd - view.streamAt)) +
      revisionBytes(view.version) +
      2 * (1 + varintBytes(view.position)) +
      fieldBytes(typeKey.length + fieldBytes(type)) +
      fieldBytes(contentTypeKey.length + fieldBytes((view.isJson ? json : binary).length)) +
      fieldBytes(createdKey.length + fieldBytes(created.length)) +
      optionalBytes(view.metadataEnd - view.metadataAt) +
      optionalBytes(view.dataEnd - view.dataAt);
    return { view, id, created, bytes };
  }

  private idBytes(id: string): Uint8Array {
    const { high, low } = halvesOf(id);
    const halves = { mostSignificantBits: high, leastSignificantBits: low };
    const value = this.options.structuredIds
      ? ({ case: "structured", value: halves } as const)
      : ({ case: "string", value: id } as const);
    return toBinary(UUIDSchema, create(UUIDSchema, { value }));
  }

  /** The fields of a recorded event. Returns the offset after them. */
  private write(into: Buffer, from: number, { view, id, created }: Measured): number {
    const { bytes, idAt, streamAt, streamEnd, typeAt, typeEnd, version, position } = view;
    let at = from;
    if (id === undefined) {
      into[at] = 0x0a;
      into[at + 1] = 38;
      into[at + 2] = 0x12;
      into[at + 3] = 36;
      at += 4 + bytes.copy(into, at + 4, idAt, idAt + 36);
    } else at = writeField(into, at, 0x0a, id);
    at = writeHead(into, at, 0x12, fieldBytes(streamEnd - streamAt));
    at = writeHead(into, at, 0x1a, streamEnd - streamAt);
    at += bytes.copy(into, at, streamAt, streamEnd);
    at = writeRevision(into, at, version);
    into[at] = 0x20;
    at = writeVarint(into, at + 1, position);
    into[at] = 0x28;
    at = writeVarint(into, at + 1, position);
    at = writeHead(into, at, 0x32, typeKey.length + fieldBytes(typeEnd - typeAt));
    at += typeKey.copy(into, at);
    at = writeHead(into, at, 0x12, typeEnd - typeAt);
    at += bytes.copy(into, at, typeAt, typeEnd);
    const contentType = view.isJson ? json : binary;
    at = writeHead(into, at, 0x32, contentTypeKey.length + fieldBytes(contentType.length));
    at += contentTypeKey.copy(into, at);
    at = writeField(into, at, 0x12, contentType);
    at = writeHead(into, at, 0x32, createdKey.length + fieldBytes(created.length));
    at += createdKey.copy(into, at);
    at = writeHead(into, at, 0x12, created.length);
    at += into.write(created, at, "latin1");
    if (view.metadataEnd > view.metadataAt) {
      at = writeHead(into, at, 0x3a, view.metadataEnd - view.metadataAt);
      at += view.metadataBytes.copy(into, at, view.metadataAt, view.metadataEnd);
    }
    if (view.dataEnd === view.dataAt) return at;
    at = writeHead(into, at, 0x42, view.dataEnd - view.dataAt);
    return at + bytes.copy(into, at, view.dataAt, view.dataEnd);
  }
}

/** A length-delimited field with a tag of one byte. */
function fieldBytes(length: number): number {
  return 1 + varintBytes(length) + length;
}

function writeHead(into: Buffer, at: number, tag: number, length: number): number {
  into[at] = tag;
  return writeVarint(into, at + 1, length);
}

function writeField(into: Buffer, at: number, tag: number, value: Uint8Array): number {
  const start = writeHead(into, at, tag, value.length);
  into.set(value, start);
  return start + value.length;
}

/** A field that is left out if it is empty. */
function optionalBytes(length: number): number {
  return length === 0 ? 0 : fieldBytes(length);
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
