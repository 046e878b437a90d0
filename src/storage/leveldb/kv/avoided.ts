// Keeps reads away from keys whose block LevelDB cannot decode: it would end the process by an
// assertion instead of answering. A read that would come to such keys is CORRUPTION.

import { corruption } from "../../../domain/errors.ts";
import type { AvoidedRange, Entry, KeyRange, Scan } from "./kv.ts";

const pageBytesDefault = 512 * 1024;

export class Avoided {
  private readonly ranges: AvoidedRange[] = [];

  get isEmpty(): boolean {
    return this.ranges.length === 0;
  }

  add(range: AvoidedRange): void {
    this.ranges.push(range);
  }

  /** Throws CORRUPTION. */
  assertNone(keys: readonly Uint8Array[]): void {
    for (const range of this.ranges) {
      if (keys.some((key) => !isBefore(key, range.first) && !isBehind(key, range.last))) {
        throw failure(range);
      }
    }
  }

  /**
   * Reads a page up to where the keys to avoid begin. Throws CORRUPTION if that is not a whole
   * page: a short one would say that there are no more entries. In a walk only an empty one does.
   */
  async page(
    range: KeyRange,
    read: (range: KeyRange, stop: Uint8Array | undefined) => Promise<Entry[]>,
    isWalk: boolean,
  ): Promise<Entry[]> {
    const { first, last, reverse = false, limit, bytesMax = pageBytesDefault } = range;
    const met = this.ranges.filter(
      (each) => !isBefore(last, each.first) && !isBehind(first, each.last),
    );
    const nearest = met.toSorted((a, b) =>
      reverse ? order(a.last, b.last, -1) : order(a.first, b.first, 1),
    )[0];
    if (nearest === undefined) return read(range, undefined);
    const stop = reverse ? nearest.last : nearest.first;
    const isAhead = stop !== undefined && (reverse ? isBehind(last, stop) : isBefore(first, stop));
    if (!isAhead) throw failure(nearest);
    const entries = await read(range, stop);
    const bytes = entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0);
    const isWhole = entries.length >= limit || bytes >= bytesMax / 2;
    if (!isWhole && !(isWalk && entries.length > 0)) throw failure(nearest);
    return entries;
  }
}

/** An absent bound is met first, from either side. */
function order(a: Uint8Array | undefined, b: Uint8Array | undefined, direction: 1 | -1): number {
  if (a === undefined || b === undefined) return a === b ? 0 : a === undefined ? -1 : 1;
  return direction * Buffer.compare(a, b);
}

function isBefore(key: Uint8Array, first: Uint8Array | undefined): boolean {
  return first !== undefined && Buffer.compare(key, first) < 0;
}

function isBehind(key: Uint8Array, last: Uint8Array | undefined): boolean {
  return last !== undefined && Buffer.compare(key, last) > 0;
}

function failure({ why }: AvoidedRange): Error {
  return corruption(`what is stored there cannot be read: ${why}`);
}

/** A walk that goes on page by page once there are keys to avoid: its iterator reads ahead. */
export class AvoidingScan implements Scan {
  private readonly scan: Scan;
  private readonly range: KeyRange;
  private readonly avoided: Avoided;
  private readonly page: (range: KeyRange) => Promise<Entry[]>;
  private first: Uint8Array;

  constructor(
    scan: Scan,
    range: KeyRange,
    avoided: Avoided,
    page: (range: KeyRange) => Promise<Entry[]>,
  ) {
    this.scan = scan;
    this.range = range;
    this.avoided = avoided;
    this.page = page;
    this.first = range.first;
  }

  async next(): Promise<Entry[]> {
    let entries: Entry[];
    if (this.avoided.isEmpty) entries = await this.scan.next();
    else {
      await this.scan.close();
      entries = await this.page({ ...this.range, first: this.first });
    }
    const last = entries.at(-1);
    if (last) this.first = Buffer.concat([last[0], Buffer.alloc(1)]);
    return entries;
  }

  close(): Promise<void> {
    return this.scan.close();
  }
}
