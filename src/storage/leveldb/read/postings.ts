// Reads postings: one term's list in pages, and several lists merged in the order of the log. A gap
// in a list (its counts are not consecutive, or it ends before the term's head) is CORRUPTION.
// Postings with removed records only are skipped, a long run of them at once.

import { postingKey, type TermNumber } from "../format/keys.ts";
import type { Kv } from "../kv/kv.ts";
import { framesIn, openPosting, type Posting } from "../format/posting.ts";
import { fewPostings, missingPostings, NewestPostings } from "./newest-postings.ts";
import type { RemovedRun, RemovedRuns } from "../state/removed-runs.ts";
import type { TermHead } from "../state/term-table.ts";

export interface PostingRange {
  /** Only postings of chunks that end at or after this position. */
  readonly firstChunk: number;
  /** Only postings of chunks that end at or before this position. */
  readonly lastChunk: number;
  readonly reverse: boolean;
  /**
   * Whether postings with removed records only are skipped. Called after postings were read: see
   * `OpenStore.reclaimedIn`.
   */
  readonly skipsRemoved: () => boolean;
  /** The known runs of such postings. */
  readonly removedRuns: RemovedRuns;
  /** So many events of the term, at most, are in the range and after it. Absent: all may be. */
  readonly events?: number | undefined;
}

const pageCountFirst = 16;
const pageCountMax = 512;
const pageBytesMax = 512 * 1024;
/** A page with fewer bytes ended because its range did, not because it was full. */
const finalBytesMax = pageBytesMax / 2;
/** So many of the newest postings are read by their keys before there is an iterator. */
const newestMax = 16;

/** The postings of a term in pages. Each page is checked to continue the previous one. */
async function* pagesOf(
  kv: Kv,
  term: TermHead,
  range: PostingRange,
): AsyncGenerator<readonly Posting[]> {
  if (!range.reverse) {
    const { firstChunk: first, lastChunk: last, events = term.count } = range;
    const few = fewPostings(kv, term, { first, last, events });
    if (few === undefined) return yield* pagesFrom(kv, term, range);
    const skips = range.skipsRemoved();
    const page = few.filter((each) => !isSkipped(each, skips));
    if (page.length > 0) yield page;
    return;
  }
  if (range.lastChunk < term.lastChunk) return yield* pagesFrom(kv, term, range);
  const newest = new NewestPostings(kv, term);
  let reached: Posting | undefined;
  for (let i = 0; i < newestMax; i++) {
    const posting = newest.next();
    if (posting === undefined) break;
    if (posting.chunkLast < range.firstChunk) return;
    reached = posting;
    if (!isSkipped(posting, range.skipsRemoved())) yield [posting];
    if (posting.before === 0) return;
  }
  yield* pagesFrom(kv, term, range, reached);
}

/** As `pagesOf`, in a walk through the keys. Backwards, it may continue from a posting. */
async function* pagesFrom(
  kv: Kv,
  term: TermHead,
  range: PostingRange,
  reached?: Posting,
): AsyncGenerator<readonly Posting[]> {
  const { number } = term;
  const { reverse, skipsRemoved, removedRuns } = range;
  let low = range.firstChunk;
  let high = Math.min(range.lastChunk, term.lastChunk, (reached?.chunkFirst ?? Infinity) - 1);
  /**
   * Forwards: the number of the term's events so far. Backwards: the number before the last one.
   */
  let joint: number | undefined = reached?.before;
  let run: RemovedRun | undefined;
  for (let limit = pageCountFirst, isFinal = false; low <= high && !isFinal;) {
    const known = removedRuns.get(number);
    const place = reverse ? high : low;
    if (known && place >= known.first && place <= known.last && skipsRemoved()) {
      if (reverse) [high, joint] = [known.first - 1, known.before];
      else [low, joint] = [known.last + 1, known.after];
      continue;
    }
    const [first, last] = [postingKey(number, low), postingKey(number, high)];
    const entries = await kv.page({ first, last, reverse, limit, bytesMax: pageBytesMax });
    const skips = skipsRemoved();
    const page: Posting[] = [];
    let bytes = 0;
    for (const [key, value] of entries) {
      bytes += key.length + value.length;
      const posting = openPosting(key, value);
      const { before, ordinals, chunkLast } = posting;
      const after = before + ordinals.length;
      const expected = joint ?? startOf(term, range);
      if (expected !== undefined && expected !== (reverse ? after : before)) {
        throw missingPostings(posting.chunkFirst);
      }
      joint = reverse ? before : after;
      const isRemoved = isSkipped(posting, skips);
      if (run && !isRemoved) removedRuns.met(number, run);
      if (!isRemoved) {
        run = undefined;
        page.push(posting);
      } else if (reverse) {
        run = { first: chunkLast, before, last: run?.last ?? high, after: run?.after ?? after };
      } else {
        run = { first: run?.first ?? low, before: run?.before ?? before, last: chunkLast, after };
      }
      if (reverse) high = chunkLast - 1;
      else low = chunkLast + 1;
    }
    if (page.length > 0) yield page;
    isFinal = entries.length < limit && bytes < finalBytesMax;
    limit = Math.min(limit * 2, pageCountMax);
  }
  if (run) removedRuns.met(number, run);
  checkEnd(term, range, joint);
}

function isSkipped({ removedRecords, ordinals }: Posting, skipsRemoved: boolean): boolean {
  return skipsRemoved && removedRecords === ordinals.length;
}

/** The count with which the first posting must begin, if the range determines it. */
function startOf(term: TermHead, { reverse, firstChunk, lastChunk }: PostingRange) {
  if (reverse) return lastChunk >= term.lastChunk ? term.count : undefined;
  return firstChunk <= 1 ? 0 : undefined;
}

/** The list must have reached the term's head (forwards) or its first event (backwards). */
function checkEnd(term: TermHead, range: PostingRange, joint: number | undefined): void {
  if (range.lastChunk < term.lastChunk && (joint === undefined || !range.reverse)) return;
  if (range.reverse) {
    const untouched = range.firstChunk > term.lastChunk ? 0 : term.count;
    if (range.firstChunk <= 1 && (joint ?? untouched) !== 0) throw missingPostings(1);
  } else {
    const untouched = range.firstChunk > term.lastChunk ? term.count : 0;
    if ((joint ?? untouched) !== term.count) throw missingPostings(term.last);
  }
}

/** Candidates: the events of one chunk that have at least one of the terms. */
export interface Candidates {
  readonly chunkFirst: number;
  readonly chunkLast: number;
  /** Ascending. */
  readonly ordinals: readonly number[];
  /**
   * One of their postings. If one term is read it is the only one; for a stream, it gives the
   * versions.
   */
  readonly posting: Posting;
  /** The frames of the events, in the order of `ordinals`, if the postings have them. */
  readonly frames: readonly Uint8Array[] | undefined;
  /** The terms of the events' streams, in the same order. Empty: not said. */
  readonly streams: readonly TermNumber[];
}

/** The postings of several terms, merged by chunk, in the order of the range. */
export class MergedPostings {
  private readonly lists: PostingList[] = [];
  private readonly reverse: boolean;
  private begun = false;

  constructor(kv: Kv, terms: readonly TermHead[], range: PostingRange) {
    this.reverse = range.reverse;
    for (const term of terms) {
      if (term.number === 0) continue;
      this.lists.push({ pages: pagesOf(kv, term, range), page: [], at: -1 });
    }
  }

  /** The next candidates, at most `countMax`. Empty at the end. Throws CORRUPTION. */
  async take(countMax: number): Promise<Candidates[]> {
    if (!this.begun) for (const list of this.lists) await turnPage(list);
    this.begun = true;
    const taken: Candidates[] = [];
    while (taken.length < countMax) {
      let next: Posting | undefined;
      for (const { page, at } of this.lists) {
        const posting = page[at];
        if (posting && (!next || precedes(posting, next, this.reverse))) next = posting;
      }
      if (!next) break;
      const together: Posting[] = [];
      for (const list of this.lists) {
        const posting = list.page[list.at];
        if (posting?.chunkLast !== next.chunkLast) continue;
        together.push(posting);
        list.at++;
        if (list.at === list.page.length) await turnPage(list);
      }
      taken.push(together.length === 1 ? alone(next) : united(together));
    }
    return taken;
  }
}

/** The posting list of a term and the position in it. */
interface PostingList {
  readonly pages: AsyncGenerator<readonly Posting[]>;
  /** Empty at the end. */
  page: readonly Posting[];
  at: number;
}

async function turnPage(list: PostingList): Promise<void> {
  const next = await list.pages.next();
  list.page = next.done === true ? [] : next.value;
  list.at = 0;
}

function precedes(a: Posting, b: Posting, reverse: boolean): boolean {
  return reverse ? a.chunkLast > b.chunkLast : a.chunkLast < b.chunkLast;
}

function alone(posting: Posting): Candidates {
  const { chunkFirst, chunkLast, ordinals, records, streams } = posting;
  const frames = records.length > 0 ? framesIn(records) : undefined;
  return { chunkFirst, chunkLast, ordinals, posting, frames, streams };
}

/**
 * Merges the postings of several terms for one chunk. An event that has several of the terms counts
 * once.
 */
function united(postings: readonly Posting[]): Candidates {
  const posting = postings[0] as Posting;
  const byOrdinal = new Map<number, Uint8Array | undefined>();
  const streamOf = new Map<number, TermNumber>();
  let complete = true;
  for (const { ordinals, records, streams } of postings) {
    const frames = records.length > 0 ? framesIn(records) : undefined;
    complete &&= frames !== undefined;
    ordinals.forEach((ordinal, i) => byOrdinal.set(ordinal, frames?.[i]));
    streams.forEach((stream, i) => streamOf.set(ordinals[i] as number, stream));
  }
  const ordinals = [...byOrdinal.keys()].toSorted((a, b) => a - b);
  const frames = complete ? ordinals.map((each) => byOrdinal.get(each) as Uint8Array) : undefined;
  const { chunkFirst, chunkLast } = posting;
  const isNamed = streamOf.size === ordinals.length;
  const streams = isNamed ? ordinals.map((each) => streamOf.get(each) as TermNumber) : [];
  return { chunkFirst, chunkLast, ordinals, posting, frames, streams };
}

/**
 * The last position of the chunk with a stream's version, 1 <= version <= term.count. The newest
 * postings are read first, because most loads from a snapshot end there; then a binary search
 * seeks.
 */
export async function chunkOfVersion(kv: Kv, term: TermHead, version: number): Promise<number> {
  const newest = new NewestPostings(kv, term);
  let high = term.lastChunk;
  for (let i = 0; i < newestMax; i++) {
    const posting = newest.next();
    if (posting === undefined) break;
    if (version > posting.before) return posting.chunkLast;
    high = posting.chunkFirst - 1;
  }
  let low = 1;
  while (low <= high) {
    const middle = low + Math.floor((high - low) / 2);
    const posting = await firstPostingFrom(kv, term.number, middle, term.lastChunk);
    if (!posting) throw missingPostings(middle);
    if (version <= posting.before) high = middle - 1;
    else if (version > posting.before + posting.ordinals.length) low = posting.chunkLast + 1;
    else return posting.chunkLast;
  }
  throw missingPostings(low);
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
