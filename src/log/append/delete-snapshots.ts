// Deletes snapshots page by page through the append queue, so that an append never waits for more
// than one page.

import { positionMax } from "../../domain/limits.ts";
import { snapshotKeyOf, snapshotNameBefore, snapshotPrefix } from "../../domain/snapshot.ts";
import type { Storage } from "../../storage/storage.ts";
import type { CancelSignal } from "../cancellation.ts";
import { requireLeader } from "../following.ts";
import type { SnapshotSelection } from "../verbs.ts";
import type { AppendQueue } from "./append-queue.ts";
import { snapshotNames } from "./side-values.ts";

export interface SnapshotDeletion {
  readonly storage: Storage;
  readonly queue: AppendQueue;
}

/**
 * Returns how many were deleted. Throws the errors of `EventLog.append`; some may be deleted by
 * then.
 */
export async function deleteSnapshots(
  { storage, queue }: SnapshotDeletion,
  { stream, kind, maxVersion = positionMax }: SnapshotSelection,
  signal?: CancelSignal,
): Promise<number> {
  requireLeader(storage);
  let count = 0;
  let after = kind === undefined ? "" : snapshotNameBefore(stream, kind, maxVersion);
  for (;;) {
    const page = await snapshotNames(storage, snapshotPrefix(stream, kind), after);
    const last = page.at(-1);
    if (last === undefined) return count;
    after = last;
    const names = page.filter((name) => (snapshotKeyOf(name)?.version ?? 0) <= maxVersion);
    if (names.length > 0) await queue.add({ kind: "delete-snapshots", names }, signal);
    count += names.length;
  }
}
