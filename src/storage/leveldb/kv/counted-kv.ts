// LevelDB numbers every entry it writes, and forgets to tell. Counting along gives the number of
// the last durable write, which the high-water mark keeps: a log that lost its last write, of
// events or of a snapshot, shows at the next start.

import type { Kv, WriteBatch } from "./kv.ts";
import { openScan } from "./scan.ts";

/** `written` is told the entries of each durable batch. */
export function countedKv(kv: Kv, written: (entries: number) => void): Kv {
  return {
    getMany: (keys) => kv.getMany(keys),
    page: (range) => kv.page(range),
    scan: (range) => openScan(kv, range),
    batch: () => counted(kv.batch(), written),
    flush: () => kv.flush(),
    compact: (first, last) => kv.compact(first, last),
    close: () => kv.close(),
  };
}

function counted(batch: WriteBatch, written: (entries: number) => void): WriteBatch {
  let entries = 0;
  return {
    put(key, value) {
      entries++;
      batch.put(key, value);
    },
    delete(key) {
      entries++;
      batch.delete(key);
    },
    async write() {
      await batch.write();
      written(entries);
    },
  };
}
