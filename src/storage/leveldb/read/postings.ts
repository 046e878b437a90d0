// Reading postings: one term's list in pages, and several lists merged in the order of the log. A
// gap in a list (its counts do not join up, or it ends before the term's head) is CORRUPTION.

import { corruption } from "../../../domain/errors.ts";
import { postingKey, type TermNumber } from "../format/keys.ts";
import type { Entry, Kv } from "../kv/kv.ts";
import { framesIn, openPosting, type Posting } from "../format/posting.ts";
import type { TermHead } from "../state/term-table.ts";

export interface PostingRange {
  /** Only postings of chunks that end at or after this position. */
  readonly firstChunk: number;
  /** Only postings of chunks that end at or before this position. */
  readonly lastChunk: number;
  readonly reverse: boolean;
}

const pageCountFirst = 16;
const pageCountMax = 512;
const pageBytesMax = 512 * 1024;
/** A page of fewer bytes ended because its range did, not because it was full. */
const finalBytesMax = pageBytesMax / 2;
/** How far a search for a version looks back before it seeks. */
const lookBytes = 16 * 1024;

/** One term's postings in pages, each checked to join the one before. */
class PostingList {
  private readonly kv: Kv;
  private readonly term: TermHead;
  private readonly range: PostingRange;
  private page: Posting[] = [];
  private at = 0;
  private pageCount = pageCountFirst;
  private low: number;
  private high: number;
  private ended = false;
  /** Whether the page is known to be the last one. */
  private final = false;
  /** Forwards: the count of the term's events so far. Backwards: the count before the last one. */
  private joint: number | undefined;

  constructor(kv: Kv, term: TermHead, range: PostingRange) {
    this.kv = kv;
    this.term = term;
    this.range = range;
    this.low = range.firstChunk;
    this.high = Math.min(range.lastChunk, term.lastChunk);
  }

  get current(): Posting | undefined {
    return this.page[this.at];
  }

  /** Moves on: `current` is the next posting, or undefined at the end. A promise: once it is. */
  advance(): Promise<void> | undefined {
    this.at++;
    if (this.at < this.page.length || this.ended) return undefined;
    if (this.low <= this.high && !this.final) return this.fetch();
    this.page = [];
    this.end();
    return undefined;
  }

  private async fetch(): Promise<void> {
    const { number } = this.term;
    const entries = await this.kv.page({
      first: postingKey(number, this.low),
      last: postingKey(number, this.high),
      reverse: this.range.reverse,
      limit: this.pageCount,
      bytesMax: pageBytesMax,
    });
    this.final = entries.length < this.pageCount && bytesOf(entries) < finalBytesMax;
    this.page = entries.map(([key, value]) => this.checked(openPosting(key, value)));
    this.at = 0;
    this.pageCount = Math.min(this.pageCount * 2, pageCountMax);
    const last = this.page.at(-1);
    if (!last) this.end();
    else if (this.range.reverse) this.high = last.chunkLast - 1;
    else this.low = last.chunkLast + 1;
  }

  private checked(posting: Posting): Posting {
    const after = posting.before + posting.ordinals.length;
    const [begin, end] = this.range.reverse ? [after, posting.before] : [posting.before, after];
    const expected = this.joint ?? this.expectedStart();
    if (expected !== undefined && begin !== expected) throw gap(posting.chunkFirst);
    this.joint = end;
    return posting;
  }

  /** What the first posting must begin with, where the range tells. */
  private expectedStart(): number | undefined {
    if (this.range.reverse) {
      return this.range.lastChunk >= this.term.lastChunk ? this.term.count : undefined;
    }
    return this.range.firstChunk <= 1 ? 0 : undefined;
  }

  /** The list must have met the term's head (forwards) or its first event (backwards). */
  private end(): void {
    this.ended = true;
    const { term, range, joint } = this;
    if (range.lastChunk < term.lastChunk && (joint === undefined || !range.reverse)) return;
    if (range.reverse) {
      const untouched = range.firstChunk > term.lastChunk ? 0 : term.count;
      if (range.firstChunk <= 1 && (joint ?? untouched) !== 0) throw gap(1);
    } else {
      const untouched = range.firstChunk > term.lastChunk ? term.count : 0;
      if ((joint ?? untouched) !== term.count) throw gap(term.last);
    }
  }
}

function bytesOf(entries: readonly Entry[]): number {
  let bytes = 0;
  for (const [key, value] of entries) bytes += key.length + value.length;
  return bytes;
}

function gap(position: number): Error {
  return corruption(`index entries near position ${position} are missing`, { first: position });
}

/** Candidates: events of one chunk that at least one of the terms is on. */
export interface Candidates {
  readonly chunkFirst: number;
  readonly chunkLast: number;
  /** Ascending. */
  readonly ordinals: readonly number[];
  /** A posting of them; the only one where one term is read: a stream's gives the versions. */
  readonly posting: Posting;
  /** The frames of the events, in the order of `ordinals`, where the postings hold them. */
  readonly frames: readonly Uint8Array[] | undefined;
}

/** The postings of several terms, merged by chunk, in the order of the range. */
export class MergedPostings {
  private readonly lists: readonly PostingList[];
  private readonly reverse: boolean;
  private begun = false;

  constructor(kv: Kv, terms: readonly TermHead[], range: PostingRange) {
    this.lists = terms
      .filter((term) => term.number !== 0)
      .map((term) => new PostingList(kv, term, range));
    this.reverse = range.reverse;
  }

  /** The next ones, at most `countMax`; none at the end. Throws CORRUPTION. */
  async take(countMax: number): Promise<Candidates[]> {
    if (!this.begun) {
      this.begun = true;
      for (const list of this.lists) {
        const moving = list.advance();
        if (moving) await moving;
      }
    }
    const taken: Candidates[] = [];
    while (taken.length < countMax) {
      let next: Posting | undefined;
      for (const { current } of this.lists) {
        if (current && (!next || precedes(current, next, this.reverse))) next = current;
      }
      if (!next) break;
      const together: Posting[] = [];
      for (const list of this.lists) {
        if (list.current?.chunkLast !== next.chunkLast) continue;
        together.push(list.current);
        const moving = list.advance();
        if (moving) await moving;
      }
      taken.push(together.length === 1 ? alone(next) : united(together));
    }
    return taken;
  }
}

function precedes(a: Posting, b: Posting, reverse: boolean): boolean {
  return reverse ? a.chunkLast > b.chunkLast : a.chunkLast < b.chunkLast;
}

function alone(posting: Posting): Candidates {
  const { chunkFirst, chunkLast, ordinals, records } = posting;
  const frames = records.length > 0 ? framesIn(records) : undefined;
  return { chunkFirst, chunkLast, ordinals, posting, frames };
}

/** Several terms' postings of one chunk. An event that is on several of them counts once. */
function united(postings: readonly Posting[]): Candidates {
  const posting = postings[0] as Posting;
  const byOrdinal = new Map<number, Uint8Array | undefined>();
  let complete = true;
  for (const { ordinals, records } of postings) {
    const frames = records.length > 0 ? framesIn(records) : undefined;
    complete &&= frames !== undefined;
    ordinals.forEach((ordinal, i) => byOrdinal.set(ordinal, frames?.[i]));
  }
  const ordinals = [...byOrdinal.keys()].toSorted((a, b) => a - b);
  const frames = complete ? ordinals.map((each) => byOrdinal.get(each) as Uint8Array) : undefined;
  const { chunkFirst, chunkLast } = posting;
  return { chunkFirst, chunkLast, ordinals, posting, frames };
}

/**
 * The last position of the chunk that holds a stream's version, 1 <= version <= term.count: a
 * binary search by seeks, after a look at the newest postings, where most loads from a snapshot
 * end.
 */
export async function chunkOfVersion(kv: Kv, term: TermHead, version: number): Promise<number> {
  const number = term.number;
  const newest = await kv.page({
    first: postingKey(number, 0),
    last: postingKey(number, term.lastChunk),
    reverse: true,
    limit: pageCountFirst,
    bytesMax: lookBytes,
  });
  let high = term.lastChunk;
  for (const [key, value] of newest) {
    const posting = openPosting(key, value);
    if (version > posting.before) return posting.chunkLast;
    high = posting.chunkFirst - 1;
  }
  let low = 1;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    const posting = await firstPostingFrom(kv, number, middle, term.lastChunk);
    if (!posting) throw gap(middle);
    if (version <= posting.before) high = middle - 1;
    else if (version > posting.before + posting.ordinals.length) low = posting.chunkLast + 1;
    else return posting.chunkLast;
  }
  throw gap(low);
}

/** The first posting of a chunk that ends at or after `from`. */
export async function firstPostingFrom(
  kv: Kv,
  number: TermNumber,
  from: number,
  lastChunk: number,
): Promise<Posting | undefined> {
  const [entry] = await kv.page({
    first: postingKey(number, from),
    last: postingKey(number, lastChunk),
    limit: 1,
  });
  return entry && openPosting(entry[0], entry[1]);
}
