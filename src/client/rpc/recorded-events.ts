// Decodes the messages of reads, subscriptions and loads, which are batches of recorded events.
// Almost every record has one form. Its fields are taken here by hand, and its texts out of one
// string. Whatever looks different in any way (an unknown field, one that comes twice, other than
// canonical bytes) is left to the generated codec, which decodes or refuses it.

import { fromBinary, type DescMessage, type MessageShape } from "@bufbuild/protobuf";
import {
  EventBatchSchema,
  RecordedEventSchema,
  type EventBatch,
  type RecordedEvent,
} from "../../gen/annals/v1/event_pb.js";

type Bytes = Buffer;
type Time = NonNullable<RecordedEvent["recordedAt"]>;

/** Where a message has its batch: the member of a oneof, and its tag on the wire. */
interface BatchField {
  readonly oneof: string;
  readonly name: string;
  readonly tag: number;
}

const lengthDelimited = 2;
const frameTag = 0x0a;
/** Texts up to so many bytes apart are read at once. A text keeps what was read with it. */
const windowBytes = 256;

/** Decodes the messages of a kind, as `fromBinary` does. */
export function decoderOf<D extends DescMessage>(output: D): (bytes: Bytes) => MessageShape<D> {
  const field = batchFieldOf(output);
  if (field === undefined) return (bytes) => fromBinary(output, bytes);
  return (bytes) => withBatch(output, field, bytes) ?? fromBinary(output, bytes);
}

function batchFieldOf({ fields }: DescMessage): BatchField | undefined {
  for (const { message, oneof, number, localName } of fields) {
    if (message?.typeName !== EventBatchSchema.typeName || oneof === undefined) continue;
    return { oneof: oneof.localName, name: localName, tag: (number << 3) | lengthDelimited };
  }
  return undefined;
}

/** Undefined: the message does not begin with a batch, or is not as usual. */
function withBatch<D extends DescMessage>(
  output: D,
  { oneof, name, tag }: BatchField,
  bytes: Bytes,
): MessageShape<D> | undefined {
  if (bytes[0] !== tag) return undefined;
  try {
    const reader = new RecordReader(bytes, 1, bytes.length);
    const end = reader.lengthEnd();
    const value = batchIn(bytes, reader.at, end);
    const message = fromBinary(output, bytes.subarray(end));
    const members = message as unknown as Record<string, { case?: string; value?: unknown }>;
    // Another batch, or another member of the oneof: the last one counts.
    if (members[oneof]?.case !== undefined) return undefined;
    members[oneof] = { case: name, value };
    return message;
  } catch {
    return undefined;
  }
}

/** Throws `unusual`, or what the generated codec throws. */
function batchIn(bytes: Bytes, start: number, batchEnd: number): EventBatch {
  const events: RecordedEvent[] = [];
  const framing = new RecordReader(bytes, start, batchEnd);
  while (framing.at < batchEnd) {
    if (bytes[framing.at++] !== frameTag) throw unusual;
    const end = framing.lengthEnd();
    events.push(recordIn(bytes, framing.at, end));
    framing.at = end;
  }
  return { $typeName: "annals.v1.EventBatch", events };
}

function recordIn(bytes: Bytes, start: number, end: number): RecordedEvent {
  try {
    return new RecordReader(bytes, start, end).record();
  } catch {
    return fromBinary(RecordedEventSchema, bytes.subarray(start, end));
  }
}

const unusual = new Error("not of the usual form");
const strictText = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Every method throws `unusual`, or a `TypeError` on text that is not UTF-8. */
class RecordReader {
  at: number;
  private readonly bytes: Bytes;
  private readonly end: number;
  private window = "";
  private windowStart = 0;
  private windowEnd = 0;

  constructor(bytes: Bytes, start: number, end: number) {
    this.bytes = bytes;
    this.at = start;
    this.end = end;
  }

  record(): RecordedEvent {
    const { bytes } = this;
    const tags: string[] = [];
    const metadata: Record<string, string> = {};
    let [id, stream, type, contentType, principal, traceParent] = ["", "", "", "", "", ""];
    let data = noBytes;
    let [version, position] = [0, 0];
    let recordedAt: Time | undefined;
    let seen = 0;
    while (this.at < this.end) {
      const tag = bytes[this.at++] as number;
      if (tag === 0x22) {
        tags.push(this.text());
        continue;
      }
      if (tag === 0x2a) {
        this.entry(metadata);
        continue;
      }
      // Each of the others comes once.
      const bit = 1 << (tag >>> 3);
      if ((seen & bit) !== 0) throw unusual;
      seen |= bit;
      if (tag === 0x0a) id = this.ownText();
      else if (tag === 0x12) stream = this.text();
      else if (tag === 0x1a) type = this.text();
      else if (tag === 0x32) contentType = this.text();
      else if (tag === 0x3a) data = this.view();
      else if (tag === 0x48) version = this.number();
      else if (tag === 0x50) position = this.number();
      else if (tag === 0x5a) recordedAt = this.time();
      else if (tag === 0x62) principal = this.text();
      else if (tag === 0x6a) traceParent = this.text();
      else throw unusual;
    }
    if (recordedAt === undefined) throw unusual;
    return {
      $typeName: "annals.v1.RecordedEvent",
      id,
      stream,
      type,
      tags,
      metadata,
      contentType,
      data,
      version: BigInt(version),
      position: BigInt(position),
      recordedAt,
      principal,
      traceParent,
    };
  }

  /** Reads the length of a field, and returns the offset of its end. */
  lengthEnd(): number {
    const length = this.number();
    const end = this.at + length;
    if (end > this.end) throw unusual;
    return end;
  }

  /** A varint of at most 2^53 - 1, in as few bytes as it needs. */
  private number(): number {
    const first = this.bytes[this.at] as number;
    if (this.at < this.end && first < 0x80) {
      this.at++;
      return first;
    }
    let result = 0;
    let scale = 1;
    for (let i = 0; i < 8 && this.at < this.end; i++) {
      const byte = this.bytes[this.at++] as number;
      result += (byte & 0x7f) * scale;
      scale *= 0x80;
      if (byte >= 0x80) continue;
      if (byte === 0 || result > Number.MAX_SAFE_INTEGER) throw unusual;
      return result;
    }
    throw unusual;
  }

  private view(): Uint8Array {
    const end = this.lengthEnd();
    const view = this.bytes.subarray(this.at, end);
    this.at = end;
    return view;
  }

  /** A text that keeps nothing else: consumers remember ids. */
  private ownText(): string {
    const end = this.lengthEnd();
    const start = this.at;
    this.at = end;
    const isPlain = this.isAscii(start, end);
    return isPlain ? this.bytes.toString("latin1", start, end) : this.decoded(start, end);
  }

  private text(): string {
    const end = this.lengthEnd();
    const start = this.at;
    this.at = end;
    if (!this.isAscii(start, end)) return this.decoded(start, end);
    if (end > this.windowEnd || start < this.windowStart) this.read(start, end);
    return this.window.slice(start - this.windowStart, end - this.windowStart);
  }

  private isAscii(start: number, end: number): boolean {
    for (let i = start; i < end; i++) if ((this.bytes[i] as number) >= 0x80) return false;
    return true;
  }

  private decoded(start: number, end: number): string {
    return strictText.decode(this.bytes.subarray(start, end));
  }

  private read(start: number, end: number): void {
    this.windowStart = start;
    this.windowEnd = Math.max(end, Math.min(this.end, start + windowBytes));
    this.window = this.bytes.toString("latin1", start, this.windowEnd);
  }

  /** An entry of the metadata, its key before its value. */
  private entry(metadata: Record<string, string>): void {
    const end = this.lengthEnd();
    if (this.bytes[this.at++] !== 0x0a) throw unusual;
    const key = this.text();
    if (this.at >= end || this.bytes[this.at++] !== 0x12) throw unusual;
    const value = this.text();
    if (this.at !== end || key === "__proto__") throw unusual;
    metadata[key] = value;
  }

  private time(): Time {
    const end = this.lengthEnd();
    if (this.bytes[this.at++] !== 0x08) throw unusual;
    const seconds = BigInt(this.number());
    let nanos = 0;
    if (this.at < end) {
      if (this.bytes[this.at++] !== 0x10) throw unusual;
      nanos = this.number();
    }
    if (this.at !== end || nanos >= 1_000_000_000) throw unusual;
    return { $typeName: "google.protobuf.Timestamp", seconds, nanos };
  }
}

const noBytes: Uint8Array = new Uint8Array();
