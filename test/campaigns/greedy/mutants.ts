// The control of the campaign: a server that draws from its budget and never says no.
import type { Edit } from "../broken-servers/mutants.ts";

const file = "log/scheduling/client-memory.ts";

export const greedyMutants: Readonly<Record<string, { readonly edits: readonly Edit[] }>> = {
  "greedy: no budget": {
    edits: [
      { file, find: "if (!fits && !memory.makeRoom(this, bytes)) return false;", replace: "" },
      {
        file,
        find: "return !this.isLarge || heldBytes <= this.sureBytes;",
        replace: "return heldBytes >= 0;",
      },
    ],
  },
};
