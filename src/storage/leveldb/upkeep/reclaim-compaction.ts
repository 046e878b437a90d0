// Remembers where values were replaced and asks LevelDB to compact there, because LevelDB would not
// do it soon: the replacing values are small. Only regions with enough reclaimed bytes are
// compacted, because a compaction rewrites whole tables.

import { bornAt, chunkKey } from "../format/keys.ts";
import type { Kv } from "../kv/kv.ts";
import type { ChunkPlan } from "./reclaim.ts";

/** Replaced keys whose positions are no further apart than this belong to one region. */
const gapMax = 1_000;

interface Spot {
  readonly place: number;
  readonly freed: number;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

export class Replaced {
  private chunks: Spot[] = [];
  private postings: Spot[] = [];
  private freed = 0;

  get bytes(): number {
    return this.freed;
  }

  add({ chunk, postings, bytesBefore, bytesAfter }: ChunkPlan): void {
    const freed = bytesBefore - bytesAfter;
    this.freed += freed;
    const key = chunkKey(chunk.last);
    this.chunks.push({ place: chunk.last, freed, first: key, last: key });
    for (const { term, entry, freed: bytes } of postings) {
      const [at] = entry;
      this.postings.push({ place: bornAt(term), freed: bytes, first: at, last: at });
    }
  }

  /** Compacts each region with at least this many reclaimed bytes. Then it forgets all regions. */
  async compact(kv: () => Kv, bytesMin: number): Promise<void> {
    const { chunks, postings } = this;
    this.chunks = [];
    this.postings = [];
    this.freed = 0;
    for (const { first, last, freed } of [...neighbours(chunks), ...neighbours(postings)]) {
      if (freed >= bytesMin) await kv().compact(first, last);
    }
  }
}

/** Merges replaced keys that are close together into regions. */
function neighbours(spots: readonly Spot[]): Spot[] {
  const together: Spot[] = [];
  const inOrder = spots.toSorted((a, b) => a.place - b.place || Buffer.compare(a.first, b.first));
  for (const spot of inOrder) {
    const before = together.at(-1);
    if (before === undefined || spot.place > before.place + gapMax) {
      together.push(spot);
      continue;
    }
    const last = Buffer.compare(before.last, spot.last) > 0 ? before.last : spot.last;
    const freed = before.freed + spot.freed;
    together[together.length - 1] = { place: spot.place, freed, first: before.first, last };
  }
  return together;
}
