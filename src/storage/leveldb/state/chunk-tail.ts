// The newest chunks in memory, for live subscribers. Commits add chunks, so that an event is
// delivered to any number of subscribers without reading from disk.

import type { Chunk } from "../format/chunk.ts";

const tailBytesMax = 8 * 1024 * 1024;
const tailChunksMax = 4_096;

export class ChunkTail {
  /** Consecutive chunks. The last one ends at the head. */
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
    // What was removed must not stay in memory for long.
    if (this.start > this.chunks.length / 2) {
      this.chunks = this.chunks.slice(this.start);
      this.start = 0;
    }
  }

  /** Chunks in memory, with those that are removed soon. */
  get count(): number {
    return this.chunks.length;
  }

  clear(): void {
    this.chunks = [];
    this.start = 0;
    this.bytes = 0;
  }

  /** Replaces a chunk by its rewritten form, if it is in memory. */
  replace(chunk: Chunk): void {
    const at = this.indexOf(chunk.last);
    const before = this.chunks[at];
    if (before?.last !== chunk.last) return;
    this.bytes += chunk.value.length - before.value.length;
    this.chunks[at] = chunk;
  }

  /** The chunk that contains a position, if it is in memory. */
  holding(position: number): Chunk | undefined {
    const at = this.indexOf(position);
    const chunk = this.chunks[at];
    return chunk && chunk.first <= position ? chunk : undefined;
  }

  /** Some of the chunks from the one with `first` up to the one with `last`, or none. */
  page(first: number, last: number, countMax: number): readonly Chunk[] {
    const from = this.indexOf(first);
    const begin = this.chunks[from];
    if (!begin || begin.first > first) return [];
    const to = Math.min(this.indexOf(last) + 1, this.chunks.length, from + countMax);
    return this.chunks.slice(from, to);
  }

  /** The chunks with these positions, at most so many. Undefined: not all are in memory. */
  covering(first: number, last: number, countMax: number): readonly Chunk[] | undefined {
    const page = this.page(first, last, countMax);
    return (page.at(-1)?.last ?? 0) >= last ? page : undefined;
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
