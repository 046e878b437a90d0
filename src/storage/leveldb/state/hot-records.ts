// The records of streams that were read or written lately, in memory and ready to be sent: an
// aggregate that is loaded after it was written needs no look at the disk.
//
// They lie in a ring of segments outside V8's heap, so that a hundred thousand records are no
// objects for the garbage collector. What enters last is at the end; the segment at the other end
// is used anew. A piece holds some events of a stream with consecutive versions, as 64-bit words:
//
//   number of the stream's term, address of the piece before it (0: none is known),
//   versions before it, count, then for each event its position and the end of its frame among the
//   frames, then the frames
//
// No record is that of a system event, of a removed or of a lost one. Whatever a commit adds to a
// stream is in the ring before readers can see it, or the stream is dropped. So what is found for a
// stream ends with its newest event.

import { randomFillSync } from "node:crypto";
import type { TermNumber } from "../format/keys.ts";

/** Events of a stream with consecutive versions. */
export interface StreamRun {
  /** How many events the stream had before them. */
  readonly before: number;
  readonly positions: ArrayLike<number>;
  /** Where each event's frame ends in `frames`. */
  readonly ends: ArrayLike<number>;
  readonly frames: Uint8Array;
}

const segmentBytesMax = 1024 * 1024;
const segmentsMin = 8;
const wordBytes = 8;
const headWords = 4;
/** Longer runs are neither kept nor composed of pieces. */
export const runBytesMax = 64 * 1024;
/** One stream is expected for so many bytes. With smaller ones, the oldest are forgotten. */
const bytesPerStream = 256;
const ways = 8;
/** So many pieces of a stream are looked at for one event. */
const piecesPerFrameMax = 16;

interface Segment {
  readonly bytes: Buffer<ArrayBuffer>;
  readonly words: Float64Array;
}

export class HotRecords {
  private readonly segmentWords: number;
  private readonly segmentCount: number;
  private readonly segments: (Segment | undefined)[] = [];
  private readonly newest: NewestPieces;
  /** Addresses count words, and are never used twice. The next piece begins here or later. */
  private end: number;
  /** The lowest address that is not overwritten. */
  private lowest = 0;
  /** A piece at or after the addresses below may have been forgotten. */
  private barrier = 0;

  /** `bytesMax` 0: nothing is kept. */
  constructor(bytesMax: number) {
    const segmentBytes = Math.min(segmentBytesMax, Math.floor(bytesMax / segmentsMin));
    this.segmentWords = Math.floor(segmentBytes / wordBytes);
    this.segmentCount = this.segmentWords === 0 ? 0 : Math.floor(bytesMax / segmentBytes);
    this.end = this.segmentWords;
    this.newest = new NewestPieces(bytesMax / bytesPerStream);
  }

  /** What a read takes when its head is determined, and shows with what it has found. */
  moment(): number {
    return this.end;
  }

  /**
   * Adds what a commit has made durable, before readers can see it. Undefined: events that are not
   * kept.
   */
  add(number: TermNumber, run: StreamRun | undefined): void {
    if (this.segmentCount === 0) return;
    const known = this.newest.get(number);
    const isKnown = known > 0 && known >= this.lowest;
    const previous = isKnown && this.versionsAt(known) === run?.before ? known : 0;
    if (run === undefined || !this.put(number, previous, run)) this.drop(number);
  }

  /**
   * Adds what a read has found on disk: the stream's last events as of the read's head. Returns
   * whether the stream has got no event since; where that is not known, nothing is kept.
   */
  found(number: TermNumber, moment: number, run: StreamRun | undefined, count: number): boolean {
    if (this.segmentCount === 0 || moment < this.lowest || moment < this.barrier) return false;
    const known = this.newest.get(number);
    const isKnown = known > 0 && known >= this.lowest;
    const isNewer = isKnown && this.versionsAt(known) > count;
    if (run === undefined || this.get(number, run.before + 1, 0) !== undefined) return !isNewer;
    if (!isNewer) {
      this.put(number, 0, run);
      return true;
    }
    const since = this.get(number, count + 1, 0);
    if (since?.before === count && this.put(number, 0, run)) {
      this.put(number, this.newest.get(number), since);
    }
    return false;
  }

  /**
   * The stream's events, from a version or a position on, up to its newest one, and possibly some
   * before. Undefined: they are not known, or too many.
   */
  get(number: TermNumber, fromVersion: number, fromPosition: number): StreamRun | undefined {
    let at = this.newest.get(number);
    const pieces: number[] = [];
    let [count, bytes] = [0, 0];
    for (;;) {
      if (at === 0 || at < this.lowest) return undefined;
      const { words, offset } = this.placeOf(at);
      const events = words[offset + 3] as number;
      count += events;
      bytes += words[offset + headWords + 2 * events - 1] as number;
      if (bytes > runBytesMax) return undefined;
      pieces.push(at);
      const isFirst = (words[offset + 2] as number) < fromVersion;
      if (isFirst || (words[offset + headWords] as number) <= fromPosition) break;
      at = words[offset + 1] as number;
    }
    const run = this.runOf(pieces, count, bytes);
    // What is used stays: it is written again before its segment is used anew.
    if (this.end - at > (this.segmentCount * this.segmentWords) / 2) this.put(number, 0, run);
    return run;
  }

  /** The frame of a stream's event at a position, as a copy. Undefined: it is not known. */
  frameAt(number: TermNumber, position: number): Uint8Array | undefined {
    let at = this.newest.get(number);
    for (let pieces = 0; pieces < piecesPerFrameMax; pieces++) {
      if (at === 0 || at < this.lowest) return undefined;
      const { bytes, words, offset } = this.placeOf(at);
      const first = offset + headWords;
      const frames = first + 2 * (words[offset + 3] as number);
      for (let event = frames - 2; event >= first; event -= 2) {
        const found = words[event] as number;
        if (found > position) continue;
        if (found < position) return undefined;
        const start = event === first ? 0 : (words[event - 1] as number);
        const from = frames * wordBytes;
        return Buffer.from(bytes.subarray(from + start, from + (words[event + 1] as number)));
      }
      at = words[offset + 1] as number;
    }
    return undefined;
  }

  /** Forgets a stream. */
  drop(number: TermNumber): void {
    this.newest.forget(number);
    this.barrier = ++this.end;
  }

  /** Keeps nothing that is found by reads that have begun by now. */
  bar(): void {
    this.barrier = ++this.end;
  }

  /** Forgets all streams, and gives their memory back. */
  clear(): void {
    if (this.segmentCount === 0) return;
    this.newest.clear();
    // At once, where a collection would come late. Answers have copies.
    for (const segment of this.segments) segment?.bytes.buffer.transfer(0);
    this.segments.length = 0;
    this.end = (Math.floor(this.end / this.segmentWords) + 1) * this.segmentWords;
    this.lowest = this.barrier = this.end;
  }

  /** Grows whenever a stream is found or kept. */
  get uses(): number {
    return this.newest.uses;
  }

  /** How many events the stream had at the end of the piece. */
  private versionsAt(address: number): number {
    const { words, offset } = this.placeOf(address);
    return (words[offset + 2] as number) + (words[offset + 3] as number);
  }

  /** `pieces` from the newest to the oldest. */
  private runOf(pieces: readonly number[], count: number, bytes: number): StreamRun {
    const positions = new Float64Array(count);
    const ends = new Float64Array(count);
    // A copy: the segment is used anew while the answer may still be on its way.
    const frames = Buffer.allocUnsafe(bytes);
    let [event, end, before] = [0, 0, 0];
    for (let i = pieces.length - 1; i >= 0; i--) {
      const place = this.placeOf(pieces[i] as number);
      const { words, offset } = place;
      const events = words[offset + 3] as number;
      if (event === 0) before = words[offset + 2] as number;
      let at = offset + headWords;
      const start = end;
      for (let each = 0; each < events; each++, at += 2, event++) {
        positions[event] = words[at] as number;
        ends[event] = end = start + (words[at + 1] as number);
      }
      place.bytes.copy(frames, start, at * wordBytes, at * wordBytes + end - start);
    }
    return { before, positions, ends, frames };
  }

  /** Returns false if the piece is too long. */
  private put(number: TermNumber, previous: number, run: StreamRun): boolean {
    const { before, positions, ends, frames } = run;
    const count = positions.length;
    const framesAt = headWords + 2 * count;
    const size = framesAt + Math.ceil(frames.length / wordBytes);
    const { segmentWords, segmentCount } = this;
    if (frames.length > runBytesMax || size > segmentWords / 2) return false;
    let index = Math.floor(this.end / segmentWords);
    if (this.end % segmentWords > segmentWords - size) this.end = ++index * segmentWords;
    const { bytes, words } = (this.segments[index % segmentCount] ??= newSegment(segmentWords));
    this.lowest = Math.max(this.lowest, (index + 1 - segmentCount) * segmentWords);
    const address = this.end;
    const offset = address - index * segmentWords;
    this.end += size;
    words[offset] = number;
    words[offset + 1] = previous;
    words[offset + 2] = before;
    words[offset + 3] = count;
    for (let i = 0, at = offset + headWords; i < count; i++, at += 2) {
      words[at] = positions[i] as number;
      words[at + 1] = ends[i] as number;
    }
    bytes.set(frames, (offset + framesAt) * wordBytes);
    const forgotten = this.newest.set(number, address);
    this.barrier = Math.max(this.barrier, forgotten + 1);
    return true;
  }

  private placeOf(address: number): Segment & { readonly offset: number } {
    const { segmentWords, segmentCount } = this;
    const index = Math.floor(address / segmentWords);
    const { bytes, words } = this.segments[index % segmentCount] as Segment;
    return { bytes, words, offset: address - index * segmentWords };
  }
}

function newSegment(size: number): Segment {
  const bytes = Buffer.allocUnsafeSlow(size * wordBytes);
  return { bytes, words: new Float64Array(bytes.buffer, 0, size) };
}

/**
 * The address of each stream's newest piece, in sets of a few places. In a full set, the stream
 * that was used longest ago is forgotten.
 */
class NewestPieces {
  private readonly salt = (randomFillSync(new Uint32Array(1))[0] as number) | 1;
  private readonly mask: number;
  private numbers: Float64Array;
  private addresses: Float64Array;
  /** When each place was last used, by a count of uses that begins anew after 2^32. */
  private usedAt: Uint32Array;
  uses = 0;

  constructor(streams: number) {
    const sets = 2 ** Math.max(1, Math.ceil(Math.log2(Math.max(1, streams / ways))));
    this.mask = sets - 1;
    this.numbers = new Float64Array(sets * ways);
    this.addresses = new Float64Array(sets * ways);
    this.usedAt = new Uint32Array(sets * ways);
  }

  /** 0: none is known. */
  get(number: TermNumber): number {
    const first = this.setOf(number);
    for (let at = first; at < first + ways; at++) {
      if (this.numbers[at] !== number) continue;
      this.usedAt[at] = ++this.uses;
      return this.addresses[at] as number;
    }
    return 0;
  }

  /** Returns the address of the piece that is forgotten for it, or 0. */
  set(number: TermNumber, address: number): number {
    const first = this.setOf(number);
    let oldest = first;
    for (let at = first; at < first + ways; at++) {
      if (this.numbers[at] === number) {
        this.addresses[at] = address;
        this.usedAt[at] = ++this.uses;
        return 0;
      }
      if ((this.usedAt[at] as number) < (this.usedAt[oldest] as number)) oldest = at;
    }
    const forgotten = this.addresses[oldest] as number;
    this.numbers[oldest] = number;
    this.addresses[oldest] = address;
    this.usedAt[oldest] = ++this.uses;
    return forgotten;
  }

  forget(number: TermNumber): void {
    const first = this.setOf(number);
    for (let at = first; at < first + ways; at++) {
      if (this.numbers[at] !== number) continue;
      this.numbers[at] = 0;
      this.addresses[at] = 0;
      this.usedAt[at] = 0;
    }
  }

  clear(): void {
    // Memory that was not written yet takes no room.
    const { length } = this.numbers;
    this.numbers = new Float64Array(length);
    this.addresses = new Float64Array(length);
    this.usedAt = new Uint32Array(length);
  }

  private setOf(number: TermNumber): number {
    const mixed = Math.imul(number, this.salt) ^ Math.imul(number / 0x1_0000_0000, 0x85eb_ca6b);
    return ((Math.imul(mixed ^ (mixed >>> 15), 0x2c1b_3c6d) >>> 8) & this.mask) * ways;
  }
}
