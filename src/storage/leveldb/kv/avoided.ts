// Keys whose entries are known to be lost: the scrubber found them missing or damaged. The database
// would say that nothing is stored there. A read that depends on them is CORRUPTION instead.

import { corruption } from "../../../domain/errors.ts";
import type { Entry, KeyRange, Kv, Scan } from "./kv.ts";
import { openScan } from "./scan.ts";

/** Both bounds are inclusive. */
export interface AvoidedRange {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly why: string;
}

const pageBytesDefault = 512 * 1024;

export class Avoided {
  private readonly ranges: AvoidedRange[] = [];

  add(range: AvoidedRange): void {
    this.ranges.push(range);
  }

  /** The same database, without what is avoided now or later. */
  over(kv: Kv): Kv {
    const { frozen, getNow } = kv;
    return {
      ...kv,
      whole: kv,
      getMany: async (keys) => {
        this.assertNone(keys);
        return kv.getMany(keys);
      },
      ...(getNow && {
        getNow: (key) => {
          this.assertNone([key]);
          return getNow(key);
        },
      }),
      page: async (range) => this.judge(range, await kv.page(range), false),
      scan: (range) => new AvoidingScan(openScan(kv, range), range, this),
      ...(frozen && { frozen: (range) => new AvoidingScan(frozen(range), range, this) }),
    };
  }

  /** Throws CORRUPTION. */
  assertNone(keys: readonly Uint8Array[]): void {
    for (const range of this.ranges) {
      if (keys.some((key) => isWithin(key, range))) throw failure(range);
    }
  }

  /**
   * Throws CORRUPTION if the page passed keys to avoid. In a walk it ends before them, and the next
   * page is CORRUPTION.
   */
  judge(range: KeyRange, entries: Entry[], isWalk: boolean): Entry[] {
    if (this.ranges.length === 0) return entries;
    const { first, last, reverse = false } = range;
    const end = isWhole(range, entries) ? entries.at(-1)?.[0] : undefined;
    const [from, to] = reverse ? [end ?? first, last] : [first, end ?? last];
    const passed = this.ranges.filter(
      (each) => Buffer.compare(each.last, from) >= 0 && Buffer.compare(each.first, to) <= 0,
    );
    const [one] = passed;
    if (one === undefined) return entries;
    const before = entries.findIndex(([key]) =>
      passed.some((each) => Buffer.compare(key, each.first) >= 0),
    );
    if (!isWalk || reverse || before === 0 || entries.length === 0) throw failure(one);
    return before < 0 ? entries : entries.slice(0, before);
  }
}

/** Otherwise the page ended where its range does. */
function isWhole({ limit, bytesMax = pageBytesDefault }: KeyRange, entries: Entry[]): boolean {
  if (entries.length >= limit) return true;
  return entries.reduce((sum, [key, value]) => sum + key.length + value.length, 0) >= bytesMax / 2;
}

function isWithin(key: Uint8Array, { first, last }: AvoidedRange): boolean {
  return Buffer.compare(key, first) >= 0 && Buffer.compare(key, last) <= 0;
}

function failure({ why }: AvoidedRange): Error {
  return corruption(`what is stored there is lost or damaged: ${why}`);
}

class AvoidingScan implements Scan {
  private readonly scan: Scan;
  private readonly range: KeyRange;
  private readonly avoided: Avoided;
  private first: Uint8Array;

  constructor(scan: Scan, range: KeyRange, avoided: Avoided) {
    this.scan = scan;
    this.range = range;
    this.avoided = avoided;
    this.first = range.first;
  }

  async next(): Promise<Entry[]> {
    const read = await this.scan.next();
    // A page of a walk covers what it has; at the end of the walk, all that is left.
    const last = read.at(-1)?.[0] ?? this.range.last;
    const covered = { ...this.range, first: this.first, last };
    const entries = this.avoided.judge(covered, read, true);
    const end = entries.at(-1)?.[0];
    if (end !== undefined) this.first = Buffer.concat([end, Buffer.alloc(1)]);
    return entries;
  }

  close(): Promise<void> {
    return this.scan.close();
  }
}
