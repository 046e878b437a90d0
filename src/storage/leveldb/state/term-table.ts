// A cache of terms between commits: some 70 bytes for a term with a short name, in flat arrays, so
// that two million terms are neither objects nor strings for the garbage collector. Terms are
// spread over shards by their hash. A shard is small enough to be enlarged or compacted within one
// turn of the event loop. When a shard is full, terms that were not used for a round are evicted.

import { keyedHash, randomKey } from "./known-keys.ts";
import type { TermKind, TermNumber } from "../format/keys.ts";

/** A term as of some head. Immutable: a commit replaces it. */
export interface TermHead {
  /** 0: no event has the term. */
  readonly number: TermNumber;
  readonly count: number;
  /** The last position of the last chunk with such an event. 0: there is none. */
  readonly lastChunk: number;
  /** The position of the last such event. 0: there is none. */
  readonly last: number;
}

export const noTerm: TermHead = Object.freeze({
  number: 0,
  count: 0,
  lastChunk: 0,
  last: 0,
});

const shardBits = 6;
/** A table is packed in so many parts. */
export const shardCount = 1 << shardBits;
const slotsFirst = 16;
const nameWordsFirst = 64;
/** Longer names are not cached. */
const nameWordsMax = 0xffff;
const hashKey = randomKey();

/**
 * The lookup key: one word with the kind and the end of the length, then the name in whole words.
 * Grows with the longest name.
 */
let askedBytes = Buffer.alloc(2_048);
let asked = wordsOf(askedBytes);

export class TermTable {
  private readonly room: Room;
  private readonly shards: (Shard | undefined)[] = [];
  private hasForgotten = false;
  private readonly forgot = (): void => void (this.hasForgotten = true);

  /** About this many terms are cached, if their names have at most so many bytes together. */
  constructor(termsMax: number, namesBytesMax: number) {
    const slots = Math.max(1, Math.ceil(termsMax / shardCount));
    this.room = { slots, nameWords: Math.ceil(namesBytesMax / 4 / shardCount) };
  }

  get(kind: TermKind, name: string): TermHead | undefined {
    const length = ask(kind, name);
    const hash = keyedHash(hashKey, asked, length);
    return this.shards[hash >>> (32 - shardBits)]?.get(hash, length);
  }

  set(kind: TermKind, name: string, head: TermHead): void {
    const length = ask(kind, name);
    if (length > nameWordsMax) return;
    const hash = keyedHash(hashKey, asked, length);
    const place = hash >>> (32 - shardBits);
    (this.shards[place] ??= new Shard(this.room, this.forgot)).set(hash, length, head);
  }

  clear(): void {
    this.shards.length = 0;
    this.hasForgotten = true;
  }

  /**
   * The terms of one part, each as the words of its length and name and the four numbers of its
   * head. Terms that no event has are left out.
   */
  pack(part: number): Int32Array<ArrayBuffer> {
    return this.shards[part]?.pack() ?? new Int32Array(0);
  }

  /**
   * Adds at most `countMax` packed terms, except those that are known. Returns the offset after
   * them, or undefined where nothing may be added any more: what was forgotten could come back as
   * it was.
   */
  unpack(words: Int32Array, offset: number, countMax: number): number | undefined {
    let at = offset;
    for (let i = 0; i < countMax && at < words.length; i++) {
      const length = words[at] as number;
      const end = at + 1 + length;
      if (this.hasForgotten || length > nameWordsMax) return undefined;
      if (asked.length < length) enlargeAsked(length);
      asked.set(words.subarray(at + 1, end));
      packedWords.set(words.subarray(end, end + packedWords.length));
      const hash = keyedHash(hashKey, asked, length);
      const place = hash >>> (32 - shardBits);
      const shard = (this.shards[place] ??= new Shard(this.room, this.forgot));
      if (!shard.add(hash, length, packedHead)) return undefined;
      at = end + packedWords.length;
    }
    return at;
  }
}

/** Writes kind and name to the lookup key. Returns its number of words. */
function ask(kind: TermKind, name: string): number {
  const size = name.length;
  // A UTF-16 unit takes at most three bytes.
  const wordsMax = ((size * 3) >>> 2) + 2;
  if (asked.length < wordsMax) enlargeAsked(wordsMax);
  const words = asked;
  let count = 1;
  let seen = 0;
  let i = 0;
  for (; i + 4 <= size; i += 4) {
    const a = name.charCodeAt(i);
    const b = name.charCodeAt(i + 1);
    const c = name.charCodeAt(i + 2);
    const d = name.charCodeAt(i + 3);
    seen |= a | b | c | d;
    words[count++] = a | (b << 8) | (c << 16) | (d << 24);
  }
  if (i < size) {
    let word = 0;
    for (let shift = 0; i < size; i++, shift += 8) {
      const code = name.charCodeAt(i);
      seen |= code;
      word |= code << shift;
    }
    words[count++] = word;
  }
  let bytes = size;
  if (seen >= 0x80) {
    bytes = askedBytes.write(name, 4);
    count = 1 + ((bytes + 3) >>> 2);
    askedBytes.fill(0, 4 + bytes, count * 4);
  }
  words[0] = (kind << 2) | (bytes & 3);
  return count;
}

function enlargeAsked(words: number): void {
  askedBytes = Buffer.alloc(words * 8);
  asked = wordsOf(askedBytes);
}

/** The numbers of a packed head, and the same as words. */
const packedHead = new Float64Array(4);
const packedWords = new Int32Array(packedHead.buffer);

function wordsOf(bytes: Buffer): Int32Array {
  return new Int32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

/** What a shard may hold. */
interface Room {
  readonly slots: number;
  readonly nameWords: number;
}

/** Open addressing with linear probing. `index` holds slot + 1. 0: empty. */
class Shard {
  private readonly room: Room;
  private readonly forgot: () => void;
  /** Slots that have or had a term. */
  private count = 0;
  /** Of these, slots without one. */
  private readonly free: number[] = [];
  private hand = 0;
  private slots = 0;
  private index = new Int32Array(0);
  private hashes = new Uint32Array(0);
  private nameAt = new Uint32Array(0);
  private nameLength = new Uint16Array(0);
  private used = new Uint8Array(0);
  private numbers = new Float64Array(0);
  private counts = new Float64Array(0);
  private lastChunks = new Float64Array(0);
  private lasts = new Float64Array(0);
  private names = new Int32Array(nameWordsFirst);
  private namesEnd = 0;
  private namesDead = 0;

  constructor(room: Room, forgot: () => void) {
    this.room = room;
    this.forgot = forgot;
    this.enlarge(Math.min(slotsFirst, room.slots));
  }

  get(hash: number, length: number): TermHead | undefined {
    const slot = this.find(hash, length);
    if (slot < 0) return undefined;
    this.used[slot] = 1;
    return {
      number: this.numbers[slot] as number,
      count: this.counts[slot] as number,
      lastChunk: this.lastChunks[slot] as number,
      last: this.lasts[slot] as number,
    };
  }

  set(hash: number, length: number, head: TermHead): void {
    let slot = this.find(hash, length);
    if (slot < 0) {
      this.makeNameRoom(length);
      slot = this.freeSlot();
      this.hashes[slot] = hash;
      this.keepName(slot, length);
      this.enter(slot);
      // A term that is used once is evicted before one that is used again.
      this.used[slot] = 0;
    } else {
      this.used[slot] = 1;
    }
    this.numbers[slot] = head.number;
    this.counts[slot] = head.count;
    this.lastChunks[slot] = head.lastChunk;
    this.lasts[slot] = head.last;
  }

  pack(): Int32Array<ArrayBuffer> {
    const each = 1 + packedWords.length;
    const words = new Int32Array(this.count * each + this.namesEnd - this.namesDead);
    let end = 0;
    for (let slot = 0; slot < this.count; slot++) {
      if (this.numbers[slot] === 0) continue;
      const [at, length] = [this.nameAt[slot] as number, this.nameLength[slot] as number];
      words[end++] = length;
      words.set(this.names.subarray(at, at + length), end);
      packedHead[0] = this.numbers[slot] as number;
      packedHead[1] = this.counts[slot] as number;
      packedHead[2] = this.lastChunks[slot] as number;
      packedHead[3] = this.lasts[slot] as number;
      words.set(packedWords, end + length);
      end += length + packedWords.length;
    }
    return words.subarray(0, end);
  }

  /** Adds a term, unless it is known. Returns false if there is no room. */
  add(hash: number, length: number, head: Float64Array): boolean {
    if (this.find(hash, length) >= 0) return true;
    if (this.count === this.room.slots || this.lacksNameRoom(length)) return false;
    const [number = 0, count = 0, lastChunk = 0, last = 0] = head;
    this.set(hash, length, { number, count, lastChunk, last });
    return true;
  }

  private find(hash: number, length: number): number {
    const { index } = this;
    const mask = index.length - 1;
    for (let at = hash & mask; ; at = (at + 1) & mask) {
      const slot = (index[at] as number) - 1;
      if (slot < 0) return -1;
      if (this.hashes[slot] === hash && this.isNamed(slot, length)) return slot;
    }
  }

  private isNamed(slot: number, length: number): boolean {
    if (this.nameLength[slot] !== length) return false;
    const { names } = this;
    const words = asked;
    const from = this.nameAt[slot] as number;
    for (let i = 0; i < length; i++) if (names[from + i] !== words[i]) return false;
    return true;
  }

  private freeSlot(): number {
    const free = this.free.pop();
    if (free !== undefined) return free;
    if (this.count < this.slots) return this.count++;
    if (this.slots >= this.room.slots) return this.evict();
    this.enlarge(Math.min(this.slots * 2, this.room.slots));
    return this.count++;
  }

  private lacksNameRoom(length: number): boolean {
    return this.namesEnd - this.namesDead + length > this.room.nameWords;
  }

  private makeNameRoom(length: number): void {
    while (this.free.length < this.count && this.lacksNameRoom(length)) {
      this.free.push(this.evict());
    }
  }

  /** Finds a slot whose term was not used since the last round, and takes the term out of it. */
  private evict(): number {
    for (;;) {
      const slot = this.hand;
      this.hand = (slot + 1) % this.count;
      const length = this.nameLength[slot] as number;
      if (length === 0) continue;
      if (this.used[slot] === 1) {
        this.used[slot] = 0;
        continue;
      }
      this.forgot();
      this.namesDead += length;
      this.nameLength[slot] = 0;
      this.numbers[slot] = 0;
      this.leave(slot);
      return slot;
    }
  }

  private enter(slot: number): void {
    const { index } = this;
    const mask = index.length - 1;
    let at = (this.hashes[slot] as number) & mask;
    while (index[at] !== 0) at = (at + 1) & mask;
    index[at] = slot + 1;
  }

  /** Removes a slot from the index, and moves later entries up. */
  private leave(slot: number): void {
    const { index } = this;
    const mask = index.length - 1;
    let gap = (this.hashes[slot] as number) & mask;
    while (index[gap] !== slot + 1) gap = (gap + 1) & mask;
    for (let at = (gap + 1) & mask; index[at] !== 0; at = (at + 1) & mask) {
      const home = (this.hashes[(index[at] as number) - 1] as number) & mask;
      if (((at - home) & mask) < ((at - gap) & mask)) continue;
      index[gap] = index[at] as number;
      gap = at;
    }
    index[gap] = 0;
  }

  private keepName(slot: number, length: number): void {
    if (this.namesEnd + length > this.names.length) this.tidyNames(length);
    this.names.set(asked.subarray(0, length), this.namesEnd);
    this.nameAt[slot] = this.namesEnd;
    this.nameLength[slot] = length;
    this.namesEnd += length;
  }

  /**
   * Makes room for one more name: drops the names of evicted terms, and enlarges the buffer if that
   * is not enough.
   */
  private tidyNames(length: number): void {
    const from = this.names;
    const needed = this.namesEnd - this.namesDead + length;
    const size = Math.max(from.length, needed + Math.ceil(needed / 2));
    if (this.namesDead === 0) {
      this.names = new Int32Array(withRoom(from, size));
      return;
    }
    const into = new Int32Array(size);
    let end = 0;
    for (let slot = 0; slot < this.count; slot++) {
      const words = this.nameLength[slot] as number;
      const at = this.nameAt[slot] as number;
      into.set(from.subarray(at, at + words), end);
      this.nameAt[slot] = end;
      end += words;
    }
    withRoom(from, 0);
    this.names = into;
    this.namesEnd = end;
    this.namesDead = 0;
  }

  private enlarge(slots: number): void {
    this.slots = slots;
    this.hashes = new Uint32Array(withRoom(this.hashes, slots));
    this.nameAt = new Uint32Array(withRoom(this.nameAt, slots));
    this.nameLength = new Uint16Array(withRoom(this.nameLength, slots));
    this.used = new Uint8Array(withRoom(this.used, slots));
    this.numbers = new Float64Array(withRoom(this.numbers, slots));
    this.counts = new Float64Array(withRoom(this.counts, slots));
    this.lastChunks = new Float64Array(withRoom(this.lastChunks, slots));
    this.lasts = new Float64Array(withRoom(this.lasts, slots));
    // At least a third of the index is empty.
    this.index = new Int32Array(2 ** Math.ceil(Math.log2(slots * 1.5)));
    for (let slot = 0; slot < this.count; slot++) {
      if (this.nameLength[slot] !== 0) this.enter(slot);
    }
  }
}

/**
 * What is in an array, with room for so many elements. The memory that it had is free at once: a
 * collection may come late.
 */
function withRoom(
  { buffer, BYTES_PER_ELEMENT }: { buffer: ArrayBuffer; BYTES_PER_ELEMENT: number },
  elements: number,
): ArrayBuffer {
  return buffer.transfer(elements * BYTES_PER_ELEMENT);
}
