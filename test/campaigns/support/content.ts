// The content of every event of a campaign follows from its writer, the number of its append and
// its index in it. A reader can therefore tell whether every byte is right without remembering what
// was sent.

/** The properties of an append, without the numbers of its events. */
export interface Shape {
  /** Event i goes to stream i modulo the number of streams. */
  readonly streams: readonly string[];
  readonly type: string;
  readonly tags: readonly string[];
  /** 1 to 4,000. */
  readonly count: number;
  /** Payloads have up to this many bytes. */
  readonly bytesMax: number;
}

export interface EventNumber {
  readonly writer: number;
  readonly append: number;
  readonly index: number;
}

const idBytes = 36;
const poolBytes = 1 << 17;
const scratchBytes = 1 << 17;
const contentType = "application/octet-stream";
/** The tag and length of the id, one of an event's first fields. */
const idTag = 0x0a;

/** A 32-bit number that depends on all of the given ones. */
export function mix(...numbers: readonly number[]): number {
  let state = 0x811c_9dc5;
  for (const number of numbers) {
    state = Math.imul(state ^ (number | 0), 0x85eb_ca6b);
    state = Math.imul(state ^ (state >>> 13), 0xc2b2_ae35);
    state ^= state >>> 16;
  }
  return state >>> 0;
}

/** Payloads are cut from this. One half of it compresses, the other does not. */
const pool = (() => {
  const bytes = Buffer.allocUnsafe(poolBytes);
  for (let at = 0; at < poolBytes; at += 4) {
    const word = at % 8_192 < 4_096 ? mix(at) : mix(at >>> 7) & 0x0f0f_0f0f;
    bytes.writeInt32LE(word | 0, at);
  }
  return bytes;
})();

const scratch = Buffer.allocUnsafe(scratchBytes);

/** The encoded `NewEvent`. Valid until the next call. */
export function eventBody(seed: number, shape: Shape, event: EventNumber): Buffer {
  const { writer, append, index } = event;
  const salt = mix(seed, writer, append, index);
  const more = mix(salt, 7);
  let at = writeText(0, 1, eventId(event, salt, more));
  at = writeText(at, 2, shape.streams[index % shape.streams.length] as string);
  at = writeText(at, 3, shape.type);
  for (const tag of shape.tags) at = writeText(at, 4, tag);
  at = writeText(at, 6, contentType);
  const bytes = shape.bytesMax === 0 ? 0 : more % (shape.bytesMax + 1);
  if (bytes === 0) return scratch.subarray(0, at);
  scratch[at] = 0x3a;
  at = writeVarint(at + 1, bytes);
  const from = salt % (poolBytes - bytes);
  pool.copy(scratch, at, from, from + bytes);
  return scratch.subarray(0, at + bytes);
}

/** `wwwwwwww-aaaa-7aaa-8iii-ssssssssssss`, in hexadecimal. */
function eventId({ writer, append, index }: EventNumber, salt: number, more: number): string {
  const a = hex(append, 7);
  const salted = hex(salt, 8) + hex(more & 0xffff, 4);
  return `${hex(writer, 8)}-${a.slice(0, 4)}-7${a.slice(4)}-8${hex(index, 3)}-${salted}`;
}

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, "0");
}

/**
 * Which event a record claims to be, by its id alone. Undefined: it is not an event of the
 * campaign.
 */
export function numberOf(record: Buffer): EventNumber | undefined {
  if (record[0] !== idTag || record[1] !== idBytes) return undefined;
  const writer = hexIn(record, 2, 8);
  const append = hexIn(record, 11, 4) * 0x1000 + hexIn(record, 17, 3);
  const index = hexIn(record, 22, 3);
  const sum = writer + append + index;
  return Number.isNaN(sum) ? undefined : { writer, append, index };
}

function hexIn(bytes: Buffer, at: number, count: number): number {
  let value = 0;
  for (let i = at; i < at + count; i++) {
    const byte = bytes[i] as number;
    const digit = byte >= 0x61 ? byte - 0x57 : byte - 0x30;
    if (digit < 0 || digit > 15) return Number.NaN;
    value = value * 16 + digit;
  }
  return value;
}

function writeText(at: number, field: number, text: string): number {
  scratch[at] = (field << 3) | 2;
  const begin = writeVarint(at + 1, text.length);
  return begin + scratch.write(text, begin, "latin1");
}

function writeVarint(at: number, value: number): number {
  let rest = value;
  while (rest >= 0x80) {
    scratch[at++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  scratch[at++] = rest;
  return at;
}
