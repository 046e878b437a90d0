// A record of the log, scanned for what this protocol shows of an event, without decoding it:
// offsets into its bytes. One view is used for one record after another.

import { fromBinary } from "@bufbuild/protobuf";
import { isJsonContentType } from "../../../domain/json.ts";
import { lifecycleStream } from "../../../domain/lifecycle/lifecycle-event.ts";
import { WireReader } from "../../../domain/wire.ts";
import { RecordedEventSchema } from "../../../gen/annals/v1/event_pb.js";
import { clientIdKey, metadataBase64Key, metadataKey } from "./content.ts";
import { bufferOf } from "./bytes.ts";

const plainKey = Buffer.from(metadataKey);
const lifecyclePrefix = Buffer.from(lifecycleStream(""));
const jsonType = Buffer.from("application/json");
const nothing: Buffer = Buffer.alloc(0);

export class RecordView {
  bytes: Buffer = Buffer.alloc(0);
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
  /** Where the metadata bytes of this protocol are in `metadataBytes`. */
  metadataAt = 0;
  metadataEnd = 0;
  metadataBytes: Buffer = nothing;
  /** The id that the client chose, where it is not the record's. */
  otherId = "";

  /** Lets go of the record, which is part of its batch. */
  clear(): void {
    this.bytes = this.metadataBytes = nothing;
  }

  get data(): Uint8Array {
    return this.bytes.subarray(this.dataAt, this.dataEnd);
  }

  /** The metadata bytes of this protocol. */
  get metadata(): Uint8Array {
    return this.metadataBytes.subarray(this.metadataAt, this.metadataEnd);
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

  /** Whether the record is of a stream that records a lifecycle. */
  get isOfLifecycle(): boolean {
    const { bytes, streamAt, streamEnd } = this;
    if (bytes[streamAt] !== 0x24 || streamEnd - streamAt < lifecyclePrefix.length) return false;
    return lifecyclePrefix.every((byte, i) => bytes[streamAt + i] === byte);
  }

  scan(record: Uint8Array): this {
    const bytes = bufferOf(record);
    const reader = new WireReader(bytes);
    this.bytes = bytes;
    this.streamEnd = this.streamAt = this.typeAt = this.typeEnd = 0;
    this.version = this.micros = 0;
    this.isJson = false;
    this.dataAt = this.dataEnd = this.metadataAt = this.metadataEnd = 0;
    this.otherId = "";
    let isPlain = true;
    while (!reader.done) {
      const tag = reader.varint();
      switch (tag) {
        case 0x0a:
          reader.offset = this.passId(reader);
          break;
        case 0x12: {
          const end = reader.lengthEnd();
          this.streamAt = reader.offset;
          reader.offset = this.streamEnd = end;
          break;
        }
        case 0x1a: {
          const end = reader.lengthEnd();
          this.typeAt = reader.offset;
          reader.offset = this.typeEnd = end;
          break;
        }
        case 0x22:
          isPlain = false;
          reader.passOver(2);
          break;
        case 0x2a:
          isPlain = this.scanEntry(reader) && isPlain;
          break;
        case 0x32:
          this.isJson = isJson(reader);
          break;
        case 0x3a:
          this.dataEnd = reader.lengthEnd();
          this.dataAt = reader.offset;
          reader.offset = this.dataEnd;
          break;
        case 0x48:
          this.version = reader.varint();
          break;
        case 0x50:
          this.position = reader.varint();
          break;
        case 0x5a:
          this.micros = microsIn(reader);
          break;
        default:
          reader.passOver(tag & 7);
      }
    }
    if (!isPlain) this.scanOther(record);
    return this;
  }

  private passId(reader: WireReader): number {
    const end = reader.lengthEnd();
    this.idAt = reader.offset;
    return end;
  }

  /** True: the entry is the metadata of this protocol. */
  private scanEntry(reader: WireReader): boolean {
    const end = reader.lengthEnd();
    const { bytes } = this;
    const at = reader.offset + 2;
    const valueAt = at + plainKey.length;
    reader.offset = end;
    const isOwn =
      bytes[at - 2] === 0x0a &&
      bytes[at - 1] === plainKey.length &&
      bytes[valueAt] === 0x12 &&
      bytes.compare(plainKey, 0, plainKey.length, at, valueAt) === 0;
    if (!isOwn) return false;
    reader.offset = valueAt + 1;
    const isWhole = reader.lengthEnd() === end;
    this.metadataBytes = bytes;
    this.metadataAt = reader.offset;
    this.metadataEnd = end;
    reader.offset = end;
    return isWhole;
  }

  /** Tags, and metadata of other clients or of other kinds. */
  private scanOther(record: Uint8Array): void {
    const { tags, metadata } = fromBinary(RecordedEventSchema, record);
    const {
      [metadataKey]: own,
      [metadataBase64Key]: binary,
      [clientIdKey]: id,
      ...entries
    } = metadata;
    if (id !== undefined && /^[0-9a-f-]{36}$/.test(id)) this.otherId = id;
    const text =
      tags.length > 0 || Object.keys(entries).length > 0
        ? JSON.stringify(tags.length > 0 ? { ...entries, $tags: tags } : entries)
        : "";
    this.metadataBytes =
      binary !== undefined && own === undefined
        ? Buffer.from(binary, "base64")
        : Buffer.from(own ?? text);
    this.metadataAt = 0;
    this.metadataEnd = this.metadataBytes.length;
  }
}

function isJson(reader: WireReader): boolean {
  const end = reader.lengthEnd();
  const { offset } = reader;
  reader.offset = end;
  const bytes = reader.bytes as Buffer;
  if (bytes.compare(jsonType, 0, jsonType.length, offset, end) === 0) return true;
  return isJsonContentType(bytes.toString("latin1", offset, end));
}

function microsIn(reader: WireReader): number {
  const end = reader.lengthEnd();
  let micros = 0;
  while (reader.offset < end) {
    const part = reader.varint();
    if (part === 0x08) micros += reader.varint() * 1_000_000;
    else if (part === 0x10) micros += Math.floor(reader.varint() / 1_000);
    else reader.passOver(part & 7);
  }
  return micros;
}
