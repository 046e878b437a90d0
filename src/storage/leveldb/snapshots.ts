// Snapshots beside the log: sealed values under the stream's term number, so that a range gives them
// by kind, the newest version of a kind first, the last saved of a version first. The key is drawn in
// keys.ts; the value is
//
//   8  position of the event at the snapshot's version
//   -  the encoded Snapshot message
//   4  CRC-32 of the key and of everything before
//
// Replacing a snapshot writes a new key and then deletes the old ones: nothing is overwritten.

import { corruption } from "../../domain/errors.ts";
import type { SnapshotPage, SnapshotSelection, SnapshotStore, StoredSnapshot } from "../storage.ts";
import { seal, unseal } from "./checksum.ts";
import type { Core } from "./core.ts";
import { prefixSnapshot, readUint64, TermKind, writeUint64, type TermNumber } from "./keys.ts";
import type { Entry, WriteBatch } from "./kv.ts";

const greatest = Number.MAX_SAFE_INTEGER;
const pageCount = 32;
const numberEnd = 9;
const kindStart = 11;

/** `write` runs a batch as the engine runs commits: one at a time, a failure stops everything. */
export function snapshotStore(
  core: Core,
  write: (fill: (batch: WriteBatch) => void, bytes: number) => Promise<void>,
  clock: () => number,
): SnapshotStore {
  return {
    async save(snapshot) {
      const number = await streamNumber(core, snapshot.stream);
      if (!number) throw new Error("a snapshot of a stream without events");
      const { kind, version } = snapshot;
      const older = await entriesOf(core, number, { kind, from: version, to: version });
      const newest = older[0] && revisionOf(older[0][0]);
      const revision = newest === undefined ? clock() : newest + 1;
      const key = snapshotKey(number, kind, version, revision);
      const body = Buffer.allocUnsafe(8 + snapshot.payload.length);
      writeUint64(body, 0, snapshot.position);
      body.set(snapshot.payload, 8);
      await write((batch) => {
        batch.put(key, seal(key, body));
        for (const [olderKey] of older) batch.delete(olderKey);
      }, body.length);
    },

    list: (page) => listSnapshots(core, page),

    async remove(selection) {
      const number = await streamNumber(core, selection.stream);
      if (!number) return 0;
      let removed = 0;
      for (;;) {
        const entries = await selected(core, number, selection);
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

async function listSnapshots(core: Core, page: SnapshotPage): Promise<StoredSnapshot[]> {
  const number = await streamNumber(core, page.stream);
  if (!number) return [];
  const found: StoredSnapshot[] = [];
  let first = page.after
    ? successor(snapshotKey(number, page.after.kind, page.after.version, 0))
    : startOf(number, page.kind, page.maxVersion);
  const last = endOf(number, page.kind);
  let previous = "";
  while (found.length < page.limit && Buffer.compare(first, last) <= 0) {
    const entries = await core.kv.page({ first, last, limit: pageCount });
    if (entries.length === 0) break;
    for (const entry of entries) {
      first = successor(entry[0]);
      const id = versionId(entry[0]);
      if (id === previous || versionOf(entry[0]) > page.maxVersion) continue;
      previous = id;
      found.push(openSnapshot(page.stream, entry));
      if (found.length === page.limit) break;
    }
  }
  return found;
}

/** Up to a page of the entries that a removal is about. */
async function selected(
  core: Core,
  number: TermNumber,
  selection: SnapshotSelection,
): Promise<Entry[]> {
  const { kind, maxVersion } = selection;
  if (kind !== undefined) return entriesOf(core, number, { kind, from: maxVersion, to: 0 });
  let first = startOf(number, undefined, maxVersion);
  for (;;) {
    const entries = await core.kv.page({ first, last: endOf(number, undefined), limit: pageCount });
    if (entries.length === 0) return [];
    const hits = entries.filter(([key]) => versionOf(key) <= maxVersion);
    if (hits.length > 0) return hits;
    first = successor((entries.at(-1) as Entry)[0]);
  }
}

/** Up to a page of the entries of one kind, from a version down to another. */
function entriesOf(
  core: Core,
  number: TermNumber,
  of: { kind: string; from: number; to: number },
): Promise<Entry[]> {
  return core.kv.page({
    first: snapshotKey(number, of.kind, of.from, greatest),
    last: snapshotKey(number, of.kind, of.to, 0),
    limit: pageCount,
  });
}

async function streamNumber(core: Core, stream: string): Promise<TermNumber | undefined> {
  const terms = [{ kind: TermKind.stream, name: stream }];
  const [head] = await core.terms.load(core.kv, terms, core.head.position);
  return head?.number;
}

function snapshotKey(
  number: TermNumber,
  kind: string,
  version: number,
  revision: number,
): Buffer {
  const kindBytes = Buffer.byteLength(kind);
  const key = Buffer.allocUnsafe(kindStart + kindBytes + 16);
  key[0] = prefixSnapshot;
  key.set(number, 1);
  key.writeUInt16BE(kindBytes, numberEnd);
  key.write(kind, kindStart);
  writeUint64(key, kindStart + kindBytes, greatest - version);
  writeUint64(key, kindStart + kindBytes + 8, greatest - revision);
  return key;
}

function startOf(number: TermNumber, kind: string | undefined, maxVersion: number): Buffer {
  if (kind !== undefined) return snapshotKey(number, kind, maxVersion, greatest);
  return Buffer.concat([Buffer.from([prefixSnapshot]), number]);
}

function endOf(number: TermNumber, kind: string | undefined): Buffer {
  if (kind !== undefined) return snapshotKey(number, kind, 0, 0);
  return Buffer.concat([Buffer.from([prefixSnapshot]), number, Buffer.from([0xff, 0xff])]);
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
  return Buffer.from(key.subarray(numberEnd, key.length - 8)).toString("latin1");
}

/** Throws CORRUPTION. */
function openSnapshot(stream: string, [key, value]: Entry): StoredSnapshot {
  const body = unseal(key, value);
  if (!body) throw corruption("a snapshot fails its CRC", { stream });
  return {
    stream,
    kind: Buffer.from(key.subarray(kindStart, key.length - 16)).toString("utf8"),
    version: versionOf(key),
    position: readUint64(body, 0),
    payload: body.subarray(8),
  };
}
