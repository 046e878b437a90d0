// Snapshots beside the log: sealed values under the stream's name, so that a range gives them by
// kind, the newest version of a kind first, the last saved of a version first. The key is drawn in
// keys.ts; the value is
//
//   8  position of the event at the snapshot's version
//   -  the encoded Snapshot message
//   4  CRC-32 of the key and of everything before
//
// Replacing a snapshot writes a new key and then deletes the old ones: nothing is overwritten.

import { corruption } from "../../../domain/errors.ts";
import type {
  SnapshotPage,
  SnapshotSelection,
  SnapshotStore,
  StoredSnapshot,
} from "../../storage.ts";
import { seal, unseal } from "../format/checksum.ts";
import type { OpenStore } from "../state/open-store.ts";
import { prefixSnapshot, readUint64, writeUint64 } from "../format/keys.ts";
import type { Entry, WriteBatch } from "../kv/kv.ts";

const greatest = Number.MAX_SAFE_INTEGER;
const pageCount = 32;

/** `write` runs a batch as the engine runs commits: one at a time, a failure stops everything. */
export function snapshotStore(
  store: OpenStore,
  write: (fill: (batch: WriteBatch) => void, bytes: number) => Promise<void>,
  clock: () => number,
): SnapshotStore {
  let revisionMax = 0;
  return {
    async save(snapshot) {
      const { stream, kind, version } = snapshot;
      const older = await entriesOf(store, stream, { kind, from: version, to: version });
      const newest = older[0] ? revisionOf(older[0][0]) : 0;
      // Two saves at once, or one in the same tick as another, never share a key.
      const revision = Math.max(clock(), newest + 1, revisionMax + 1);
      revisionMax = revision;
      const key = snapshotKey(stream, kind, version, revision);
      const body = Buffer.allocUnsafe(8 + snapshot.payload.length);
      writeUint64(body, 0, snapshot.position);
      body.set(snapshot.payload, 8);
      await write((batch) => {
        batch.put(key, seal(key, body));
        for (const [olderKey] of older) batch.delete(olderKey);
      }, body.length);
    },

    list: (page) => listSnapshots(store, page),

    async remove(selection) {
      let removed = 0;
      for (;;) {
        const entries = await selected(store, selection);
        if (entries.length === 0) return removed;
        const versions = new Set(entries.map(([key]) => versionId(key)));
        await write((batch) => {
          for (const [key] of entries) batch.delete(key);
        }, 0);
        removed += versions.size;
      }
    },
  };
}

async function listSnapshots(store: OpenStore, page: SnapshotPage): Promise<StoredSnapshot[]> {
  const { stream } = page;
  const found: StoredSnapshot[] = [];
  let first = page.after
    ? successor(snapshotKey(stream, page.after.kind, page.after.version, 0))
    : startOf(stream, page.kind, page.maxVersion);
  const last = endOf(stream, page.kind);
  let previous = "";
  while (found.length < page.limit && Buffer.compare(first, last) <= 0) {
    const entries = await store.kv.page({ first, last, limit: pageCount });
    if (entries.length === 0) break;
    for (const entry of entries) {
      first = successor(entry[0]);
      const id = versionId(entry[0]);
      if (id === previous || versionOf(entry[0]) > page.maxVersion) continue;
      previous = id;
      found.push(openSnapshot(stream, entry));
      if (found.length === page.limit) break;
    }
  }
  return found;
}

/** Up to a page of the entries that a removal is about. */
async function selected(store: OpenStore, selection: SnapshotSelection): Promise<Entry[]> {
  const { stream, kind, maxVersion } = selection;
  if (kind !== undefined) return entriesOf(store, stream, { kind, from: maxVersion, to: 0 });
  let first = startOf(stream, undefined, maxVersion);
  for (;;) {
    const entries = await store.kv.page({
      first,
      last: endOf(stream, undefined),
      limit: pageCount,
    });
    if (entries.length === 0) return [];
    const hits = entries.filter(([key]) => versionOf(key) <= maxVersion);
    if (hits.length > 0) return hits;
    first = successor((entries.at(-1) as Entry)[0]);
  }
}

/** Up to a page of the entries of one kind, from a version down to another. */
function entriesOf(
  store: OpenStore,
  stream: string,
  of: { kind: string; from: number; to: number },
): Promise<Entry[]> {
  return store.kv.page({
    first: snapshotKey(stream, of.kind, of.from, greatest),
    last: snapshotKey(stream, of.kind, of.to, 0),
    limit: pageCount,
  });
}

function snapshotKey(stream: string, kind: string, version: number, revision: number): Buffer {
  const numbers = Buffer.allocUnsafe(16);
  writeUint64(numbers, 0, greatest - version);
  writeUint64(numbers, 8, greatest - revision);
  // Kinds hold no control characters: a zero ends one and keeps them in the order of their bytes.
  return Buffer.concat([streamPrefix(stream), Buffer.from(`${kind}\0`), numbers]);
}

function streamPrefix(stream: string): Buffer {
  const prefix = Buffer.from(`\0\0\0${stream}`);
  prefix[0] = prefixSnapshot;
  prefix.writeUInt16BE(prefix.length - 3, 1);
  return prefix;
}

function startOf(stream: string, kind: string | undefined, maxVersion: number): Buffer {
  return kind === undefined
    ? streamPrefix(stream)
    : snapshotKey(stream, kind, maxVersion, greatest);
}

function endOf(stream: string, kind: string | undefined): Buffer {
  return kind === undefined
    ? Buffer.concat([streamPrefix(stream), Buffer.from([0xff, 0xff])])
    : snapshotKey(stream, kind, 0, 0);
}

function successor(key: Uint8Array): Buffer {
  return Buffer.concat([key, Buffer.alloc(1)]);
}

function versionOf(key: Uint8Array): number {
  return greatest - readUint64(key, key.length - 16);
}

function revisionOf(key: Uint8Array): number {
  return greatest - readUint64(key, key.length - 8);
}

/** Kind and version: what is the same for all revisions of a snapshot. */
function versionId(key: Uint8Array): string {
  return Buffer.from(key.subarray(0, key.length - 8)).toString("latin1");
}

/** Throws CORRUPTION. */
function openSnapshot(stream: string, [key, value]: Entry): StoredSnapshot {
  const body = unseal(key, value);
  if (!body) throw corruption("a snapshot fails its CRC", { stream });
  const kindStart = 3 + Buffer.byteLength(stream);
  return {
    stream,
    kind: Buffer.from(key.subarray(kindStart, key.length - 17)).toString("utf8"),
    version: versionOf(key),
    position: readUint64(body, 0),
    payload: body.subarray(8),
  };
}
