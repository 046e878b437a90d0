// HalfSipHash-1-3 (Aumasson and Bernstein: SipHash with 32-bit words) over whole words, with a
// random key for this process, so that clients cannot choose names of streams and tags that
// collide.

import { randomFillSync } from "node:crypto";

export type HashKey = readonly [number, number];

export function randomKey(): HashKey {
  const words = randomFillSync(new Int32Array(2));
  return [words[0] as number, words[1] as number];
}

/** The hash of the first `length` words: 32 bits, unsigned. */
export function keyedHash(key: HashKey, words: Int32Array, length: number): number {
  const [k0, k1] = key;
  let v0 = k0;
  let v1 = k1;
  let v2 = k0 ^ 0x6c79_6765;
  let v3 = k1 ^ 0x7465_6462;
  // One round for each word and for the last one, which is the length, and three to finish.
  const rounds = length + 4;
  for (let round = 0; round < rounds; round++) {
    let word = 0;
    if (round < length) word = words[round] as number;
    else if (round === length) word = length << 26;
    else if (round === length + 1) v2 ^= 0xff;
    v3 ^= word;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= word;
  }
  return (v1 ^ v3) >>> 0;
}
