// `Kv` in memory: a sorted list of keys. For `--memory` and for tests. Its content is lost when it
// closes, which GetInfo reports.

import { openScan } from "./scan.ts";
import type { Entry, KeyRange, Kv } from "./kv.ts";

export function openMemoryKv(): Kv {
  const values = new Map<string, Entry>();
  let sorted: string[] = [];
  // Names written since the last range, which merges them in.
  let added: string[] = [];

  function keysInOrder(): string[] {
    if (added.length > 0) {
      sorted = merged(sorted, added.toSorted());
      added = [];
    }
    return sorted;
  }

  return {
    async getMany(keys) {
      return keys.map((key) => values.get(nameOf(key))?.[1]);
    },
    getNow: (key) => values.get(nameOf(key))?.[1],
    async page(range) {
      return pageOf(keysInOrder(), values, range);
    },
    frozen(range) {
      const keys = [...keysInOrder()];
      const as = new Map(values);
      return openScan(
        { getMany: async () => [], page: async (page) => pageOf(keys, as, page) },
        range,
      );
    },
    async write(operations) {
      for (const [key, value] of operations) {
        const name = nameOf(key);
        if (value === undefined) values.delete(name);
        else {
          if (!values.has(name)) added.push(name);
          values.set(name, [key, value]);
        }
      }
    },
    async flush() {},
    async compact() {},
    async close() {},
  };
}

/** A string whose order is the order of the bytes. */
function nameOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.length).toString("latin1");
}

function pageOf(keys: string[], values: Map<string, Entry>, range: KeyRange): Entry[] {
  const low = lowerBound(keys, nameOf(range.first));
  const last = nameOf(range.last);
  const high = lowerBound(keys, `${last}\u0000`);
  const entries: Entry[] = [];
  const bytesMax = range.bytesMax ?? 512 * 1024;
  let bytes = 0;
  for (let i = 0; i < high - low; i++) {
    if (entries.length >= range.limit || bytes >= bytesMax) break;
    const name = keys[range.reverse ? high - 1 - i : low + i] as string;
    const entry = values.get(name);
    if (!entry) continue;
    entries.push(entry);
    bytes += entry[1].length;
  }
  return entries;
}

/**
 * Merges two sorted lists. A name that was deleted and written again is in both, and once in the
 * result.
 */
function merged(a: readonly string[], b: readonly string[]): string[] {
  const names: string[] = [];
  let i = 0;
  for (const name of b) {
    while (i < a.length && (a[i] as string) < name) names.push(a[i++] as string);
    if (a[i] === name) i++;
    names.push(name);
  }
  while (i < a.length) names.push(a[i++] as string);
  return names;
}

function lowerBound(keys: string[], name: string): number {
  let low = 0;
  let high = keys.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if ((keys[middle] as string) < name) low = middle + 1;
    else high = middle;
  }
  return low;
}
