// A record of the log, scanned for what this protocol shows of an event, without decoding it:
// offsets into its bytes. One view is used for one record after another.

import { isJsonContentType } from "../../../domain/json.ts";
import { lifecycleStream } from "../../../domain/lifecycle/lifecycle-event.ts";
import { decodeRecord, enterFrame } from "../../../domain/record.ts";
import { wireBytes, WireReader, wireVarint } from "../../../domain/wire.ts";
import { clientIdKey, linkType, metadataBase64Key, metadataKey } from "./content.ts";
import { bufferOf, hasAt } from "./bytes.ts";
import { uuidText } from "./ids.ts";
import { MetadataText, needsCodec, textBytesMax } from "./metadata-text.ts";
import { copied, Words } from "./words.ts";

const plainKey = Buffer.from(metadataKey);
/** What the keys of this protocol begin with. */
const prefix = Buffer.from("kurrentdb-");
// The kinds of tags and entries that a record has.
const ofThis = 1;
const ofOthers = 2;
/** Of this protocol, but not its plain metadata. */
const isSpecial = 4;

const plainLink = Buffer.from(linkType);
const lifecyclePrefix = Buffer.from(lifecycleStream(""));
const jsonType = Buffer.from("application/json");
const nothing = new Words(Buffer.alloc(0));

export class RecordView {
  /** The record, and what is before and after it. */
  words = nothing;
  private recordAt = 0;
  private recordEnd = 0;
  idAt = 0;
  streamAt = 0;
  streamEnd = 0;
  typeAt = 0;
  typeEnd = 0;
  version = 0;
  position = 0;
  /** Microseconds since 1970, UTC. */
  micros = 0;
  isJson = false;
  dataAt = 0;
  dataEnd = 0;
  /** The id that the client chose, where it is not the record's. */
  otherId = "";
  /** The kinds of tags and entries that the record has, and where they are. */
  private kinds = 0;
  private othersAt = 0;
  private othersEnd = 0;
  /** The metadata bytes of this protocol in the record. */
  private ownAt = 0;
  private ownEnd = 0;
  /** The same, of a record for which the generated codec is needed. */
  private decoded: Buffer | undefined;
  private text: MetadataText | undefined;

  get bytes(): Buffer {
    return this.words.bytes;
  }

  /** Lets go of the record, which is part of its batch. */
  clear(): void {
    this.words = nothing;
    this.decoded = undefined;
  }

  get record(): Buffer {
    return this.bytes.subarray(this.recordAt, this.recordEnd);
  }

  get data(): Uint8Array {
    return this.bytes.subarray(this.dataAt, this.dataEnd);
  }

  /** The metadata bytes of this protocol. */
  get metadata(): Uint8Array {
    for (;;) {
      const into = new Words(Buffer.allocUnsafe(this.metadataBytesMax));
      const end = this.writeMetadata(into, 0);
      if (end !== needsCodec) return into.bytes.subarray(0, end);
    }
  }

  /** What is shown of the record, in bytes, at most. */
  get shownBytesMax(): number {
    const { streamAt, streamEnd, typeAt, typeEnd, dataAt, dataEnd } = this;
    return streamEnd - streamAt + (typeEnd - typeAt) + (dataEnd - dataAt) + this.metadataBytesMax;
  }

  /** About how many there are of them. 0: there are none. */
  get metadataBytesLikely(): number {
    const { kinds, decoded, ownAt, ownEnd, othersAt, othersEnd } = this;
    if (decoded !== undefined) return decoded.length;
    return (kinds & ofThis) > 0 ? ownEnd - ownAt : othersEnd - othersAt;
  }

  /** How many there are of them, at most. */
  private get metadataBytesMax(): number {
    const isText = this.kinds > 0 && (this.kinds & ofThis) === 0 && this.decoded === undefined;
    const likely = this.metadataBytesLikely;
    return isText ? textBytesMax(likely) : likely;
  }

  /**
   * Writes the metadata bytes of this protocol, and returns the offset after them. `needsCodec`:
   * they may be more than was said, and are written the next time.
   */
  writeMetadata(into: Words, at: number): number {
    const { kinds, decoded, words, ownAt, ownEnd, othersAt, othersEnd } = this;
    if (decoded !== undefined) return at + decoded.copy(into.bytes, at);
    // The metadata of this protocol hides what others would be shown of it.
    if ((kinds & ofThis) > 0) return copied(words, ownAt, ownEnd, into, at);
    if (kinds === 0) return at;
    const text = (this.text ??= new MetadataText());
    const end = text.write(words, [othersAt, othersEnd], into, at);
    if (end === needsCodec) this.decodeOthers();
    return end;
  }

  /** The id of the event in this protocol. */
  get id(): string {
    return this.otherId === "" ? this.storedId : this.otherId;
  }

  /** The id of the event in the log. */
  get storedId(): string {
    return this.bytes.toString("latin1", this.idAt, this.idAt + 36);
  }

  get stream(): string {
    return this.bytes.toString("utf8", this.streamAt, this.streamEnd);
  }

  get type(): string {
    return this.bytes.toString("utf8", this.typeAt, this.typeEnd);
  }

  get isLink(): boolean {
    const { bytes, typeAt, typeEnd } = this;
    return typeEnd - typeAt === plainLink.length && hasAt(bytes, typeAt, plainLink);
  }

  /** Whether the record is of a stream that records a lifecycle. */
  get isOfLifecycle(): boolean {
    const { bytes, streamAt, streamEnd } = this;
    if (bytes[streamAt] !== 0x24 || streamEnd - streamAt < lifecyclePrefix.length) return false;
    return hasAt(bytes, streamAt, lifecyclePrefix);
  }

  scan(record: Uint8Array): this {
    return this.scanIn(bufferOf(record), 0, record.length);
  }

  /** The next record of a batch's frames. The reader is at its end then. */
  scanFrame(frames: WireReader): this {
    const end = enterFrame(frames);
    this.scanIn(frames.bytes as Buffer, frames.offset, end);
    frames.offset = end;
    return this;
  }

  /**
   * The record between two offsets. Throws `RangeError` for malformed bytes. The reading of a
   * varint is written out here: this runs for each event of every read.
   */
  private scanIn(bytes: Buffer, from: number, end: number): this {
    if (bytes !== this.words.bytes) this.words = new Words(bytes);
    this.recordAt = from;
    this.recordEnd = end;
    this.streamEnd = this.streamAt = this.typeAt = this.typeEnd = 0;
    this.version = this.micros = 0;
    this.isJson = false;
    this.dataAt = this.dataEnd = this.ownAt = this.ownEnd = 0;
    this.otherId = "";
    this.decoded = undefined;
    let kinds = 0;
    let othersAt = 0;
    let othersEnd = 0;
    let at = from;
    while (at < end) {
      const field = at;
      const tag = bytes[at++] as number;
      if (tag > 0x7f) {
        at = afterField(bytes, field, end);
        continue;
      }
      let value = bytes[at++] as number;
      if (value > 0x7f) {
        value &= 0x7f;
        for (let scale = 0x80, byte = 0x80; byte > 0x7f; scale *= 0x80) {
          byte = bytes[at++] as number;
          value += (byte & 0x7f) * scale;
        }
      }
      const next = (tag & 7) === wireBytes ? at + value : at;
      if (next > end) throw new RangeError("record: field cut off");
      switch (tag) {
        case 0x0a:
          this.idAt = at;
          break;
        case 0x12:
          this.streamAt = at;
          this.streamEnd = next;
          break;
        case 0x1a:
          this.typeAt = at;
          this.typeEnd = next;
          break;
        case 0x22:
        case 0x2a:
          if (othersAt === 0) othersAt = field;
          kinds |= tag === 0x22 ? ofOthers : this.scanEntry(at, next);
          othersEnd = next;
          break;
        case 0x32:
          this.isJson = isJson(bytes, at, next);
          break;
        case 0x3a:
          this.dataAt = at;
          this.dataEnd = next;
          break;
        case 0x48:
          this.version = value;
          break;
        case 0x50:
          this.position = value;
          break;
        case 0x5a:
          this.micros = microsIn(bytes, at, next);
          break;
        default:
          if ((tag & 7) !== wireBytes && (tag & 7) !== wireVarint) {
            throw new RangeError(`record: unknown field ${tag}`);
          }
      }
      at = next;
    }
    this.kinds = kinds;
    this.othersAt = othersAt;
    this.othersEnd = othersEnd;
    if ((kinds & isSpecial) > 0) this.decodeOthers();
    return this;
  }

  /** What kind of entry it is. That of this protocol is taken. */
  private scanEntry(start: number, end: number): number {
    const { bytes } = this;
    const at = start + 2;
    const valueAt = at + plainKey.length;
    if (bytes[start] !== 0x0a) return isSpecial;
    if (!hasAt(bytes, at, prefix)) return ofOthers;
    if (bytes[start + 1] !== plainKey.length || bytes[valueAt] !== 0x12) return isSpecial;
    if (!hasAt(bytes, at, plainKey, prefix.length)) return isSpecial;
    const reader = new WireReader(bytes, valueAt + 1, end);
    if (reader.lengthEnd() !== end) return isSpecial;
    this.ownAt = reader.offset;
    this.ownEnd = end;
    return ofThis;
  }

  private decodeOthers(): void {
    const { tags, metadata } = decodeRecord(this.record);
    const {
      [metadataKey]: own,
      [metadataBase64Key]: binary,
      [clientIdKey]: id,
      ...entries
    } = metadata;
    if (id !== undefined && uuidText(id) === id) this.otherId = id;
    const text =
      tags.length > 0 || Object.keys(entries).length > 0
        ? JSON.stringify(tags.length > 0 ? { ...entries, $tags: tags } : entries)
        : "";
    this.decoded =
      binary !== undefined && own === undefined
        ? Buffer.from(binary, "base64")
        : Buffer.from(own ?? text);
  }
}

/** Behind a field whose tag has several bytes, such as that of a removed record. */
function afterField(bytes: Buffer, at: number, end: number): number {
  const reader = new WireReader(bytes, at, end);
  reader.passOver(reader.varint() & 7);
  return reader.offset;
}

function isJson(bytes: Buffer, at: number, end: number): boolean {
  if (end - at === jsonType.length && hasAt(bytes, at, jsonType)) return true;
  return isJsonContentType(bytes.toString("latin1", at, end));
}

/** The fields of a timestamp: 0x08 seconds, 0x10 nanos. */
function microsIn(bytes: Buffer, from: number, end: number): number {
  let micros = 0;
  let at = from;
  while (at < end) {
    const tag = bytes[at++];
    let value = 0;
    let byte = 0x80;
    for (let scale = 1; byte > 0x7f; scale *= 0x80) {
      byte = bytes[at++] as number;
      value += (byte & 0x7f) * scale;
    }
    if (tag === 0x08) micros += value * 1_000_000;
    else if (tag === 0x10) micros += Math.floor(value / 1_000);
    else throw new RangeError("record: unknown field of a time");
  }
  return micros;
}
