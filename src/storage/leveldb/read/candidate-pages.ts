// The candidates of an index walk in pages, with what has their records: their postings, those of
// their streams, or else their chunks.

import type { StorageRead } from "../../storage.ts";
import type { Chunk } from "../format/chunk.ts";
import { postingKey, type TermNumber } from "../format/keys.ts";
import { framesIn, openPosting } from "../format/posting.ts";
import type { OpenStore } from "../state/open-store.ts";
import { chunksEndingAt } from "./chunks.ts";
import type { Candidates, MergedPostings } from "./postings.ts";

const candidatesPerPageFirst = 12;
export const candidatesPerPageMax = 64;
const pageBytesTarget = 512 * 1024;
/** With more hits in a chunk, the chunk is read. */
export const besideStreamsMax = 4;

export interface CandidatePage {
  readonly candidates: readonly Candidates[];
  /** In the same places. Undefined: the candidate has its frames. */
  readonly chunks: readonly (Chunk | undefined)[];
  readonly isLast: boolean;
}

/**
 * Chunks of one event, which may have megabytes, that are looked up in one trip: a few at first, so
 * that no page holds many large ones.
 */
const tripLargeFirst = 1;
const tripGrowth = 4;

export class CandidatePages {
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  private readonly postings: MergedPostings;
  private count = candidatesPerPageFirst;
  /** Candidates that were taken and are on no page yet. */
  private waiting: readonly Candidates[] = [];
  private isEnd = false;

  constructor(store: OpenStore, read: StorageRead, postings: MergedPostings) {
    this.store = store;
    this.read = read;
    this.postings = postings;
  }

  /** One call at a time, and none after the last page. Throws CORRUPTION. */
  async next(): Promise<CandidatePage> {
    if (this.waiting.length === 0) this.waiting = await this.taken();
    const chunks: (Chunk | undefined)[] = [];
    let bytes = 1;
    for (let large = tripLargeFirst; bytes < pageBytesTarget; large *= tripGrowth) {
      const at = chunks.length;
      if (at === this.waiting.length) break;
      const trip = this.waiting.slice(at, endOfTrip(this.waiting, at, large));
      for (const [i, chunk] of (await chunksOf(this.store, trip)).entries()) {
        bytes += (chunk?.value ?? (trip[i] as Candidates).posting.records).length;
        chunks.push(chunk);
      }
    }
    const candidates = this.waiting.slice(0, chunks.length);
    this.waiting = this.waiting.slice(chunks.length);
    const fitting = Math.floor((pageBytesTarget * candidates.length) / bytes);
    this.count = Math.max(1, Math.min(this.count * 2, fitting, candidatesPerPageMax));
    return { candidates, chunks, isLast: this.isEnd && this.waiting.length === 0 };
  }

  private async taken(): Promise<readonly Candidates[]> {
    const taken = await this.postings.take(this.count);
    const behind = taken.findIndex((each) => isBehind(this.read, each));
    this.isEnd = behind >= 0 || taken.length < this.count;
    if (behind >= 0) taken.length = behind;
    return withStreams(this.store, taken);
  }
}

/** Where a trip ends that begins here and has this many chunks that may be large. */
function endOfTrip(candidates: readonly Candidates[], from: number, large: number): number {
  let left = large;
  for (let at = from; at < candidates.length; at++) {
    const { frames, chunkFirst, chunkLast } = candidates[at] as Candidates;
    if (frames === undefined && chunkFirst === chunkLast && left-- === 0) return at;
  }
  return candidates.length;
}

/** Whether all further candidates are beyond the read's end. */
function isBehind(read: StorageRead, { posting, chunkFirst, chunkLast }: Candidates): boolean {
  const { positions, versions } = read;
  if (read.direction === "forwards") {
    return chunkFirst > positions.last || posting.before >= (versions?.last ?? Infinity);
  }
  const newest = posting.before + posting.ordinals.length;
  return chunkLast < positions.first || newest < (versions?.first ?? 0);
}

/** The candidates, with frames where the postings of the streams that they name have them. */
async function withStreams(
  store: OpenStore,
  page: readonly Candidates[],
): Promise<readonly Candidates[]> {
  const named = page.map(({ chunkLast, streams }) => {
    const isNamed = streams.length > 0 && streams.length <= besideStreamsMax;
    return isNamed && store.tail.holding(chunkLast) === undefined ? [...new Set(streams)] : [];
  });
  const keys = page.flatMap(({ chunkLast }, i) =>
    (named[i] as TermNumber[]).map((stream) => postingKey(stream, chunkLast)),
  );
  if (keys.length === 0) return page;
  const values = await store.kv.getMany(keys);
  let next = 0;
  return page.map((candidates, i) => {
    const byOrdinal = new Map<number, Uint8Array>();
    for (const _ of named[i] as TermNumber[]) {
      const [key, value] = [keys[next] as Uint8Array, values[next]];
      next++;
      // Where it is missing, or has no records, they are in the chunk.
      if (value === undefined) continue;
      const { ordinals, records } = openPosting(key, value);
      framesIn(records).forEach((frame, at) => byOrdinal.set(ordinals[at] as number, frame));
    }
    const frames = candidates.ordinals.map((ordinal) => byOrdinal.get(ordinal));
    if (frames.includes(undefined)) return candidates;
    return { ...candidates, frames: frames as Uint8Array[] };
  });
}

/** The chunks of the candidates whose records are found nowhere else. */
async function chunksOf(
  store: OpenStore,
  page: readonly Candidates[],
): Promise<(Chunk | undefined)[]> {
  const wanted = page.filter(({ frames }) => frames === undefined);
  if (wanted.length === 0) return page.map(() => undefined);
  const lasts = wanted.map(({ chunkLast }) => chunkLast);
  const chunks = await chunksEndingAt(store, lasts);
  let next = 0;
  return page.map(({ frames }) => (frames === undefined ? chunks[next++] : undefined));
}
