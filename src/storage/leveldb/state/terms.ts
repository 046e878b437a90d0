// The dictionary of terms: the number of each term, how many events have it, and the position of
// the last one. Results are as of a head, so that a commit in flight is never visible. The cache
// differs from the disk only by what finished commits added.

import { setImmediate } from "node:timers/promises";
import { corruption } from "../../../domain/errors.ts";
import { positionMax } from "../../../domain/limits.ts";
import { memoryShare } from "../../../process-memory.ts";
import { bornAt, postingKey, readUint64, termKey, unseal } from "../format/keys.ts";
import type { TermKind, TermNumber } from "../format/keys.ts";
import type { Kv } from "../kv/kv.ts";
import { lastPosition, openPosting } from "../format/posting.ts";
import { noTerm, TermTable, type TermHead } from "./term-table.ts";

export interface Term {
  readonly kind: TermKind;
  readonly name: string;
}

/** A term after a commit. */
export interface TermUpdate extends Term {
  readonly head: TermHead;
}

/** A million streams, a million tags, and more, at 54 bytes and their names. */
const rememberedTermsMax = 2_200_000 * memoryShare;
const rememberedNamesBytesMax = 64 * 1024 * 1024 * memoryShare;
const seeksAtOnceMax = 64;
/** Keys that are looked up in one trip: a millisecond of the main thread. */
const keysAtOnceMax = 1_000;
/** Terms that are looked up in the cache, or put into it, in one turn of the event loop. */
const namesPerTurn = 1_000;

export class Terms {
  private readonly table = new TermTable(rememberedTermsMax, rememberedNamesBytesMax);
  /** The head as of which the cache is valid. What was loaded as of another head is not cached. */
  private head: number;

  constructor(head: number) {
    this.head = head;
  }

  /** A cached term, without I/O. */
  peek(kind: TermKind, name: string): TermHead | undefined {
    return this.table.get(kind, name);
  }

  /** The terms as of `head`, in order. Throws CORRUPTION. */
  async load(kv: Kv, terms: readonly Term[], head: number): Promise<TermHead[]> {
    const found =
      terms.length > namesPerTurn ? await this.cachedInTurns(terms) : this.cached(terms);
    const missing: number[] = [];
    for (let i = 0; i < terms.length; i++) if (found[i] === undefined) missing.push(i);
    if (missing.length > 0) {
      const loaded = await this.loadMissing(
        kv,
        missing.map((i) => terms[i] as Term),
        head,
      );
      for (let at = 0; at < missing.length; at++) {
        const i = missing[at] as number;
        const { kind, name } = terms[i] as Term;
        found[i] = loaded[at] as TermHead;
        if (head === this.head && !this.table.get(kind, name)) {
          this.table.set(kind, name, loaded[at] as TermHead);
        }
        if (at % namesPerTurn === namesPerTurn - 1) await setImmediate();
      }
    }
    return found as TermHead[];
  }

  /**
   * Terms of which only the postings are needed, in order. Without I/O where they are cached;
   * otherwise only their numbers are loaded, and their postings may go on up to any head. Throws
   * CORRUPTION.
   */
  async find(kv: Kv, terms: readonly Term[], head: number): Promise<TermHead[]> {
    const found =
      terms.length > namesPerTurn ? await this.cachedInTurns(terms) : this.cached(terms);
    const missing: number[] = [];
    for (let i = 0; i < terms.length; i++) if (found[i] === undefined) missing.push(i);
    if (missing.length === 0) return found as TermHead[];
    const numbers = await numbersOf(
      kv,
      missing.map((i) => terms[i] as Term),
    );
    for (let at = 0; at < missing.length; at++) {
      const number = numbers[at] as TermNumber;
      const isKnown = number !== 0 && bornAt(number) <= head;
      found[missing[at] as number] = isKnown ? { ...upToAnyHead, number } : noTerm;
    }
    return found as TermHead[];
  }

  /** Caches what a read has found out about a term that no commit has changed since. */
  learn({ kind, name }: Term, head: TermHead): void {
    if (this.table.get(kind, name) === undefined) this.table.set(kind, name, head);
  }

  /** Called when a commit is durable: the head is at `position`, and these terms have changed. */
  apply(updates: Iterable<TermUpdate>, position: number): void {
    this.head = position;
    for (const { kind, name, head } of updates) this.table.set(kind, name, head);
  }

  /** Clears the cache. The head on disk is at `position`. */
  reset(position: number): void {
    this.head = position;
    this.table.clear();
  }

  /** See `TermTable.pack`. */
  pack(part: number): Int32Array<ArrayBuffer> {
    return this.table.pack(part);
  }

  /** See `TermTable.unpack`. The packed terms must be as of the head at which the store opened. */
  unpack(words: Int32Array, offset: number, countMax: number): number | undefined {
    return this.table.unpack(words, offset, countMax);
  }

  /** Undefined: it is to be loaded. */
  private cached(terms: readonly Term[]): (TermHead | undefined)[] {
    const found: (TermHead | undefined)[] = [];
    for (const { kind, name } of terms) found.push(this.table.get(kind, name));
    return found;
  }

  /** As `cached`, all as of one head, although others get the thread in between. */
  private async cachedInTurns(terms: readonly Term[]): Promise<(TermHead | undefined)[]> {
    const { head } = this;
    const found: (TermHead | undefined)[] = [];
    for (let at = 0; at < terms.length; at += namesPerTurn) {
      if (at > 0) await setImmediate();
      const some = terms.slice(at, at + namesPerTurn);
      found.push(...(this.head === head ? this.cached(some) : some.map(() => undefined)));
    }
    return found;
  }

  private async loadMissing(kv: Kv, terms: readonly Term[], head: number): Promise<TermHead[]> {
    const { keys, values } = await entriesOf(kv, terms);
    const heads: TermHead[] = Array.from({ length: terms.length }, () => noTerm);
    const seeks: number[] = [];
    for (let i = 0; i < values.length; i++) if (values[i]) seeks.push(i);
    for (let at = 0; at < seeks.length; at += seeksAtOnceMax) {
      await Promise.all(
        seeks.slice(at, at + seeksAtOnceMax).map(async (i) => {
          const number = openTermNumber(keys[i] as Uint8Array, values[i] as Uint8Array);
          heads[i] = await loadHead(kv, number, head);
        }),
      );
    }
    return heads;
  }
}

interface Entries {
  readonly keys: readonly Uint8Array[];
  readonly values: readonly (Uint8Array | undefined)[];
}

/**
 * Many entries are looked up in several trips, each in a turn of its own: a look-up of what is
 * known not to be there does not leave the thread.
 */
async function entriesOf(kv: Kv, terms: readonly Term[]): Promise<Entries> {
  const keys: Uint8Array[] = [];
  const values: (Uint8Array | undefined)[] = [];
  for (let at = 0; at < terms.length; at += keysAtOnceMax) {
    if (at > 0) await setImmediate();
    const some = terms.slice(at, at + keysAtOnceMax).map(({ kind, name }) => termKey(kind, name));
    for (const value of await kv.getMany(some)) values.push(value);
    keys.push(...some);
  }
  return { keys, values };
}

/** The number under a term's key. Throws CORRUPTION. */
export function openTermNumber(key: Uint8Array, value: Uint8Array): TermNumber {
  const body = unseal(key, value);
  if (body?.length !== 8) throw corruption("an entry of the term dictionary fails its CRC");
  return readUint64(body, 0);
}

const upToAnyHead = { count: positionMax, lastChunk: positionMax, last: positionMax };

/** The numbers of terms. 0: no event ever had it. Throws CORRUPTION. */
async function numbersOf(kv: Kv, terms: readonly Term[]): Promise<TermNumber[]> {
  const { keys, values } = await entriesOf(kv, terms);
  return values.map((value, i) =>
    value === undefined ? 0 : openTermNumber(keys[i] as Uint8Array, value),
  );
}

/** The number of a term. 0: no event ever had it. Throws CORRUPTION. */
export async function numberOf(kv: Kv, term: Term): Promise<TermNumber> {
  const [number] = await numbersOf(kv, [term]);
  return number as TermNumber;
}

/** A term with a known number, as of `head`. Throws CORRUPTION if its postings are missing. */
export async function loadHead(kv: Kv, number: TermNumber, head: number): Promise<TermHead> {
  const [entry] = await kv.page({
    first: postingKey(number, 0),
    last: postingKey(number, head),
    reverse: true,
    limit: 1,
  });
  if (!entry) {
    const born = bornAt(number);
    if (born <= head) {
      throw corruption(`the index entries of a term first seen at ${born} are missing`, {
        first: born,
      });
    }
    return noTerm;
  }
  const posting = openPosting(entry[0], entry[1]);
  return {
    number,
    count: posting.before + posting.ordinals.length,
    lastChunk: posting.chunkLast,
    last: lastPosition(posting),
  };
}
