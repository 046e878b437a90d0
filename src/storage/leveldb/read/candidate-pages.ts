// The candidates of an index walk in pages, with the chunks of those whose postings have no
// records.

import type { StorageRead } from "../../storage.ts";
import type { Chunk } from "../format/chunk.ts";
import type { OpenStore } from "../state/open-store.ts";
import { chunksEndingAt } from "./chunks.ts";
import type { Candidates, MergedPostings } from "./postings.ts";

const candidatesPerPageFirst = 12;
export const candidatesPerPageMax = 64;
const pageBytesTarget = 512 * 1024;

export interface CandidatePage {
  readonly candidates: readonly Candidates[];
  /** In the same places. Undefined: its posting has the records. */
  readonly chunks: readonly (Chunk | undefined)[];
  readonly isLast: boolean;
}

export class CandidatePages {
  private readonly store: OpenStore;
  private readonly read: StorageRead;
  private readonly postings: MergedPostings;
  private count = candidatesPerPageFirst;

  constructor(store: OpenStore, read: StorageRead, postings: MergedPostings) {
    this.store = store;
    this.read = read;
    this.postings = postings;
  }

  /** One call at a time, and none after the last page. Throws CORRUPTION. */
  async next(): Promise<CandidatePage> {
    const candidates = await this.postings.take(this.count);
    const behind = candidates.findIndex((each) => isBehind(this.read, each));
    const isLast = behind >= 0 || candidates.length < this.count;
    if (behind >= 0) candidates.length = behind;
    const chunks = await chunksOf(this.store, candidates);
    let bytes = 1;
    for (const [i, { posting }] of candidates.entries()) {
      bytes += (chunks[i]?.value ?? posting.records).length;
    }
    const fitting = Math.floor((pageBytesTarget * candidates.length) / bytes);
    this.count = Math.max(1, Math.min(this.count * 2, fitting, candidatesPerPageMax));
    return { candidates, chunks, isLast };
  }
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

/** The chunks of the candidates whose postings have no records. */
async function chunksOf(
  store: OpenStore,
  page: readonly Candidates[],
): Promise<(Chunk | undefined)[]> {
  const lasts: number[] = [];
  for (const { frames, chunkLast } of page) if (frames === undefined) lasts.push(chunkLast);
  if (lasts.length === 0) return [];
  const chunks = await chunksEndingAt(store, lasts);
  let next = 0;
  return page.map(({ frames }) => (frames === undefined ? chunks[next++] : undefined));
}
