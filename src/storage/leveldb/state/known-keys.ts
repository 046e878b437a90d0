// Which keys of new terms and of events' ids may be in the database: a look-up of what was never
// there takes no trip to LevelDB. A Bloom filter that always knows what was written, and takes one
// in a hundred of other keys for known. Its layers grow with what is in them: 1.5 bytes a key, up
// to 27 MiB for 18 million keys. With more of them it answers wrongly more often, on the safe side.
//
// A key enters the filter before it is written, so that it cannot be found before it is known.
// Until the filter holds all that was there when the store opened, it says nothing.

import { randomFillSync } from "node:crypto";
import { setImmediate } from "node:timers/promises";
import { memoryShare } from "../../../process-memory.ts";
import { prefixId, prefixTerm } from "../format/keys.ts";
import type { Entry, Kv, Scan } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";

/** A key's bits are in one block, so that a look-up reads one line of the processor's cache. */
const blockWords = 16;
const blockBits = blockWords * 32;
const probes = 6;
const bitsPerKey = 12;
const layerWordsFirst = 2 ** 15;
const layerGrowth = 4;
const layerWordsMax = 2 ** 22;
const wordsMax = 2 ** 23 * memoryShare;

/** Keys that are added in one turn of the event loop: about a millisecond. */
const keysPerTurn = 2_000;
const pageBytes = 64 * 1024;
const kinds = [prefixTerm, prefixId];

/** Waits after work that took `ms`, so that it leaves the thread to others. */
type Rest = (ms: number) => Promise<void>;

export class KnownKeys {
  private layers: Layer[] = [];
  private holdsAll = false;

  /** Whether it can tell what is not there. */
  get isComplete(): boolean {
    return this.holdsAll;
  }

  get bytes(): number {
    return this.layers.reduce((sum, { bytes }) => sum + bytes, 0);
  }

  /** False: the key is not in the database. */
  mayHave(key: Uint8Array): boolean {
    if (!this.holdsAll || !isKept(key)) return true;
    const length = ask(key);
    return this.layers.some((layer) => layer.has(length));
  }

  /** Called before the key is written. */
  add(key: Uint8Array): void {
    const length = ask(key);
    (this.layers.find(({ isFull }) => !isFull) ?? this.newest()).add(length);
  }

  /** The database, with look-ups that need no trip where none of the keys was ever there. */
  over(kv: Kv): Kv {
    return {
      ...kv,
      getMany: (keys) => this.getMany(kv, keys),
      write: async (operations) => {
        let sinceTurn = 0;
        for (const [key, value] of operations) {
          if (value === undefined || !isKept(key)) continue;
          this.add(key);
          if (++sinceTurn % keysPerTurn === 0) await setImmediate();
        }
        return kv.write(operations);
      },
    };
  }

  /** Reads all keys of the database, while it is in use. Ends early where the signal says so. */
  async learn(kv: Kv, rest: Rest, signal: AbortSignal): Promise<void> {
    for (const kind of kinds) {
      const last = Buffer.from([kind + 1]);
      const range = { first: Buffer.from([kind]), last, limit: keysPerTurn, keysOnly: true };
      const scan = openScan(kv, { ...range, bytesMax: pageBytes, fillCache: false });
      try {
        await this.learnFrom(scan, rest, signal);
      } finally {
        await scan.close();
      }
      if (signal.aborted) return;
    }
    this.holdsAll = true;
  }

  /** For the next start. Nothing, unless it is complete. */
  pack(): Int32Array<ArrayBuffer>[] {
    if (!this.holdsAll) return [];
    return this.layers.flatMap((layer) => [layer.head, layer.bits]);
  }

  /** Takes what was packed of the same database. Returns whether it is that. */
  unpack(parts: readonly Int32Array<ArrayBuffer>[]): boolean {
    const layers: Layer[] = [];
    for (let i = 0; i + 1 < parts.length; i += 2) {
      const layer = Layer.of(parts[i] as Int32Array, parts[i + 1] as Int32Array<ArrayBuffer>);
      if (layer === undefined) return false;
      layers.push(layer);
    }
    // A server with less memory makes a smaller one.
    if (layers.reduce((sum, { words }) => sum + words, 0) > wordsMax) return false;
    // What was written since the start is in layers of its own.
    this.layers.unshift(...layers);
    this.holdsAll = true;
    return true;
  }

  /** Another layer, or where there are enough of them the largest one. */
  private newest(): Layer {
    let [all, largest] = [0, 0];
    for (const { words } of this.layers) {
      all += words;
      largest = Math.max(largest, words);
    }
    const words = Math.max(layerWordsFirst, Math.min(largest * layerGrowth, layerWordsMax));
    if (all + words > wordsMax) return this.layers.find((each) => each.words === largest) as Layer;
    const layer = new Layer(new Int32Array(words));
    this.layers.push(layer);
    return layer;
  }

  private async getMany(kv: Kv, keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]> {
    if (!this.holdsAll) return kv.getMany(keys);
    const asked = keys.filter((key) => this.mayHave(key));
    if (asked.length === keys.length) return kv.getMany(keys);
    if (asked.length === 0) return keys.map(() => undefined);
    const values = (await kv.getMany(asked)).values();
    const isAsked = new Set(asked);
    return keys.map((key) => (isAsked.has(key) ? values.next().value : undefined));
  }

  private async learnFrom(scan: Scan, rest: Rest, signal: AbortSignal): Promise<void> {
    for (let page: Entry[]; !signal.aborted;) {
      page = await scan.next();
      if (page.length === 0) return;
      const since = performance.now();
      for (const [key] of page) if (isKept(key)) this.add(key);
      await rest(performance.now() - since);
    }
  }
}

function isKept(key: Uint8Array): boolean {
  return key[0] === prefixTerm || key[0] === prefixId;
}

/** The key that is looked up, in whole words behind its length. Grows with the longest one. */
let askedBytes = Buffer.alloc(1_024);
let asked = wordsOf(askedBytes);

function ask(key: Uint8Array): number {
  const size = key.length;
  const length = 1 + ((size + 3) >>> 2);
  if (asked.length < length) {
    askedBytes = Buffer.alloc(length * 8);
    asked = wordsOf(askedBytes);
  }
  asked[length - 1] = 0;
  asked[0] = size;
  askedBytes.set(key, 4);
  return length;
}

function wordsOf(bytes: Buffer): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

class Layer {
  readonly bits: Int32Array<ArrayBuffer>;
  private readonly blockMask: number;
  private readonly keys: readonly [HashKey, HashKey];
  private count: number;

  constructor(
    bits: Int32Array<ArrayBuffer>,
    keys: readonly [HashKey, HashKey] = [randomKey(), randomKey()],
    count = 0,
  ) {
    this.bits = bits;
    this.blockMask = bits.length / blockWords - 1;
    this.keys = keys;
    this.count = count;
  }

  /** Undefined: it is none. */
  static of(head: Int32Array, bits: Int32Array<ArrayBuffer>): Layer | undefined {
    const [count = -1, a = 0, b = 0, c = 0, d = 0] = head;
    const isOne = head.length === 5 && bits.length >= layerWordsFirst;
    if (!isOne || (bits.length & (bits.length - 1)) !== 0 || count < 0) return undefined;
    const keys = [
      [a, b],
      [c, d],
    ] as const;
    return new Layer(bits, keys, count);
  }

  get head(): Int32Array<ArrayBuffer> {
    return new Int32Array([this.count, ...this.keys.flat()]);
  }

  get words(): number {
    return this.bits.length;
  }

  get bytes(): number {
    return this.bits.byteLength;
  }

  get isFull(): boolean {
    return this.count >= (this.bits.length * 32) / bitsPerKey;
  }

  has(length: number): boolean {
    const [at, step, first] = this.placeOf(length);
    for (let i = 0, bit = first; i < probes; i++, bit += step) {
      const within = bit & (blockBits - 1);
      const word = this.bits[at + (within >>> 5)] as number;
      if (((word >>> (within & 31)) & 1) === 0) return false;
    }
    return true;
  }

  add(length: number): void {
    const [at, step, first] = this.placeOf(length);
    for (let i = 0, bit = first; i < probes; i++, bit += step) {
      const within = bit & (blockBits - 1);
      const word = at + (within >>> 5);
      this.bits[word] = (this.bits[word] as number) | (1 << (within & 31));
    }
    this.count++;
  }

  /** The first word of the key's block; in it, the first bit, and from each to the next. */
  private placeOf(length: number): readonly [at: number, step: number, first: number] {
    const block = keyedHash(this.keys[0], asked, length) & this.blockMask;
    const bits = keyedHash(this.keys[1], asked, length);
    return [block * blockWords, (bits >>> 16) | 1, bits & (blockBits - 1)];
  }
}

export type HashKey = readonly [number, number];

export function randomKey(): HashKey {
  const words = randomFillSync(new Int32Array(2));
  return [words[0] as number, words[1] as number];
}

/**
 * HalfSipHash-1-3 (Aumasson and Bernstein: SipHash with 32-bit words) of the first `length` words,
 * with a random key of this process, so that clients cannot choose names that collide: 32 bits,
 * unsigned.
 */
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
