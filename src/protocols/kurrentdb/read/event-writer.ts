// Events as messages of this protocol, written into one buffer: each is a `ReadResp` with gRPC's
// prefix before it. The fields are the same in reads and in persistent subscriptions. Messages are
// written in one go: room is left for their lengths, which are written at the end.

import { enterFrame } from "../../../domain/record.ts";
import { varintBytes, WireReader, writeVarint } from "../../../domain/wire.ts";
import {
  PrefixedMessages,
  prefixBytes,
  writePrefix,
} from "../../../grpc/transport/message-parts.ts";
import type { Batch } from "../../../log/verbs.ts";
import { bufferOf } from "../mapping/bytes.ts";
import { tombstoneVersion } from "../mapping/content.ts";
import { idChars, writeStructuredId } from "../mapping/ids.ts";
import { presentedRecord } from "../mapping/metadata.ts";
import { needsCodec } from "../mapping/metadata-text.ts";
import { RecordView } from "../mapping/record-view.ts";
import { copied, Words } from "../mapping/words.ts";
import { FixedEntries } from "./fixed-entries.ts";
import { unusual, usualBytesMax, UsualEvents } from "./usual-event.ts";

/** What a message has beside what the record has, at most: tags, lengths, names and numbers. */
const envelopeBytes = 256;
/** The same of most messages. */
const usualEnvelopeBytes = 160;
const nothing = new Words(Buffer.alloc(0));
/** The key of an entry, with tag and length. */
const typeKey = Buffer.concat([Buffer.from([0x0a, 4]), Buffer.from("type")]);
/** Revision 2^63 - 1 as a varint. */
const lastRevision = Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f]);

export interface WriterOptions {
  /** Ids as two numbers instead of text. */
  readonly structuredIds: boolean;
  /** Streams of which metadata is shown were deleted and got events since. */
  readonly isRecreated?: boolean;
}

export class EventWriter {
  private readonly options: WriterOptions;
  private readonly usual: UsualEvents;
  private into = nothing;
  private offset = 0;
  private readonly view = new RecordView();
  private readonly linkView = new RecordView();
  private readonly jsonEntries = new FixedEntries("application/json");
  private readonly otherEntries = new FixedEntries("application/octet-stream");

  constructor(options: WriterOptions) {
    this.options = options;
    this.usual = new UsualEvents(options.structuredIds);
  }

  get length(): number {
    return this.offset;
  }

  /** All records of a batch. */
  addAll(batch: Batch): void {
    this.room(batch.bytes + batch.count * usualEnvelopeBytes + envelopeBytes);
    for (const frames of batch.frames) {
      const words = new Words(bufferOf(frames));
      const reader = new WireReader(words.bytes);
      while (!reader.done) {
        const end = enterFrame(reader);
        const { offset } = reader;
        const into = this.room(usualBytesMax(end - offset));
        const after = this.usual.write(words, offset, end, into, this.offset);
        if (after === unusual) this.add(words.bytes.subarray(offset, end));
        else this.offset = after;
        reader.offset = end;
      }
    }
  }

  /** A record, and the link by which it was found. `retries`: only of persistent subscriptions. */
  add(record: Uint8Array, link?: Uint8Array, retries?: number): void {
    this.addView(this.view.scan(record), link && this.linkView.scan(link), retries);
  }

  /** As `add`, of records that are scanned. */
  addView(view: RecordView, link?: RecordView, retries?: number): void {
    const shown = view.isOfLifecycle ? this.presented(view) : view;
    let end = this.write(shown, link, retries);
    while (end === needsCodec) end = this.write(shown, link, retries);
    this.offset = end;
  }

  /** A message that is not an event. */
  message(message: Uint8Array): void {
    const { bytes: into } = this.room(prefixBytes + message.length);
    const at = writePrefix(into, this.offset, message.length);
    into.set(message, at);
    this.offset = at + message.length;
  }

  /** What was added, which the writer forgets. Undefined: nothing. */
  take(): PrefixedMessages | undefined {
    if (this.offset === 0) return undefined;
    const bytes = this.into.bytes.subarray(0, this.offset);
    this.into = nothing;
    this.offset = 0;
    this.view.clear();
    this.linkView.clear();
    return new PrefixedMessages(bytes);
  }

  private room(bytes: number): Words {
    const needed = this.offset + bytes;
    const { bytes: present } = this.into;
    if (needed <= present.length) return this.into;
    const grown = Buffer.allocUnsafe(Math.max(needed, 2 * present.length, 1024));
    present.copy(grown, 0, 0, this.offset);
    return (this.into = new Words(grown));
  }

  private presented(view: RecordView): RecordView {
    const { isRecreated } = this.options;
    return new RecordView().scan(presentedRecord(view.record, isRecreated === true));
  }

  /** Returns the offset after the message. `needsCodec`: it has to be written once more. */
  private write(event: RecordView, link: RecordView | undefined, retries?: number): number {
    const bytesMax = event.shownBytesMax + (link?.shownBytesMax ?? 0) + 2 * envelopeBytes;
    const words = this.room(bytesMax);
    const into = words.bytes;
    const width = varintBytes(bytesMax);
    const start = this.offset + prefixBytes;
    const inner = start + 1 + width;
    into[start] = 0x0a;
    let at = this.writeEvent(words, inner, 0x0a, event, width);
    if (at === needsCodec) return needsCodec;
    if (link !== undefined) at = this.writeEvent(words, at, 0x12, link, width);
    if (at === needsCodec) return needsCodec;
    into[at] = 0x18;
    at = writeVarint(into, at + 1, (link ?? event).position);
    if (retries !== undefined) {
      into[at] = 0x28;
      at = writeVarint(into, at + 1, retries);
    }
    at = closed(into, inner, at, width);
    writePrefix(into, start - prefixBytes, at - start);
    return at;
  }

  /** A recorded event under a tag. Returns the offset after it, or `needsCodec`. */
  private writeEvent(
    target: Words,
    tagAt: number,
    tag: number,
    view: RecordView,
    width: number,
  ): number {
    const { words, streamAt, streamEnd, typeAt, typeEnd, position } = view;
    const into = target.bytes;
    into[tagAt] = tag;
    const start = tagAt + 1 + width;
    let at = this.writeId(target, start, view);
    const nameBytes = streamEnd - streamAt;
    at = writeHead(into, at, 0x12, 1 + varintBytes(nameBytes) + nameBytes);
    at = writeHead(into, at, 0x1a, nameBytes);
    at = copied(words, streamAt, streamEnd, target, at);
    at = writeRevision(into, at, view.version);
    into[at] = 0x20;
    at = writeVarint(into, at + 1, position);
    into[at] = 0x28;
    at = writeVarint(into, at + 1, position);
    const typeBytes = typeEnd - typeAt;
    at = writeHead(into, at, 0x32, typeKey.length + 1 + varintBytes(typeBytes) + typeBytes);
    for (let i = 0; i < typeKey.length; i++) into[at++] = typeKey[i] as number;
    at = writeHead(into, at, 0x12, typeBytes);
    at = copied(words, typeAt, typeEnd, target, at);
    const entries = (view.isJson ? this.jsonEntries : this.otherEntries).at(view.micros);
    at = copied(entries, 0, entries.bytes.length, target, at);
    at = writeMetadata(target, at, view);
    if (at === needsCodec) return needsCodec;
    const dataBytes = view.dataEnd - view.dataAt;
    if (dataBytes > 0) {
      at = writeHead(into, at, 0x42, dataBytes);
      at = copied(words, view.dataAt, view.dataEnd, target, at);
    }
    return closed(into, start, at, width);
  }

  private writeId(target: Words, at: number, { words, idAt, otherId }: RecordView): number {
    const id = otherId === "" ? words : new Words(Buffer.from(otherId, "latin1"));
    const from = otherId === "" ? idAt : 0;
    const into = target.bytes;
    into[at] = 0x0a;
    if (this.options.structuredIds) return writeStructuredId(into, at + 1, id.bytes, from);
    into[at + 1] = 2 + idChars;
    into[at + 2] = 0x12;
    into[at + 3] = idChars;
    return copied(id, from, from + idChars, target, at + 4);
  }
}

function writeMetadata(target: Words, at: number, view: RecordView): number {
  const likely = view.metadataBytesLikely;
  if (likely === 0) return at;
  const width = varintBytes(likely);
  const start = at + 1 + width;
  const end = view.writeMetadata(target, start);
  if (end === needsCodec) return needsCodec;
  if (end === start) return at;
  target.bytes[at] = 0x3a;
  return closed(target.bytes, start, end, width);
}

/**
 * Writes the length of what is between two offsets into the bytes that were left before it. If
 * these are too many, or too few, it is moved. Returns where it ends.
 */
function closed(into: Buffer, start: number, end: number, width: number): number {
  const length = end - start;
  const surplus = width - varintBytes(length);
  if (surplus !== 0) into.copyWithin(start - surplus, start, end);
  writeVarint(into, start - width, length);
  return end - surplus;
}

function writeHead(into: Buffer, at: number, tag: number, length: number): number {
  into[at] = tag;
  return writeVarint(into, at + 1, length);
}

function writeRevision(into: Buffer, at: number, version: number): number {
  if (version <= 1) return at;
  into[at] = 0x18;
  if (version !== tombstoneVersion) return writeVarint(into, at + 1, version - 1);
  return at + 1 + lastRevision.copy(into, at + 1);
}
