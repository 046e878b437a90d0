// What is remembered of terms between commits, in flat arrays: half a million terms in some tens of
// megabytes, without an object each for the garbage collector to visit. When it is full, terms that
// were not used for a round make room.

import type { TermKind } from "./keys.ts";
import type { TermHead } from "./terms.ts";

const capacityFirst = 1_024;

export class TermTable {
  private readonly countMax: number;
  private readonly slots: Map<string, number>[] = [1, 2, 3, 4].map(() => new Map());
  private names: string[] = [];
  private kinds = new Uint8Array(capacityFirst);
  private used = new Uint8Array(capacityFirst);
  private numbers = new Float64Array(capacityFirst);
  private counts = new Float64Array(capacityFirst);
  private lastChunks = new Float64Array(capacityFirst);
  private lasts = new Float64Array(capacityFirst);
  private hand = 0;

  constructor(countMax: number) {
    this.countMax = countMax;
  }

  get(kind: TermKind, name: string): TermHead | undefined {
    const slot = this.ofKind(kind).get(name);
    if (slot === undefined) return undefined;
    this.used[slot] = 1;
    return {
      number: this.numbers[slot] as number,
      count: this.counts[slot] as number,
      lastChunk: this.lastChunks[slot] as number,
      last: this.lasts[slot] as number,
    };
  }

  has(kind: TermKind, name: string): boolean {
    return this.ofKind(kind).has(name);
  }

  set(kind: TermKind, name: string, head: TermHead): void {
    let slot = this.ofKind(kind).get(name);
    if (slot === undefined) {
      slot = this.freeSlot();
      this.ofKind(kind).set(name, slot);
      this.names[slot] = name;
      this.kinds[slot] = kind;
    }
    this.used[slot] = 1;
    this.numbers[slot] = head.number;
    this.counts[slot] = head.count;
    this.lastChunks[slot] = head.lastChunk;
    this.lasts[slot] = head.last;
  }

  clear(): void {
    for (const slots of this.slots) slots.clear();
    this.names = [];
    this.hand = 0;
  }

  private ofKind(kind: TermKind): Map<string, number> {
    return this.slots[kind - 1] as Map<string, number>;
  }

  private freeSlot(): number {
    const slot = this.names.length;
    if (slot >= this.countMax) return this.evict();
    if (slot === this.kinds.length) this.grow();
    return slot;
  }

  private evict(): number {
    for (;;) {
      const slot = this.hand;
      this.hand = (this.hand + 1) % this.countMax;
      if (this.used[slot] === 1) {
        this.used[slot] = 0;
        continue;
      }
      this.ofKind(this.kinds[slot] as TermKind).delete(this.names[slot] as string);
      return slot;
    }
  }

  private grow(): void {
    const capacity = Math.min(this.kinds.length * 2, this.countMax);
    this.kinds = enlarged(this.kinds, new Uint8Array(capacity));
    this.used = enlarged(this.used, new Uint8Array(capacity));
    this.numbers = enlarged(this.numbers, new Float64Array(capacity));
    this.counts = enlarged(this.counts, new Float64Array(capacity));
    this.lastChunks = enlarged(this.lastChunks, new Float64Array(capacity));
    this.lasts = enlarged(this.lasts, new Float64Array(capacity));
  }
}

function enlarged<T extends Uint8Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
