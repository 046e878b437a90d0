// Backs up a store, whether it is being served or not: every chunk unmodified, so that the restored
// log has the same hash chain, and the side values of that moment. The next run into the same
// folder adds what is new. The index is not included, because it follows from the log.
//
// Backups are made from the folder and not over gRPC, because events there do not show where their
// chunk began and whether a client chose their id, and without these the hash chain cannot be
// rebuilt.

import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import {
  BackupFileWriter,
  BackupRefused,
  readBackupFile,
  refuseInside,
  type FileSeal,
} from "./backup-file.ts";
import {
  isPartName,
  readBackupList,
  readUnfinished,
  unfinishedName,
  writeBackupList,
  writeUnfinished,
  type BackupList,
  type LogPart,
  type UnfinishedBackup,
} from "./backup-list.ts";
import { unseal } from "../format/checksum.ts";
import { firstHash, hashOf, openChunk, type Chunk } from "../format/chunk.ts";
import { makeFolder, syncFolder } from "../folder/durable-file.ts";
import { chunkKey, prefixOldSnapshot, prefixSideValue } from "../format/keys.ts";
import type { Entry, ReadableKv } from "../kv/kv.ts";
import { walkLog } from "../verify/log-walk.ts";
import { openView, type StoreView, type ViewContent } from "./view.ts";

const partBytesDefault = 256 * 1024 * 1024;
const pageCountMax = 1_000;

export interface BackupOptions {
  /** The store's folder. */
  readonly store: string;
  /** The backup's folder: it has a backup of this store, is empty, or does not exist yet. */
  readonly target: string;
  /** A file ends near this size, and the next one begins. */
  readonly partBytes?: number;
  /** A folder for some megabytes of temporary files. Absent: the system's temporary folder. */
  readonly scratch?: string | undefined;
  readonly clock?: () => Date;
  /** Called with the last position that was written, and the last one there is. */
  readonly progress?: (position: number, head: number) => void;
  readonly signal?: AbortSignal | undefined;
}

export interface BackupReport {
  readonly storeId: string;
  /** The first and last position that this run added. Empty if `first > last`. */
  readonly first: number;
  readonly last: number;
  readonly files: number;
  readonly bytes: number;
  /** SHA-256 of the last chunk. Hexadecimal. */
  readonly chain: string;
}

/**
 * Throws StoreRefused if the store has faults, BackupRefused if the backup has. A run that does not
 * finish leaves the backup as it was, with the complete parts of the new one beside it. The next
 * run continues after them.
 */
export async function backUp(options: BackupOptions): Promise<BackupReport> {
  const { store, target } = options;
  await refuseInside(store, target);
  await makeFolder(target);
  const before = await readBackupList(target);
  const unfinished = await readUnfinished(target);
  if (unfinished) refuseWhileRunning(target, unfinished);
  if (!before) await refuseUnlessEmpty(target);
  const view = await openView(store, options.scratch);
  try {
    const content = soundContent(view);
    if (before) await refuseUnlessContinued(before, view, content);
    const known = before?.log ?? [];
    const first = (known.at(-1)?.last ?? 0) + 1;
    const complete = [...known, ...(await resumedParts(target, known, unfinished, view))];
    const { storeId, createdAt, formatVersion, epochs = [] } = view.identity;
    const begun = { storeId, host: hostname(), pid: process.pid };
    await writeUnfinished(target, { ...begun, log: complete });
    await removeStrays(target, [...complete, before?.side]);
    const added = await writeLog(options, view, content, complete, (log) =>
      writeUnfinished(target, { ...begun, log }),
    );
    const side = await writeSide(target, view, content);
    const log = [...complete, ...added];
    const parts = log.slice(known.length);
    const takenAt = (options.clock?.() ?? new Date()).toISOString();
    const list: BackupList = {
      storeId,
      storeFormatVersion: formatVersion,
      storeCreatedAt: createdAt,
      ...(epochs.length > 0 && { epochs }),
      storeTime: view.time,
      takenAt,
      log,
      side,
    };
    for (const part of [...added, side]) await readBack(target, storeId, part);
    await writeBackupList(target, list);
    await rm(join(target, unfinishedName));
    await removeStrays(target, [...log, side]);
    await syncFolder(target);
    const last = content.head.position;
    const bytes = parts.reduce((sum, part) => sum + part.bytes, side.bytes);
    const chain = log.at(-1)?.chain ?? Buffer.from(firstHash).toString("hex");
    return { storeId, first, last, files: parts.length + 1, bytes, chain };
  } finally {
    await view.close();
  }
}

function soundContent({ findings, content }: StoreView): ViewContent {
  if (findings.length === 0 && content) return content;
  throw new BackupRefused(`the store is not sound:\n${findings.join("\n")}`);
}

async function refuseUnlessEmpty(target: string): Promise<void> {
  const names = (await readdir(target)).filter((name) => !isOurs(name));
  if (names.length === 0) return;
  throw new BackupRefused(`${target} holds ${names[0]}, and no backup`);
}

/** Checks that the end of the backup is the same chunk as in the store. */
async function refuseUnlessContinued(
  { storeId, log }: BackupList,
  { identity }: StoreView,
  { kv, head }: ViewContent,
): Promise<void> {
  if (storeId !== identity.storeId) {
    throw new BackupRefused(`it is the backup of store ${storeId}, not of ${identity.storeId}`);
  }
  const end = log.at(-1);
  if (!end) return;
  if ((await chainAt(kv, end.last)) === end.chain) return;
  throw new BackupRefused(
    `up to position ${end.last} the store, which ends at ${head.position}, has another history ` +
      "than the backup: it was restored or lost events since; begin a new backup",
  );
}

/** Two runs would remove each other's files. */
function refuseWhileRunning(target: string, { host, pid }: UnfinishedBackup): void {
  if (host !== hostname() || pid === process.pid || !isAlive(pid)) return;
  throw new BackupRefused(
    `process ${pid} is making a backup in ${target}; if that is another program by now, delete ` +
      join(target, unfinishedName),
  );
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** The parts of an unfinished run that still belong to this store and to the backup before. */
async function resumedParts(
  target: string,
  known: readonly LogPart[],
  unfinished: UnfinishedBackup | undefined,
  { identity, content }: StoreView,
): Promise<LogPart[]> {
  const log = unfinished?.log ?? [];
  const continues = known.every(({ sha256 }, i) => log[i]?.sha256 === sha256);
  if (!content || unfinished?.storeId !== identity.storeId || !continues) return [];
  const resumed: LogPart[] = [];
  try {
    for (const part of log.slice(known.length)) {
      if ((await chainAt(content.kv, part.last)) !== part.chain) break;
      await readBack(target, identity.storeId, part);
      resumed.push(part);
    }
  } catch (error) {
    // What was damaged since is written again.
    if (!(error instanceof BackupRefused)) throw error;
  }
  return resumed;
}

/** The hash of the chunk that ends at a position. Undefined if there is none. */
async function chainAt(kv: ReadableKv, last: number): Promise<string | undefined> {
  const [value] = await kv.getMany([chunkKey(last)]);
  return value && Buffer.from(hashOf(openChunk(chunkKey(last), value))).toString("hex");
}

/** Removes files that are not named: those of an unfinished run, and replaced ones. */
async function removeStrays(
  target: string,
  files: readonly ({ readonly name: string } | undefined)[],
): Promise<void> {
  const named = new Set(files.map((file) => file?.name));
  for (const name of await readdir(target)) {
    const isKept = name === unfinishedName || named.has(name);
    if (isOurs(name) && !isKept) await rm(join(target, name), { force: true });
  }
}

function isOurs(name: string): boolean {
  const base = name.replace(/\.new$/, "");
  return isPartName(base) || base === unfinishedName || name === "BACKUP.new";
}

/** Writes what lies behind the parts that are complete, and tells all of them after each. */
async function writeLog(
  { target, partBytes = partBytesDefault, progress, signal }: BackupOptions,
  { identity }: StoreView,
  { kv, head }: ViewContent,
  complete: readonly LogPart[],
  completed: (log: readonly LogPart[]) => Promise<void>,
): Promise<LogPart[]> {
  const parts: LogPart[] = [];
  const first = (complete.at(-1)?.last ?? 0) + 1;
  const last = head.position;
  const found = (finding: string): never => {
    throw new BackupRefused(`the store is not sound: ${finding}`);
  };
  const previous = first > 1 ? await chunkEndingAt(kv, first - 1) : undefined;
  let part: OpenPart | undefined;
  try {
    for await (const chunk of walkLog(kv, { first, last, previous, found })) {
      signal?.throwIfAborted();
      part ??= await beginPart(target, identity.storeId, chunk);
      await part.writer.add([chunkKey(chunk.last), chunk.value]);
      part.end = chunk;
      progress?.(chunk.last, last);
      if (part.writer.bytes < partBytes && chunk.last < last) continue;
      parts.push(await sealPart(part));
      part = undefined;
      await completed([...complete, ...parts]);
    }
    return parts;
  } finally {
    await part?.writer.abandon();
  }
}

interface OpenPart {
  readonly writer: BackupFileWriter;
  readonly name: string;
  readonly begin: Chunk;
  end: Chunk;
}

/** The last position is not known yet, so the file is named by its first one. */
async function beginPart(folder: string, storeId: string, begin: Chunk): Promise<OpenPart> {
  const name = `log-${padded(begin.first)}.annals`;
  const writer = await BackupFileWriter.create(join(folder, name), storeId);
  return { writer, name, begin, end: begin };
}

async function sealPart({ writer, name, begin, end }: OpenPart): Promise<LogPart> {
  const seal = await writer.seal();
  const chain = Buffer.from(hashOf(end)).toString("hex");
  return { name, first: begin.first, last: end.last, ...seal, chain };
}

async function chunkEndingAt(kv: ReadableKv, last: number): Promise<Chunk> {
  const key = chunkKey(last);
  const [value] = await kv.getMany([key]);
  if (!value) throw new BackupRefused(`the store has no chunk that ends at position ${last}`);
  return openChunk(key, value);
}

/** Writes all side values, and snapshots that are still under old keys. */
async function writeSide(
  folder: string,
  { identity }: StoreView,
  { kv, head }: ViewContent,
): Promise<BackupList["side"]> {
  const name = `side-${padded(head.position)}-${randomBytes(4).toString("hex")}.annals`;
  const writer = await BackupFileWriter.create(join(folder, name), identity.storeId);
  try {
    for (const prefix of [prefixOldSnapshot, prefixSideValue]) {
      for await (const entry of entriesUnder(kv, prefix)) {
        requireSound(entry);
        await writer.add(entry);
      }
    }
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  return { name, ...(await writer.seal()) };
}

function requireSound([key, value]: Entry): void {
  if (unseal(key, value)) return;
  const hex = Buffer.from(key).toString("hex");
  throw new BackupRefused(`the store is not sound: the entry under key ${hex} is corrupted`);
}

async function* entriesUnder(kv: ReadableKv, prefix: number): AsyncGenerator<Entry> {
  const last = Buffer.from([prefix + 1]);
  let first = Buffer.from([prefix]);
  for (;;) {
    const entries = await kv.page({ first, last, limit: pageCountMax, fillCache: false });
    const end = entries.at(-1);
    if (!end) return;
    yield* entries;
    first = Buffer.concat([end[0], Buffer.alloc(1)]);
  }
}

/** Reads everything that was written, from the first byte to the last. */
async function readBack(
  folder: string,
  storeId: string,
  part: FileSeal & { name: string },
): Promise<void> {
  const entries = readBackupFile(join(folder, part.name), storeId, part);
  while (!(await entries.next()).done);
}

function padded(position: number): string {
  return String(position).padStart(16, "0");
}
