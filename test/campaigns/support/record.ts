// Decodes answers with code that shares nothing with the server's.

/** What the server added to an event: fields 9 to 11 of `RecordedEvent`. */
export interface Place {
  readonly version: number;
  readonly position: number;
  /** Microseconds since 1970. */
  readonly recordedAt: number;
}

/** The fields of a record from `offset` on. Undefined: there are other fields. */
export function placeIn(record: Buffer, offset: number): Place | undefined {
  const reader = new Reader(record, offset);
  let [version, position, recordedAt] = [0, 0, 0];
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x48) version = reader.varint();
    else if (tag === 0x50) position = reader.varint();
    else if (tag === 0x5a) recordedAt += microsecondsIn(reader.bytes());
    else return undefined;
  }
  return Number.isNaN(recordedAt) ? undefined : { version, position, recordedAt };
}

/** The microseconds of a Timestamp. NaN: it has other fields. */
function microsecondsIn(timestamp: Buffer): number {
  const reader = new Reader(timestamp, 0);
  let microseconds = 0;
  while (!reader.done) {
    const tag = reader.varint();
    if (tag === 0x08) microseconds += reader.varint() * 1_000_000;
    else if (tag === 0x10) microseconds += Math.floor(reader.varint() / 1_000);
    else return Number.NaN;
  }
  return microseconds;
}

/** The values of field 1, if there are no other fields: the records of an `EventBatch`. */
export function* recordsOf(batch: Buffer): Generator<Buffer> {
  const reader = new Reader(batch, 0);
  while (!reader.done) {
    if (reader.varint() !== 0x0a) throw new RangeError("not a batch of events");
    yield reader.bytes();
  }
}

/** The batch of an answer to Read or Subscribe. Undefined: it is another message. */
export function batchOf(message: Buffer): Buffer | undefined {
  return message[0] === 0x0a ? new Reader(message, 1).bytes() : undefined;
}

class Reader {
  private readonly buffer: Buffer;
  private offset: number;

  constructor(buffer: Buffer, offset: number) {
    this.buffer = buffer;
    this.offset = offset;
  }

  get done(): boolean {
    return this.offset >= this.buffer.length;
  }

  varint(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.buffer[this.offset++];
      if (byte === undefined) throw new RangeError("cut off");
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  }

  bytes(): Buffer {
    const length = this.varint();
    const end = this.offset + length;
    if (end > this.buffer.length) throw new RangeError("cut off");
    const found = this.buffer.subarray(this.offset, end);
    this.offset = end;
    return found;
  }
}
