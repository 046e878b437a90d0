// What the plain model keeps beside its events: snapshots and notes, as lists.
import type {
  SideValue,
  SideValueStore,
  SnapshotPage,
  SnapshotSelection,
  SnapshotStore,
  StoredSnapshot,
} from "../../src/storage/storage.ts";

export interface BesideEvents {
  snapshots: StoredSnapshot[];
  sideValues: SideValue[];
}

/** By UTF-8 bytes, which is by code point and not by JavaScript's UTF-16 units. */
export function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b));
}

export function modelSnapshots(data: BesideEvents, assertOpen: () => void): SnapshotStore {
  const among =
    ({ stream, kind, maxVersion }: SnapshotSelection) =>
    (snapshot: StoredSnapshot) =>
      snapshot.stream === stream &&
      (kind === undefined || snapshot.kind === kind) &&
      snapshot.version <= maxVersion;
  const inOrder = (a: Pick<StoredSnapshot, "kind" | "version">, b: typeof a) =>
    compareUtf8(a.kind, b.kind) || b.version - a.version;

  return {
    async save(snapshot) {
      assertOpen();
      const { stream, kind, version } = snapshot;
      data.snapshots = data.snapshots.filter(
        (old) => old.stream !== stream || old.kind !== kind || old.version !== version,
      );
      data.snapshots.push({ ...snapshot, payload: new Uint8Array(snapshot.payload) });
    },
    async list(page: SnapshotPage) {
      assertOpen();
      const { after, limit } = page;
      return data.snapshots
        .filter(among(page))
        .toSorted(inOrder)
        .filter((snapshot) => after === undefined || inOrder(snapshot, after) > 0)
        .slice(0, limit);
    },
    async remove(selection) {
      assertOpen();
      const removed = data.snapshots.filter(among(selection));
      data.snapshots = data.snapshots.filter((snapshot) => !removed.includes(snapshot));
      return removed.length;
    },
  };
}

export function modelSideValues(data: BesideEvents, assertOpen: () => void): SideValueStore {
  return {
    async get(space, names) {
      assertOpen();
      const asked = new Set(names);
      const found = data.sideValues.filter(
        (sideValue) => sideValue.space === space && asked.has(sideValue.name),
      );
      return new Map(found.map(({ name, value }) => [name, value]));
    },
    async list({ space, prefix, after, limit }) {
      assertOpen();
      return data.sideValues
        .filter((sideValue) => sideValue.space === space && sideValue.name.startsWith(prefix))
        .filter(({ name }) => compareUtf8(name, after) > 0)
        .toSorted((a, b) => compareUtf8(a.name, b.name))
        .slice(0, limit);
    },
  };
}
