// Where a store in memory keeps its time over restarts, as MARK does on disk.
import type { TimeKeeper } from "../../src/storage/leveldb/state/open-store.ts";

export function keptTime(): TimeKeeper {
  let known = 0;
  return {
    get known() {
      return known;
    },
    keep: (time) => void (known = time),
  };
}
