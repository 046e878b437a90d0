// Reads the messages that arrive on a call: whole messages if their content matters, otherwise only
// counts their events by skipping over lengths.

const prefixBytes = 5;
const wireBytes = 2;

/** The gRPC message with its prefix (uncompressed flag, length). */
export function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefixBytes);
  return bytes;
}

/** Assembles messages. A message is valid only during the call that passes it on. */
export class MessageReader {
  private readonly receive: (message: Buffer) => void;
  private rest: Buffer | undefined;

  constructor(receive: (message: Buffer) => void) {
    this.receive = receive;
  }

  received(bytes: Buffer, start: number, end: number): void {
    let chunk = bytes;
    if (this.rest) {
      chunk = Buffer.concat([this.rest, bytes.subarray(start, end)]);
      start = 0;
      end = chunk.length;
      this.rest = undefined;
    }
    while (end - start >= prefixBytes) {
      const next = start + prefixBytes + chunk.readUInt32BE(start + 1);
      if (next > end) break;
      this.receive(chunk.subarray(start + prefixBytes, next));
      start = next;
    }
    if (start < end) this.rest = Buffer.from(chunk.subarray(start, end));
  }
}

export interface EventCounterOptions {
  /** Whether events are in a batch in field 1 of the message, or directly in field 1. */
  readonly inBatch: boolean;
  /** The first event of a message, if it arrived in one part, as most do. */
  readonly first?: (event: Buffer) => void;
  readonly message?: (eventCount: number) => void;
  /** A field of a message other than its batch. */
  readonly other?: (field: number) => void;
}

/** Counts the events of a stream of messages without assembling them. */
export class EventCounter {
  messages = 0;
  events = 0;
  private readonly options: EventCounterOptions;
  private prefixUsed = 0;
  private prefixLength = 0;
  /** Bytes of the message after the bytes being skipped. */
  private messageLeft = 0;
  private batchLeft = 0;
  private skip = 0;
  private tag = -1;
  private length = 0;
  private scale = 1;
  private messageEvents = 0;

  constructor(options: EventCounterOptions) {
    this.options = options;
  }

  received(bytes: Buffer, start: number, end: number): void {
    let at = start;
    while (at < end) {
      if (this.skip > 0) {
        const count = Math.min(this.skip, end - at);
        at += count;
        this.skip -= count;
      } else if (this.messageLeft === 0) {
        this.prefixByte(bytes[at++] as number);
        continue;
      } else {
        const byte = bytes[at++] as number;
        this.messageLeft--;
        if (this.batchLeft > 0) this.batchLeft--;
        if (this.tag < 0) this.tag = byte;
        else this.value(byte, bytes, at, end);
      }
      if (this.messageLeft === 0 && this.skip === 0) this.messageEnded();
    }
  }

  private prefixByte(byte: number): void {
    if (this.prefixUsed > 0) this.prefixLength = this.prefixLength * 256 + byte;
    this.prefixUsed++;
    if (this.prefixUsed < prefixBytes) return;
    this.messageLeft = this.prefixLength;
    this.prefixUsed = 0;
    this.prefixLength = 0;
    if (this.messageLeft === 0) this.messageEnded();
  }

  /** A byte of a field's varint: its value, or its length. */
  private value(byte: number, bytes: Buffer, at: number, end: number): void {
    this.length += (byte & 0x7f) * this.scale;
    this.scale *= 0x80;
    if (byte >= 0x80) return;
    const { tag, length } = this;
    this.tag = -1;
    this.length = 0;
    this.scale = 1;
    if ((tag & 7) !== wireBytes) return;
    const top = this.batchLeft === 0;
    if (top && tag === 0x0a && this.options.inBatch) {
      this.batchLeft = length;
      return;
    }
    this.skip = length;
    this.messageLeft -= length;
    if (!top) this.batchLeft -= length;
    if (tag !== 0x0a) {
      this.options.other?.(tag >>> 3);
      return;
    }
    this.events++;
    this.messageEvents++;
    if (this.messageEvents === 1 && this.options.first && end - at >= length) {
      this.options.first(bytes.subarray(at, at + length));
    }
  }

  private messageEnded(): void {
    this.messages++;
    this.options.message?.(this.messageEvents);
    this.messageEvents = 0;
    this.batchLeft = 0;
  }
}
