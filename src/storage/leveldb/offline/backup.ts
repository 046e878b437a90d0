// Backs up a store, whether it is being served or not: every chunk unmodified, so that the restored
// log has the same hash chain, and the side values of that moment. The next run into the same
// folder adds what is new. The index is not included, because it follows from the log.
//
// Backups are made from the folder and not over gRPC, because events there do not show where their
// chunk began and whether a client chose their id, and without these the hash chain cannot be
// rebuilt.

import { randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { BackupFileWriter, BackupRefused, readBackupFile, type FileSeal } from "./backup-file.ts";
import {
  isPartName,
  readBackupList,
  writeBackupList,
  type BackupList,
  type LogPart,
} from "./backup-list.ts";
import { unseal } from "../format/checksum.ts";
import { firstHash, hashOf, openChunk, type Chunk } from "../format/chunk.ts";
import { makeFolder } from "../folder/durable-file.ts";
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

/** Throws StoreRefused if the store has faults, BackupRefused if the backup has. */
export async function backUp(options: BackupOptions): Promise<BackupReport> {
  const { store, target } = options;
  await makeFolder(target);
  const before = await readBackupList(target);
  if (!before) await refuseUnlessEmpty(target);
  const view = await openView(store, options.scratch);
  try {
    const content = soundContent(view);
    if (before) await refuseUnlessContinued(before, view, content);
    const known = before?.log ?? [];
    const first = (known.at(-1)?.last ?? 0) + 1;
    await removeStrays(target, before);
    const parts = await writeLog(options, view, content, first);
    const side = await writeSide(target, view, content);
    const log = [...known, ...parts];
    const { storeId, createdAt, formatVersion } = view.identity;
    const takenAt = (options.clock?.() ?? new Date()).toISOString();
    const list: BackupList = {
      storeId,
      storeFormatVersion: formatVersion,
      storeCreatedAt: createdAt,
      takenAt,
      log,
      side,
    };
    for (const part of [...parts, side]) await readBack(target, storeId, part);
    await writeBackupList(target, list);
    await removeStrays(target, list);
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
  const [value] = await kv.getMany([chunkKey(end.last)]);
  const chain = value && hashOf(openChunk(chunkKey(end.last), value));
  if (chain && Buffer.from(chain).toString("hex") === end.chain) return;
  throw new BackupRefused(
    `up to position ${end.last} the store, which ends at ${head.position}, has another history ` +
      "than the backup: it was restored or lost events since; begin a new backup",
  );
}

/** Removes files that the list does not name: those of an unfinished run, and replaced ones. */
async function removeStrays(target: string, list: BackupList | undefined): Promise<void> {
  const named = new Set([...(list?.log ?? []).map(({ name }) => name), list?.side.name]);
  for (const name of await readdir(target)) {
    if (isOurs(name) && !named.has(name)) await rm(join(target, name), { force: true });
  }
}

function isOurs(name: string): boolean {
  return isPartName(name.replace(/\.new$/, "")) || name === "BACKUP.new";
}

async function writeLog(
  { target, partBytes = partBytesDefault, progress, signal }: BackupOptions,
  { identity }: StoreView,
  { kv, head }: ViewContent,
  first: number,
): Promise<LogPart[]> {
  const parts: LogPart[] = [];
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
        if (!unseal(entry[0], entry[1])) {
          const key = Buffer.from(entry[0]).toString("hex");
          throw new BackupRefused(
            `the store is not sound: the entry under key ${key} is corrupted`,
          );
        }
        await writer.add(entry);
      }
    }
  } catch (error) {
    await writer.abandon();
    throw error;
  }
  return { name, ...(await writer.seal()) };
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
