// Servers whose reclaimer is broken on purpose: what this campaign must find, or it proves nothing.
import type { Edit } from "../broken-servers/mutants.ts";

export const reclaimMutants: Readonly<Record<string, { readonly edits: readonly Edit[] }>> = {
  "reclaims an event too many": {
    edits: [
      {
        file: "storage/leveldb/upkeep/reclaim.ts",
        find: "scanPlacement(record).version <= bound.gone;",
        replace: "scanPlacement(record).version <= bound.gone + 1;",
      },
    ],
  },
};
