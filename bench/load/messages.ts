// What arrives on a call, looked at no closer than needed: whole messages where their content
// matters, and events counted by hopping over their lengths where it does not.

const prefixBytes = 5;
const wireBytes = 2;

/** The gRPC message with its prefix (not compressed, length). */
export function framed(message: Uint8Array): Buffer {
  const bytes = Buffer.allocUnsafe(prefixBytes + message.length);
  bytes[0] = 0;
  bytes.writeUInt32BE(message.length, 1);
  bytes.set(message, prefixBytes);
  return bytes;
}

/** Puts messages together again. They are valid only during the call that hands them on. */
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
  /** Where events stand: in a batch that is field 1 of the message, or directly in field 1. */
  readonly inBatch: boolean;
  /** The first event of a message, where it came in one piece: most of them. */
  readonly first?: (event: Buffer) => void;
  readonly message?: (eventCount: number) => void;
  /** A field of a message that is not its batch. */
  readonly other?: (field: number) => void;
}

/** Counts the events of a stream of messages without putting anything together. */
export class EventCounter {
  messages = 0;
  events = 0;
  private readonly options: EventCounterOptions;
  private prefixUsed = 0;
  private prefixLength = 0;
  /** Bytes of the message behind what is being skipped. */
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
