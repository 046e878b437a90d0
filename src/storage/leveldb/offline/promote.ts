// `annals promote FOLDER`: makes the copy of a follower a store of its own, with a new epoch: what
// its leader recorded beyond is not part of it.

import { copyStateIn } from "../copy/copy-state.ts";
import { promoteCopy } from "../create.ts";
import { lockFolder } from "../folder/folder-lock.ts";
import { readIdentity } from "../folder/identity.ts";
import { StoreRefused } from "../folder/store-refused.ts";
import { openView } from "./view.ts";

export interface Promoted {
  readonly storeId: string;
  /** The epoch that begins behind `head`. */
  readonly epoch: string;
  readonly head: number;
  /** Checkpoints, snapshots and groups are as of the head. False: they are older. */
  readonly isExact: boolean;
}

/** Throws StoreRefused. The folder must be no server's. */
export async function promoteFolder(folder: string): Promise<Promoted> {
  const identity = await readIdentity(folder);
  if (!identity?.isCopy) throw new StoreRefused(folder, ["it is no follower's copy"]);
  const lock = await lockFolder(folder);
  try {
    const view = await openView(folder);
    const { findings, content } = view;
    try {
      if (findings.length > 0 || !content) throw new StoreRefused(folder, findings);
      const { position: head } = content.head;
      const { cursor, wholeFrom } = await copyStateIn(content.kv);
      if (wholeFrom > head) {
        throw new StoreRefused(folder, [
          "the copy is not whole: events were removed that it was still to get; restore a backup",
        ]);
      }
      const [storeId, epoch] = await promoteCopy(folder, head);
      return { storeId, epoch, head, isExact: cursor !== "" };
    } finally {
      await view.close();
    }
  } finally {
    await lock.release();
  }
}
