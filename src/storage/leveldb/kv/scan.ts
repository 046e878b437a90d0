// A walk through a range of keys, page by page.

import type { Entry, KeyRange, ReadableKv, Scan } from "./kv.ts";

export function openScan(kv: ReadableKv, range: KeyRange): Scan {
  return kv.scan?.(range) ?? new PagedScan(kv, range);
}

/** A walk that looks each page up anew. */
class PagedScan implements Scan {
  private readonly kv: ReadableKv;
  private readonly range: KeyRange;
  private first: Uint8Array;

  constructor(kv: ReadableKv, range: KeyRange) {
    this.kv = kv;
    this.range = range;
    this.first = range.first;
  }

  async next(): Promise<Entry[]> {
    const entries = await this.kv.page({ ...this.range, first: this.first });
    const last = entries.at(-1);
    if (last) this.first = Buffer.concat([last[0], Buffer.alloc(1)]);
    return entries;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}
