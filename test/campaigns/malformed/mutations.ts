// Protobuf messages corrupted on purpose: a valid one is taken apart into its fields, wherever bytes may
// be a message themselves, and something is done to one of them; now and then to the bytes as such.

interface Field {
  readonly tag: number;
  /** Of the field with its tag and length. */
  readonly start: number;
  readonly end: number;
  /** Of a length-delimited value. */
  readonly valueStart: number;
}

const nestingMax = 6;
const growthBytesMax = 200_000;

/** Another message out of this one. Some of them are still valid. */
export function mutated(message: Buffer, random: () => number): Buffer {
  let bytes = message;
  const times = 1 + Math.floor(random() * 3);
  for (let i = 0; i < times; i++) bytes = mutatedOnce(bytes, random, 0);
  return bytes.length > growthBytesMax ? bytes.subarray(0, growthBytesMax) : bytes;
}

function mutatedOnce(message: Buffer, random: () => number, depth: number): Buffer {
  const fields = fieldsOf(message);
  if (fields === undefined || fields.length === 0 || random() < 0.1)
    return garbled(message, random);
  const field = fields[Math.floor(random() * fields.length)] as Field;
  const value = message.subarray(field.valueStart, field.end);
  const whole = message.subarray(field.start, field.end);
  const replaced = (by: Buffer): Buffer =>
    Buffer.concat([message.subarray(0, field.start), by, message.subarray(field.end)]);
  const isBytes = (field.tag & 7) === 2;
  if (isBytes && depth < nestingMax && random() < 0.6) {
    return replaced(withLength(field.tag, mutatedOnce(value, random, depth + 1)));
  }
  switch (Math.floor(random() * 10)) {
    case 0:
      return replaced(Buffer.alloc(0));
    case 1:
      return replaced(
        Buffer.concat(Array.from({ length: 2 + Math.floor(random() * 40) }, () => whole)),
      );
    case 2: // Another type under the same number.
      return replaced(Buffer.concat([varint((field.tag & ~7) | Math.floor(random() * 8)), value]));
    case 3: // Another number.
      return replaced(withLength(((1 + Math.floor(random() * 40)) << 3) | 2, value));
    case 4: // A length that lies.
      return replaced(Buffer.concat([varint(field.tag), extreme(random), value]));
    case 5:
      return replaced(Buffer.concat([varint(field.tag & ~7), extreme(random)]));
    case 6: // Text that is none.
      return replaced(
        withLength(field.tag, Buffer.from([0xc3, 0x28, 0x00, 0x7f, 0xed, 0xa0, 0x80])),
      );
    case 7: // Far too long.
      return replaced(withLength(field.tag, Buffer.alloc(Math.floor(random() * 5_000), 0x61)));
    case 8: // Itself inside itself.
      return replaced(nested(field.tag, value, 1 + Math.floor(random() * 150)));
    default:
      return message.subarray(0, field.start + Math.floor(random() * whole.length));
  }
}

function garbled(message: Buffer, random: () => number): Buffer {
  const bytes = Buffer.from(message);
  if (bytes.length === 0) return Buffer.from([Math.floor(random() * 256)]);
  for (let i = 0; i <= Math.floor(random() * 4); i++) {
    const at = Math.floor(random() * bytes.length);
    bytes[at] = (bytes[at] as number) ^ (1 << Math.floor(random() * 8));
  }
  return bytes;
}

function nested(tag: number, value: Buffer, depth: number): Buffer {
  let inner = value;
  for (let i = 0; i < depth; i++) inner = withLength(tag, inner);
  return inner;
}

function withLength(tag: number, value: Buffer): Buffer {
  return Buffer.concat([varint((tag & ~7) | 2), varint(value.length), value]);
}

const extremes = [0, 1, 0x7f, 0xff, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 53 - 1, 2 ** 53];

function extreme(random: () => number): Buffer {
  if (random() < 0.2) return Buffer.alloc(1 + Math.floor(random() * 14), 0xff);
  return varint(extremes[Math.floor(random() * extremes.length)] as number);
}

function varint(value: number): Buffer {
  const bytes: number[] = [];
  let rest = value;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) bytes.push((rest % 0x80) | 0x80);
  return Buffer.from([...bytes, rest]);
}

/** Undefined where the bytes are no message. */
function fieldsOf(message: Buffer): Field[] | undefined {
  const fields: Field[] = [];
  let at = 0;
  const read = (): number => {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = message[at++];
      if (byte === undefined || scale > 2 ** 56) return Number.NaN;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 0x80;
    }
  };
  while (at < message.length) {
    const start = at;
    const tag = read();
    let valueStart = at;
    switch (tag & 7) {
      case 0:
        read();
        break;
      case 1:
        at += 8;
        break;
      case 2: {
        const length = read();
        valueStart = at;
        at += length;
        break;
      }
      case 5:
        at += 4;
        break;
      default:
        return undefined;
    }
    if (!(at <= message.length) || !(tag >= 8)) return undefined;
    fields.push({ tag, start, end: at, valueStart });
  }
  return fields;
}
