// Makes a store from its backup: every chunk is checked against the backup and the hash chain, the
// index is derived again, and everything is verified before the folder becomes a store. Until then
// it has no identity, and no server starts on it; a mark says that a restore has not finished. What
// the store recorded after the backup, or after the point at which the restore ends, is not part of
// it, so a new epoch begins.

import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { currentEpoch } from "../../../domain/epoch.ts";
import { BackupRefused, refuseInside } from "./backup-file.ts";
import { identityIn, requireBackupList } from "./backup-list.ts";
import { chunksInBackup } from "./backup-read.ts";
import { eventsOf } from "../copy/received-log.ts";
import { cutIntoChunks, type Chunk } from "../format/chunk.ts";
import { composeChunks, type ComposedCommit } from "../write/commit.ts";
import { KnownKeys } from "../state/known-keys.ts";
import { emptyDatabase, openStore, type OpenStore } from "../state/open-store.ts";
import { databaseOf, highWaterMarkPath } from "../create.ts";
import { makeFolder, syncFolder, writeDurably } from "../folder/durable-file.ts";
import { lockFolder } from "../folder/folder-lock.ts";
import {
  historyOf,
  isOfUnfinishedStore,
  unfinishedRestore,
  withNewEpoch,
  writeIdentity,
  writeOwner,
  type Identity,
} from "../folder/identity.ts";
import type { Entry, Operation } from "../kv/kv.ts";
import { openLevelKv } from "../kv/level-kv.ts";
import { createHighWaterMark } from "../folder/high-water-mark.ts";
import { upgrade } from "../write/upgrade.ts";
import { verifyStore, type StoreTotals } from "../verify/verify-store.ts";
import type { Cut } from "./point-in-time.ts";
import { planRestore, type RestorePlan, type RestoreOptions } from "./restore-plan.ts";

const batchBytes = 1024 * 1024;
const unfinishedRestoreText =
  "A restore into this folder has not finished. To begin it anew, run annals restore again.\n";

export interface RestoreReport {
  readonly storeId: string;
  /** The epoch that begins behind `head`. */
  readonly epoch: string;
  readonly takenAt: string;
  readonly head: number;
  /** SHA-256 of the last chunk. Hexadecimal. */
  readonly chain: string;
  readonly totals: StoreTotals;
  /** Where the restore ended. Absent: it was to restore everything. */
  readonly cut?: Pick<Cut, "position" | "recordedAt" | "leftOut" | "divided"> | undefined;
  /** Where the side values are from. Undefined: from the backup itself. */
  readonly progress: RestorePlan["progress"];
}

/** Throws BackupRefused at any fault of the backup. */
export async function restore(options: RestoreOptions): Promise<RestoreReport> {
  const list = await requireBackupList(options.backup);
  const { backup, target } = options;
  const plan = await planRestore(options, list);
  return intoNewStore(backup, target, unfinishedRestoreText, () => restoreInto(options, plan));
}

/**
 * Makes a folder ready for a store that `make` builds there of the source, and keeps others from
 * it. Whatever an earlier attempt left is removed. Throws BackupRefused if it holds anything else.
 */
export async function intoNewStore<T>(
  source: string,
  target: string,
  unfinishedText: string,
  make: () => Promise<T>,
): Promise<T> {
  await refuseInside(source, target);
  await makeFolder(target);
  if (!(await readdir(target)).includes(unfinishedRestore)) await refuseUnlessEmpty(target);
  // Until the store has its identity: a second restore would remove what this one writes.
  const lock = await lockFolder(target);
  try {
    await beginAnew(target, unfinishedText);
    return await make();
  } finally {
    await lock.release();
  }
}

/** Leaves the target empty, but for a mark that says what is going on in it. */
async function beginAnew(target: string, unfinishedText: string): Promise<void> {
  const names = await readdir(target);
  if (names.includes(unfinishedRestore) && !names.includes("IDENTITY")) {
    const own = [databaseOf(target), highWaterMarkPath(target), join(target, "IDENTITY.new")];
    for (const path of own) await rm(path, { recursive: true, force: true });
  }
  await refuseUnlessEmpty(target);
  await writeDurably(join(target, unfinishedRestore), unfinishedText);
}

async function refuseUnlessEmpty(target: string): Promise<void> {
  const marks = [unfinishedRestore, `${unfinishedRestore}.new`];
  const [other] = (await readdir(target)).filter(
    (name) => !isOfUnfinishedStore(name) && !marks.includes(name),
  );
  if (other !== undefined) throw new BackupRefused(`${target} is not empty: it holds ${other}`);
}

async function restoreInto(options: RestoreOptions, plan: RestorePlan): Promise<RestoreReport> {
  const { target, clock = () => Date.now() * 1_000 } = options;
  const { list, cut, progress } = plan;
  const kv = await openLevelKv(databaseOf(target), true);
  try {
    const store = openStore(emptyDatabase(kv), {
      known: new KnownKeys(),
      clock: () => 0,
      hotBytesMax: 0,
    });
    await restoreLog(store, options, plan);
    const after = store.head.position;
    await recordRemovals(store, plan, clock);
    const sideValues = await writeEntries(store, plan.sideEntries());
    store.sequence += (await upgrade(store.kv, store.head.position)).written;
    const totals = await proved(store, sideValues, options.verifying);
    await kv.flush();
    await kv.close();
    const begun = { after, beganAt: clock(), cause: "restore" } as const;
    const identity = withNewEpoch(identityIn(list), begun);
    await becomeStore(target, identity, store, list.storeTime);
    const { storeId, takenAt } = list;
    const epoch = currentEpoch(historyOf(identity));
    const head = store.head.position;
    const told = { storeId, epoch, takenAt, head, chain: chainOf(store), totals };
    return { ...told, cut: cut && toldOf(cut), progress };
  } finally {
    await kv.close();
  }
}

function toldOf({ position, recordedAt, leftOut, divided }: Cut): RestoreReport["cut"] {
  return { position, recordedAt, leftOut, divided };
}

function chainOf(store: OpenStore): string {
  return Buffer.from(store.headHash).toString("hex");
}

async function restoreLog(
  store: OpenStore,
  { backup, progress, signal }: RestoreOptions,
  { list, cut, removals }: RestorePlan,
): Promise<void> {
  const last = cut?.position ?? list.log.at(-1)?.last ?? 0;
  let waiting: Chunk[] = [];
  let bytes = 0;
  for await (const chunk of chunksInBackup(backup, list)) {
    signal?.throwIfAborted();
    if (chunk.last > last) break;
    waiting.push(removals?.moved(chunk) ?? chunk);
    bytes += chunk.value.length;
    if (bytes < batchBytes && chunk.last < last) continue;
    await storeChunks(store, waiting);
    progress?.(store.head.position, last);
    waiting = [];
    bytes = 0;
  }
}

async function storeChunks(store: OpenStore, chunks: readonly Chunk[]): Promise<void> {
  const drafts = chunks.map((chunk) => ({
    events: eventsOf(chunk),
    recordedAt: chunk.recordedAt,
    reclaimed: chunk.reclaimed,
  }));
  const composed = await composeChunks(store, drafts);
  for (const [i, chunk] of composed.chunks.entries()) {
    const original = chunks[i] as Chunk;
    if (Buffer.compare(chunk.value, original.value) === 0) continue;
    throw new BackupRefused(`the chunk that ends at ${original.last} does not come out the same`);
  }
  await storeComposed(store, composed);
}

/** Writes what was composed for the positions directly after the head, which moves. */
export async function storeComposed(store: OpenStore, composed: ComposedCommit): Promise<void> {
  await write(store, composed.operations);
  const { last, recordedAt } = composed.chunks.at(-1) as Chunk;
  store.terms.apply(composed.terms, last);
  store.headHash = composed.headHash;
  store.head = { position: last, recordedAt };
}

/** What was removed behind the point and is gone stays removed: events behind it say so. */
async function recordRemovals(
  store: OpenStore,
  { list, removals }: RestorePlan,
  clock: () => number,
): Promise<void> {
  const { storeTime = 0 } = list;
  const recordedAt = Math.max(clock(), storeTime, store.head.recordedAt);
  const events = (await removals?.events(store, recordedAt)) ?? [];
  if (events.length === 0) return;
  const drafts = cutIntoChunks({ events, recordedAt });
  await storeComposed(store, await composeChunks(store, drafts));
}

/** Writes entries beside the log as they are. Returns how many there are. */
export async function writeEntries(
  store: OpenStore,
  entries: AsyncIterable<Entry>,
): Promise<number> {
  let operations: Operation[] = [];
  let bytes = 0;
  let count = 0;
  for await (const [key, value] of entries) {
    operations.push([key, value]);
    bytes += value.length;
    count++;
    if (bytes < batchBytes) continue;
    await write(store, operations);
    operations = [];
    bytes = 0;
  }
  await write(store, operations);
  return count;
}

async function write(store: OpenStore, operations: readonly Operation[]): Promise<void> {
  await store.kv.write(operations);
  store.sequence += operations.length;
}

/** Reads the whole new store again and checks it like any other. */
async function proved(
  store: OpenStore,
  sideValues: number,
  verifying: RestoreOptions["verifying"],
): Promise<StoreTotals> {
  const findings: string[] = [];
  const found = (finding: string): void => void findings.push(finding);
  const head = store.head.position;
  const reached = ({ last }: Chunk): void => verifying?.(last, head);
  const totals = await verifyStore(store.kv, { head, found, reached });
  if (totals.snapshots + totals.sideValues !== sideValues) {
    findings.push("there are other side values than in the backup");
  }
  if (findings.length === 0) return totals;
  throw new BackupRefused(`what was restored is not sound:\n${findings.join("\n")}`);
}

/** The last step, which makes the folder a store. */
export async function becomeStore(
  target: string,
  identity: Identity,
  { head, sequence, headHash: hash }: OpenStore,
  storeTime: number | undefined,
): Promise<void> {
  const acknowledged = { position: head.position, sequence, hash };
  // What their age had removed stays removed, whatever the clock of this machine says.
  createHighWaterMark(highWaterMarkPath(target), acknowledged, storeTime);
  await writeOwner(databaseOf(target), identity.storeId);
  await syncFolder(target);
  await writeIdentity(target, identity);
  await rm(join(target, unfinishedRestore));
  await syncFolder(target);
}
