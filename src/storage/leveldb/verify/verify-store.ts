// Checks a whole store: the log chunk by chunk, the index against the log, and then every entry
// beside the log: that it is valid, and that the log accounts for it. Faults are reported and never
// repaired.

import { AnnalsError } from "../../../domain/errors.ts";
import type { Chunk } from "../format/chunk.ts";
import { IndexCheck, type Found, type IndexTotals } from "./index-check.ts";
import {
  bornAt,
  prefixId,
  prefixOldSnapshot,
  prefixPosting,
  prefixSideValue,
  prefixTerm,
  readUint64,
  sideValueSpaceNumbers,
  unseal,
} from "../format/keys.ts";
import type { Entry, ReadableKv } from "../kv/kv.ts";
import { walkLog } from "./log-walk.ts";
import { openPosting } from "../format/posting.ts";
import { ReclaimCheck } from "./reclaim-check.ts";
import { openTermNumber } from "../state/terms.ts";

const pageBytes = 256 * 1024;
const pageCountMax = 4_096;

export interface Verification {
  /** The head when the check began. Later positions are not checked. */
  readonly head: number;
  readonly found: Found;
  /**
   * Awaited with the bytes that were read, so that a background check can be slowed down and
   * stopped.
   */
  readonly pace?: (bytes: number) => Promise<void>;
  /** Called with each chunk that was checked. */
  readonly reached?: (chunk: Chunk) => void;
}

export interface StoreTotals extends IndexTotals {
  readonly chunks: number;
  readonly events: number;
  readonly snapshots: number;
  /** All but the snapshots. */
  readonly sideValues: number;
}

export async function verifyStore(kv: ReadableKv, given: Verification): Promise<StoreTotals> {
  const { head, pace, reached } = given;
  let findings = 0;
  const found: Found = (finding, keys) => {
    findings++;
    given.found(finding, keys);
  };
  const verification = { ...given, found };
  const index = new IndexCheck(kv, found);
  const reclaimed = new ReclaimCheck(kv, found);
  let chunks = 0;
  let events = 0;
  for await (const chunk of walkLog(kv, { first: 1, last: head, found })) {
    await index.check(chunk);
    await reclaimed.check(chunk);
    chunks++;
    events += chunk.count;
    reached?.(chunk);
    await pace?.(chunk.value.length);
  }
  const { terms, postings, ids } = index.totals;
  const counted = {
    terms: await countEntries(kv, prefixTerm, termIn, verification),
    postings: await countEntries(kv, prefixPosting, postingIn, verification),
    ids: await countEntries(kv, prefixId, idIn, verification),
  };
  // After another finding, wrong totals are no news.
  if (findings === 0) {
    compare("terms", counted.terms, terms, found);
    compare("postings", counted.postings, postings, found);
    compare("ids", counted.ids, ids, found);
  }
  const oldSnapshots = await countEntries(kv, prefixOldSnapshot, sealedIn, verification);
  let newSnapshots = 0;
  const sideValueIn: Opener = (entry) => {
    if (entry[0][1] === sideValueSpaceNumbers.snapshot) newSnapshots++;
    return sealedIn(entry);
  };
  const besides = await countEntries(kv, prefixSideValue, sideValueIn, verification);
  const snapshots = oldSnapshots + newSnapshots;
  const sideValues = besides - newSnapshots;
  return { chunks, events, terms, postings, ids, snapshots, sideValues };
}

function compare(what: string, counted: number, expected: number, found: Found): void {
  if (counted === expected) return;
  found(`the index holds ${counted} ${what}; the log accounts for ${expected}`);
}

/**
 * Decodes an entry. Returns the first position it concerns, or undefined if the entry is corrupted.
 */
type Opener = (entry: Entry) => number | undefined;

const termIn: Opener = ([key, value]) => bornAt(openTermNumber(key, value));
const postingIn: Opener = ([key, value]) => openPosting(key, value).chunkLast;
const idIn: Opener = ([key, value]) => {
  const body = unseal(key, value);
  return body && readUint64(body, 0);
};
const sealedIn: Opener = ([key, value]) => unseal(key, value) && 0;

/** Decodes the entries under a prefix and counts those that concern positions up to the head. */
async function countEntries(
  kv: ReadableKv,
  prefix: number,
  open: Opener,
  { head, found, pace }: Verification,
): Promise<number> {
  const last = Buffer.from([prefix + 1]);
  let first: Uint8Array = Buffer.from([prefix]);
  let count = 0;
  let before: Uint8Array = first;
  for (;;) {
    const range = { first, last, limit: pageCountMax, bytesMax: pageBytes, fillCache: false };
    const entries = await kv.page(range);
    const end = entries.at(-1);
    if (!end) return count;
    let bytes = 0;
    for (const [i, entry] of entries.entries()) {
      bytes += entry[0].length + entry[1].length;
      const position = opened(entry, open, (finding) => {
        // Its key may be what is damaged: the true one lies between its neighbours.
        const next = entries[i + 1]?.[0];
        found(finding, { first: behind(before), last: next ? ahead(next) : entry[0] });
      });
      before = entry[0];
      // An entry that cannot be decoded is a finding of its own and counts as present.
      if (position === undefined || position <= head) count++;
    }
    first = behind(end[0]);
    await pace?.(bytes);
  }
}

/** The least key that is greater. */
function behind(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

/** A key that is smaller, with none of the store's keys between. */
function ahead(key: Uint8Array): Buffer {
  const end = key.length - 1;
  const last = key[end] as number;
  const rest = Buffer.from(key.subarray(0, end));
  return last === 0 ? rest : Buffer.concat([rest, Buffer.of(last - 1), Buffer.alloc(64, 0xff)]);
}

function opened(entry: Entry, open: Opener, found: Found): number | undefined {
  try {
    const position = open(entry);
    if (position !== undefined) return position;
  } catch (error) {
    if (!(error instanceof AnnalsError || error instanceof RangeError)) throw error;
  }
  found(`the entry under key ${Buffer.from(entry[0]).toString("hex")} is corrupted`);
  return undefined;
}
