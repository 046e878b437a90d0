// The newest postings of a term, from its head backwards by their keys: each says where the one
// before it is. A few of them are found in the time in which an iterator would be made.

import { corruption } from "../../../domain/errors.ts";
import { positionMax } from "../../../domain/limits.ts";
import { postingKey } from "../format/keys.ts";
import { openPosting, type Posting } from "../format/posting.ts";
import type { Kv } from "../kv/kv.ts";
import type { TermHead } from "../state/term-table.ts";

export class NewestPostings {
  private readonly kv: Kv;
  private readonly term: TermHead;
  /** The last position of the next posting's chunk. 0: not known. */
  private place: number;
  /** How many events have the term up to there. */
  private count: number;

  constructor(kv: Kv, term: TermHead) {
    this.kv = kv;
    this.term = term;
    this.place = term.lastChunk === positionMax ? 0 : term.lastChunk;
    this.count = term.count;
  }

  /** How many events have the term before the postings that were returned. */
  get before(): number {
    return this.count;
  }

  /**
   * The next older posting. Undefined: there is none, or it is not found by a quick lookup. Throws
   * CORRUPTION.
   */
  async next(): Promise<Posting | undefined> {
    const { kv, term, place, count } = this;
    if (place === 0 || count === 0) return undefined;
    // One lookup is never slower than a walk.
    if (count < term.count && kv.areLookUpsQuick?.() === false) return undefined;
    const key = postingKey(term.number, place);
    const [value] = await kv.getMany([key]);
    const posting = value && openPosting(key, value);
    if (posting === undefined || posting.before + posting.ordinals.length !== count) {
      throw missingPostings(place);
    }
    this.place = posting.previous;
    this.count = posting.before;
    return posting;
  }
}

export function missingPostings(position: number): Error {
  return corruption(`index entries near position ${position} are missing`, { first: position });
}
