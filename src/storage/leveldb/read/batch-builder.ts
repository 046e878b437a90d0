// Gathers frames into slabs near the size asked for.

import type { Batch } from "../../storage.ts";

export class BatchBuilder {
  private frames: Uint8Array[] = [];
  private held = 0;
  private heldBytes = 0;
  private readonly bytesMax: number;
  private readonly eventsMax: number;

  constructor(bytesMax: number, eventsMax: number | undefined) {
    this.bytesMax = bytesMax;
    this.eventsMax = eventsMax ?? Number.POSITIVE_INFINITY;
  }

  get count(): number {
    return this.held;
  }

  get full(): boolean {
    return this.heldBytes >= this.bytesMax || this.held >= this.eventsMax;
  }

  /** Whether `bytes` and `count` more belong in this slab; an empty slab takes anything. */
  fits(bytes: number, count: number): boolean {
    if (this.held === 0) return count <= this.eventsMax || count === 1;
    return this.heldBytes + bytes <= this.bytesMax && this.held + count <= this.eventsMax;
  }

  add(frames: Uint8Array, count: number): void {
    this.frames.push(frames);
    this.held += count;
    this.heldBytes += frames.length;
  }

  /** What was gathered, and begins anew. */
  take(through: number): Batch {
    const batch = { frames: this.frames, count: this.held, bytes: this.heldBytes, through };
    this.frames = [];
    this.held = 0;
    this.heldBytes = 0;
    return batch;
  }
}
