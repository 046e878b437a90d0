// Snapshots as an engine sees them: side values by stream, kind and version. For tests without a
// log over the engine.
import { snapshotKeyOf, snapshotName, snapshotPrefix } from "../../src/domain/snapshot.ts";
import type { SideValueChange, Storage } from "../../src/storage/storage.ts";
import { composeCommit } from "./events.ts";

export interface PlainSnapshot {
  readonly stream: string;
  readonly kind: string;
  readonly version: number;
  readonly payload: Uint8Array;
}

function snapshotChange({ payload, ...key }: PlainSnapshot): SideValueChange {
  return { space: "snapshot", name: snapshotName(key), value: payload };
}

export async function saveSnapshot(storage: Storage, snapshot: PlainSnapshot): Promise<void> {
  await commitChanges(storage, [snapshotChange(snapshot)]);
}

/** The snapshots of a stream: by kind, the newest version of a kind first. */
export async function snapshotsOf(storage: Storage, stream: string): Promise<PlainSnapshot[]> {
  const page = { space: "snapshot", prefix: snapshotPrefix(stream), after: "", limit: 1_000 };
  const found = await storage.sideValues.list({ ...page, space: "snapshot" });
  return found.map(({ name, value: payload }) => {
    const key = snapshotKeyOf(name);
    if (key === undefined) throw new Error(`no snapshot is named ${JSON.stringify(name)}`);
    return { ...key, payload };
  });
}

export async function deleteSnapshots(storage: Storage, stream: string): Promise<void> {
  const found = await snapshotsOf(storage, stream);
  await commitChanges(
    storage,
    found.map((each) => ({ ...snapshotChange(each), value: undefined })),
  );
}

async function commitChanges(
  storage: Storage,
  sideValues: readonly SideValueChange[],
): Promise<void> {
  await storage.commit({ ...(await composeCommit(storage, [])), sideValues });
}
