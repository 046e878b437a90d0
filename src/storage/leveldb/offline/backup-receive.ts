// Receives a backup, from a store's folder or from a server: every chunk unmodified, so that the
// restored log has the same hash chain, and the side values as of its end. The next run into the
// same folder adds what is new. The index is not included, because it follows from the log.

import { createHash, randomBytes } from "node:crypto";
import { readdir, rm } from "node:fs/promises";
import { hostname } from "node:os";
import { join } from "node:path";
import { AnnalsError } from "../../../domain/errors.ts";
import { CopyRefused } from "../../copy.ts";
import type { CopiedState, CopiedStore, CopyPart, CopyStart, StoredEntry } from "../../copy.ts";
import { receivedPart } from "../copy/received-log.ts";
import { firstHash } from "../format/chunk.ts";
import { isCopyState, prefixOldSnapshot, prefixSideValue, unseal } from "../format/keys.ts";
import { makeFolder, syncFolder } from "../folder/durable-file.ts";
import { BackupFileWriter, BackupRefused } from "./backup-file.ts";
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
import { BackupLog, hex, readBack, soundParts } from "./backup-log.ts";

const partBytesDefault = 64 * 1024 * 1024;

export interface ReceiveOptions {
  /** The backup's folder: it has a backup of this store, is empty, or does not exist yet. */
  readonly target: string;
  /** Begins a copy. It throws COPY_DIVERGED if it does not continue what is there. */
  readonly open: (start: CopyStart) => AsyncIterable<CopyPart>;
  /** A file ends near this size, and the next one begins. */
  readonly partBytes?: number | undefined;
  readonly clock?: (() => Date) | undefined;
  /** Called with the last position that was written, and the last one there is. */
  readonly progress?: ((position: number, head: number) => void) | undefined;
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
 * Throws BackupRefused at faults of the backup or of what comes. A run that does not finish leaves
 * the backup as it was, with the complete parts of the new one beside it. The next run continues
 * after them.
 */
export async function receiveBackup(options: ReceiveOptions): Promise<BackupReport> {
  const { target } = options;
  await makeFolder(target);
  const before = await readBackupList(target);
  const unfinished = await readUnfinished(target);
  if (unfinished) refuseWhileRunning(target, unfinished);
  if (!before) await refuseUnlessEmpty(target);
  const known = before?.log ?? [];
  const resumed = await resumedParts(target, known, before?.storeId, unfinished);
  try {
    return await receive(options, before, resumed);
  } catch (error) {
    if (!isDiverged(error)) throw refusal(error);
    if (resumed.length > known.length) {
      return await receive(options, before, known).catch((again: unknown) => {
        throw refusal(again);
      });
    }
    throw refusal(error);
  }
}

function isDiverged(error: unknown): error is AnnalsError {
  return error instanceof AnnalsError && error.reason === "COPY_DIVERGED";
}

function refusal(error: unknown): unknown {
  if (error instanceof CopyRefused) return new BackupRefused(error.message, { cause: error });
  if (!isDiverged(error) || error.failure.reason !== "COPY_DIVERGED") return error;
  const { position, head } = error.failure;
  return new BackupRefused(
    `up to position ${position} the store, which ends at ${head}, has another history than the ` +
      "backup: it was restored or lost events since; begin a new backup",
  );
}

async function receive(
  options: ReceiveOptions,
  before: BackupList | undefined,
  complete: readonly LogPart[],
): Promise<BackupReport> {
  const { target, open, signal, progress } = options;
  const known = before?.log ?? [];
  const last = complete.at(-1);
  const position = last?.last ?? 0;
  const chain = Buffer.from(last?.chain ?? "", "hex");
  const parts = open({ position, chain, cursor: "", follow: false })[Symbol.asyncIterator]();
  const receiving = { target, parts, signal };
  try {
    const store = await beginning(receiving, before);
    const begun = { storeId: store.storeId, host: hostname(), pid: process.pid };
    const completed = (log: readonly LogPart[]): Promise<void> =>
      writeUnfinished(target, { ...begun, log });
    const partBytes = options.partBytes ?? partBytesDefault;
    const log = new BackupLog({ target, storeId: store.storeId, partBytes, completed }, complete);
    await completed(complete);
    await removeStrays(target, [...known, ...complete, before?.side]);
    const side = await receiveAll(receiving, store, log, progress);
    return await finish(options, { before, store, log: log.parts, side });
  } finally {
    await parts.return?.();
  }
}

interface Receiving {
  readonly target: string;
  readonly parts: AsyncIterator<CopyPart>;
  readonly signal: AbortSignal | undefined;
}

async function next({ parts, signal }: Receiving): Promise<CopyPart> {
  signal?.throwIfAborted();
  const { done, value } = await parts.next();
  if (done === true) throw new BackupRefused("the copy ended before it was whole");
  return value;
}

async function beginning(
  receiving: Receiving,
  before: BackupList | undefined,
): Promise<CopiedStore> {
  const part = await next(receiving);
  if (part.kind !== "begin") throw new BackupRefused("the copy does not say of which store it is");
  const { storeId } = part.store;
  if (before && before.storeId !== storeId) {
    throw new BackupRefused(`it is the backup of store ${before.storeId}, not of ${storeId}`);
  }
  return part.store;
}

/** Receives the log and then the side values, up to the state that both add up to. */
async function receiveAll(
  receiving: Receiving,
  { storeId }: CopiedStore,
  log: BackupLog,
  progress: ReceiveOptions["progress"],
): Promise<BackupList["side"]> {
  let side: SideFile | undefined;
  try {
    let part = await next(receiving);
    for (; part.kind === "commits"; part = await next(receiving)) {
      const received = receivedPart(part.commits, log.end);
      await log.add(received);
      for (const { last } of received.chunks) progress?.(last, part.commits.head);
    }
    side = await SideFile.create(receiving.target, storeId);
    for (; part.kind === "side-values"; part = await next(receiving)) await side.add(part.entries);
    if (part.kind !== "state") throw new BackupRefused("what came is in no order");
    const { position, chain } = part.state;
    const isLog = position === log.end.position && Buffer.compare(chain, log.end.hash) === 0;
    if (!isLog || !side.is(part.state)) {
      throw new BackupRefused("what came is not what the store has");
    }
    await log.seal();
    return await side.seal();
  } catch (error) {
    await log.abandon();
    await side?.abandon().catch(() => {});
    throw error;
  }
}

/** The side values while they are received. */
class SideFile {
  private readonly name: string;
  private readonly writer: BackupFileWriter;
  private readonly hash = createHash("sha256");
  private count = 0;

  private constructor(name: string, writer: BackupFileWriter) {
    this.name = name;
    this.writer = writer;
  }

  static async create(target: string, storeId: string): Promise<SideFile> {
    const name = `side-${"0".repeat(16)}-${randomBytes(4).toString("hex")}.annals`;
    return new SideFile(name, await BackupFileWriter.create(join(target, name), storeId));
  }

  async add(entries: readonly StoredEntry[]): Promise<void> {
    for (const entry of entries) {
      const [key, value] = soundEntry(entry);
      this.hash.update(key).update(value);
      this.count++;
      await this.writer.add([key, value]);
    }
  }

  is({ sideValueCount, sideValuesHash }: CopiedState): boolean {
    const hash = this.hash.digest();
    return this.count === sideValueCount && Buffer.compare(hash, sideValuesHash) === 0;
  }

  async seal(): Promise<BackupList["side"]> {
    return { name: this.name, ...(await this.writer.seal()) };
  }

  abandon(): Promise<void> {
    return this.writer.abandon();
  }
}

/** Throws BackupRefused. */
function soundEntry({ key, value }: StoredEntry): readonly [Uint8Array, Uint8Array] {
  const isKnown = key[0] === prefixOldSnapshot || (key[0] === prefixSideValue && !isCopyState(key));
  if (isKnown && value !== undefined && unseal(key, value)) return [key, value];
  throw new BackupRefused("what came is no sound side value");
}

interface Received {
  readonly before: BackupList | undefined;
  readonly store: CopiedStore;
  readonly log: readonly LogPart[];
  readonly side: BackupList["side"];
}

async function finish(
  { target, clock }: ReceiveOptions,
  { before, store, log, side }: Received,
): Promise<BackupReport> {
  const { storeId, formatVersion, createdAt, history, time } = store;
  const [, ...epochs] = history;
  const list: BackupList = {
    storeId,
    storeFormatVersion: formatVersion,
    storeCreatedAt: createdAt,
    ...(epochs.length > 0 && { epochs }),
    storeTime: time,
    takenAt: (clock?.() ?? new Date()).toISOString(),
    log,
    side,
  };
  const known = new Set(before?.log.map(({ sha256 }) => sha256));
  const added = log.filter(({ sha256 }) => !known.has(sha256));
  for (const part of [...added, side]) await readBack(target, storeId, part);
  await writeBackupList(target, list);
  await rm(join(target, unfinishedName));
  await removeStrays(target, [...log, side]);
  await syncFolder(target);
  const first = (before?.log.at(-1)?.last ?? 0) + 1;
  const last = log.at(-1)?.last ?? 0;
  const bytes = added.reduce((sum, part) => sum + part.bytes, side.bytes);
  const chain = log.at(-1)?.chain ?? hex(firstHash);
  return { storeId, first, last, files: added.length + 1, bytes, chain };
}

async function refuseUnlessEmpty(target: string): Promise<void> {
  const names = (await readdir(target)).filter((name) => !isOurs(name));
  if (names.length === 0) return;
  throw new BackupRefused(`${target} holds ${names[0]}, and no backup`);
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

/** All parts with which the run continues: those of an unfinished run, as far as they are sound. */
async function resumedParts(
  target: string,
  known: readonly LogPart[],
  storeId: string | undefined,
  unfinished: UnfinishedBackup | undefined,
): Promise<readonly LogPart[]> {
  if (unfinished === undefined || (storeId ?? unfinished.storeId) !== unfinished.storeId) {
    return known;
  }
  const hashes = new Set(known.map(({ sha256 }) => sha256));
  const sound = await soundParts(target, unfinished.storeId, unfinished.log, hashes);
  return sound.length > known.length ? sound : known;
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
