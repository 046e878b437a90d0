// Makes event ids: UUIDs of version 7 (RFC 9562, section 5.7), each greater than the one before it
// in this process, even if the clock does not advance or is set back.

import { randomFillSync } from "node:crypto";

/** Bits 0-47 milliseconds, 4 version, 12 counter (section 6.2, method 1), 2 variant, 62 random. */
const counterMax = 0xfff;
/** The counter of a millisecond begins below half, so that it has room to grow. */
const counterStartMask = 0x7ff;
const poolBytes = 4_096;
/** Per id: 2 bytes for the counter's start, 8 for the random part. */
const bytesPerId = 10;

const hex = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

/** Returns a function that makes one id at a time. `now` returns milliseconds since 1970. */
export function createIdMaker(now: () => number): () => string {
  const pool = Buffer.alloc(poolBytes);
  let used = poolBytes;
  let time = 0;
  let counter = 0;
  return () => {
    if (used + bytesPerId > poolBytes) {
      randomFillSync(pool);
      used = 0;
    }
    const random = used;
    used += bytesPerId;
    const clock = now();
    if (clock > time) {
      time = clock;
      counter = pool.readUInt16BE(random) & counterStartMask;
    } else if (++counter > counterMax) {
      time++;
      counter = 0;
    }
    return compose(time, counter, pool, random + 2);
  };
}

function compose(time: number, counter: number, random: Buffer, at: number): string {
  const timeText = time.toString(16).padStart(12, "0");
  const counterText = (0x7000 | counter).toString(16);
  const byte = (i: number): string => hex[random[at + i] as number] as string;
  const variant = hex[((random[at] as number) & 0x3f) | 0x80] as string;
  const node = byte(2) + byte(3) + byte(4) + byte(5) + byte(6) + byte(7);
  const head = `${timeText.slice(0, 8)}-${timeText.slice(8)}-${counterText}`;
  return `${head}-${variant}${byte(1)}-${node}`;
}
