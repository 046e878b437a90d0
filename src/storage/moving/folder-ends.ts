// A folder as either end of a move. As a source it is read without being opened; as a target it is
// what a follower has, until the move is finished.

import type { CopiedStore } from "../copy.ts";
import { adoptEpochs } from "../leveldb/create.ts";
import { StoreRefused } from "../leveldb/folder/store-refused.ts";
import { openFolderCopy } from "../leveldb/offline/backup.ts";
import { promoteFolder } from "../leveldb/offline/promote.ts";
import { verifyFolder } from "../leveldb/offline/verify-folder.ts";
import { openLevelStore } from "../leveldb/open.ts";
import type { MoveContext, Moved, SourceEnd, TargetEnd } from "./ends.ts";

/** Throws StoreRefused, and BackupRefused if the store is damaged. */
export async function folderSource(folder: string): Promise<SourceEnd> {
  const copy = await openFolderCopy(folder);
  return { ...copy, isInUse: () => copy.isOutdated() };
}

/** Throws StoreRefused if it holds anything but an unfinished copy of the store. */
export async function folderTarget(
  folder: string,
  store: CopiedStore,
  { progress, signal, warn }: MoveContext,
): Promise<TargetEnd> {
  const { storage, target } = await openLevelStore({ folder, copied: async () => store, warn });
  const { storeId } = storage.identity;
  if (target === undefined || storeId !== store.storeId) {
    await storage.close();
    throw new StoreRefused(folder, [
      `it holds a copy of store ${storeId}, not of ${store.storeId}`,
    ]);
  }
  return {
    start: async () => ({ ...(await target.start()), follow: false }),
    receive: (part) => target.receive(part),
    close: () => storage.close(),
    async finish(): Promise<Moved> {
      await storage.close();
      await adoptEpochs(folder, store.history);
      const report = await verifyFolder(folder, {
        progress: (position, last) => progress("verified", position, last),
        signal,
      });
      if (report.findings.length > 0) throw new StoreRefused(folder, report.findings);
      const { epoch, head } = await promoteFolder(folder);
      return { storeId, epoch, head, chain: report.headHash ?? "" };
    },
  };
}
