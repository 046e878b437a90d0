// The newest chunks, in memory: what live subscribers read. Filled by commits, so that an event is
// delivered to any number of subscribers without touching the disk.

import type { Chunk } from "../format/chunk.ts";

const tailBytesMax = 8 * 1024 * 1024;
const tailChunksMax = 4_096;

export class ChunkTail {
  /** Consecutive chunks; the last one ends at the head. */
  private chunks: Chunk[] = [];
  private start = 0;
  private bytes = 0;

  push(chunk: Chunk): void {
    this.chunks.push(chunk);
    this.bytes += chunk.value.length;
    while (
      this.chunks.length - this.start > 1 &&
      (this.bytes > tailBytesMax || this.chunks.length - this.start > tailChunksMax)
    ) {
      this.bytes -= (this.chunks[this.start] as Chunk).value.length;
      this.start++;
    }
    if (this.start > tailChunksMax) {
      this.chunks = this.chunks.slice(this.start);
      this.start = 0;
    }
  }

  clear(): void {
    this.chunks = [];
    this.start = 0;
    this.bytes = 0;
  }

  /** The chunk as it is now, where it was in memory. */
  replace(chunk: Chunk): void {
    const at = this.indexOf(chunk.last);
    const before = this.chunks[at];
    if (before?.last !== chunk.last) return;
    this.bytes += chunk.value.length - before.value.length;
    this.chunks[at] = chunk;
  }

  /** The chunk that holds a position, where it is in memory. */
  holding(position: number): Chunk | undefined {
    const at = this.indexOf(position);
    const chunk = this.chunks[at];
    return chunk && chunk.first <= position ? chunk : undefined;
  }

  /**
   * Some of the chunks from the one that holds `first` up to the one that holds `last`; or none.
   */
  page(first: number, last: number, countMax: number): readonly Chunk[] {
    const from = this.indexOf(first);
    const begin = this.chunks[from];
    if (!begin || begin.first > first) return [];
    const to = Math.min(this.indexOf(last) + 1, this.chunks.length, from + countMax);
    return this.chunks.slice(from, to);
  }

  /** Whether at most so many chunks hold these positions, and all of them are in memory. */
  covers(first: number, last: number, countMax: number): boolean {
    const page = this.page(first, last, countMax);
    return (page.at(-1)?.last ?? 0) >= last;
  }

  /** The index of the first chunk whose last position is at or after the given one. */
  private indexOf(position: number): number {
    let low = this.start;
    let high = this.chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.chunks[middle] as Chunk).last < position) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
