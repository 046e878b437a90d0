// Opening a store. On disk: lock the folder, know the store, check LevelDB's files before LevelDB
// acts on them, open, audit the end of the log, and only then serve. What a crash cannot explain is
// refused with a report; serving it all the same takes an operator's word (`acceptLoss`).

import { appendFile, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Storage } from "../storage.ts";
import { auditEnd } from "./audit.ts";
import { formatVersion } from "./chunk.ts";
import { checkDatabase, type DatabaseCheck } from "./database-check.ts";
import { syncFolder } from "./durable-file.ts";
import { headOf, openEngine } from "./engine.ts";
import { freeBytes, networkFileSystem } from "./file-system.ts";
import { lockFolder } from "./folder-lock.ts";
import { readIdentity, writeIdentity, type Identity } from "./identity.ts";
import type { Kv } from "./kv.ts";
import { openLevelKv } from "./level-kv.ts";
import { openMark, type Mark, type MarkState } from "./mark.ts";
import { openMemoryKv } from "./memory-kv.ts";
import { StoreRefused } from "./store-refused.ts";
import { checkTable } from "./table-file.ts";

/** Microseconds since 1970, UTC. */
export function systemClock(): number {
  return Date.now() * 1_000;
}

export interface LevelStorageOptions {
  readonly folder: string;
  /** Appends are refused while less than this is free on the folder's file system. */
  readonly reserveBytes?: number;
  /** The token of a refusal: serve the store although something of it was lost. */
  readonly acceptLoss?: string | undefined;
  /** Serve from a network file system all the same. */
  readonly allowNetworkFileSystem?: boolean;
  /** Tables up to this many bytes together are checked before serving; the rest by the scrubber. */
  readonly checkBytesAtOpen?: number;
  readonly clock?: () => number;
  readonly warn?: (message: string, cause?: unknown) => void;
}

const reserveBytesDefault = 256 * 1024 * 1024;
const checkBytesAtOpenDefault = 96 * 1024 * 1024;

/** Opens, or creates in an empty folder, the store. Throws StoreRefused. */
export async function openLevelStorage(options: LevelStorageOptions): Promise<Storage> {
  const { folder } = options;
  const clock = options.clock ?? systemClock;
  const warn = options.warn ?? (() => {});
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const network = networkFileSystem(folder);
  if (network && !options.allowNetworkFileSystem) {
    throw new StoreRefused(folder, [`it lies on ${network}, where a sync proves nothing`]);
  }
  const lock = await lockFolder(folder);
  let mark: Mark | undefined;
  try {
    const identity = (await readIdentity(folder)) ?? (await begin(folder, clock));
    if (!identity.created) await create(folder, identity);
    const [opened, marked] = openMark(join(folder, "MARK"), !identity.created);
    mark = opened;
    const acknowledged = opened;
    let expected: MarkState | undefined = marked;
    const fresh = !identity.created;
    if (fresh) await writeIdentity(folder, { ...identity, created: true });
    const reserve = options.reserveBytes ?? reserveBytesDefault;
    const storage = await openEngine({
      identity: {
        storeId: identity.storeId,
        createdAt: identity.createdAt,
        engine: "leveldb",
        formatVersion: identity.formatVersion,
        durability: "synced",
      },
      openKv: async () => {
        const kv = await openChecked(options, identity, fresh, expected);
        const { head, headHash } = await headOf(kv);
        acknowledged.advance(head.position, headHash);
        return kv;
      },
      clock,
      warn,
      spareBytes: () => freeBytes(folder) - reserve,
      committed(head, hash) {
        acknowledged.advance(head.position, hash);
        expected = { sequence: 0, position: head.position, hash };
      },
      closing: (core) => core.kv.flush(),
    });
    return closingAlso(storage, async () => {
      acknowledged.close();
      await lock.release();
    });
  } catch (error) {
    mark?.close();
    await lock.release();
    throw error;
  }
}

/** A new store's identity, durable before anything else of it exists. */
async function begin(folder: string, clock: () => number): Promise<Identity> {
  const identity = {
    storeId: crypto.randomUUID(),
    createdAt: clock(),
    formatVersion,
    created: false,
  };
  await writeIdentity(folder, identity);
  return identity;
}

/** Makes the database. Until the identity says `created`, nothing was ever acknowledged. */
async function create(folder: string, identity: Identity): Promise<void> {
  const kv = await openLevelKv(databaseOf(folder), true);
  const { head } = await headOf(kv);
  await kv.close();
  await syncFolder(folder);
  if (head.position > 0) {
    throw new StoreRefused(folder, [
      `IDENTITY says that store ${identity.storeId} was never created, but it holds events`,
    ]);
  }
}

function databaseOf(folder: string): string {
  return join(folder, "log");
}

/** Checks, opens and audits the database. Throws StoreRefused. */
async function openChecked(
  options: LevelStorageOptions,
  identity: Identity,
  fresh: boolean,
  mark: MarkState | undefined,
): Promise<Kv> {
  const { folder } = options;
  const check = await checkDatabase(databaseOf(folder)).catch((error: unknown) => {
    throw new StoreRefused(folder, [`its files cannot be read: ${(error as Error).message}`]);
  });
  const before = [...check.findings, ...(await checkTables(options, check))];
  if (!mark && !fresh) before.push("MARK is missing or bent: nobody knows what was acknowledged");
  await refuseOrAccept(options, identity, before);
  const kv = await openLevelKv(databaseOf(folder), false);
  try {
    await refuseOrAccept(options, identity, await auditEnd(kv, { mark, ...check }));
    return kv;
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** The newest tables, as far as the time to start allows. */
async function checkTables(options: LevelStorageOptions, check: DatabaseCheck): Promise<string[]> {
  const findings: string[] = [];
  let left = options.checkBytesAtOpen ?? checkBytesAtOpenDefault;
  for (const path of check.tables.toReversed()) {
    if (left <= 0) break;
    const fault = await checkTable(path, async (bytes) => {
      left -= bytes;
    });
    if (fault) findings.push(`table ${path}: ${fault}`);
  }
  return findings;
}

/** Findings end the start, unless an operator gave the token that stands for this store. */
async function refuseOrAccept(
  options: LevelStorageOptions,
  identity: Identity,
  findings: readonly string[],
): Promise<void> {
  if (findings.length === 0) return;
  const token = `loss-in-${identity.storeId}`;
  if (options.acceptLoss !== token) throw new StoreRefused(options.folder, findings, token);
  for (const finding of findings) options.warn?.(`accepted by the operator: ${finding}`);
  const line = { acceptedAt: new Date().toISOString(), storeId: identity.storeId, findings };
  await appendFile(join(options.folder, "ACCEPTED-LOSSES"), `${JSON.stringify(line)}\n`);
}

function closingAlso(storage: Storage, release: () => Promise<void>): Storage {
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    try {
      await storage.close();
    } finally {
      await release();
    }
  };
  return {
    ...storage,
    close() {
      closed ??= close();
      return closed;
    },
  };
}

export interface OverOptions {
  /** The database: in memory, or on a simulated disk. */
  readonly openKv: () => Promise<Kv>;
  readonly storeId?: string;
  /** Microseconds since 1970, UTC. */
  readonly createdAt?: number;
  readonly clock?: () => number;
  readonly warn?: (message: string, cause?: unknown) => void;
  readonly spareBytes?: () => number;
}

/** A store over a given database, kept no longer than that is. */
export function openStorageOver(options: OverOptions): Promise<Storage> {
  const clock = options.clock ?? systemClock;
  return openEngine({
    identity: {
      storeId: options.storeId ?? crypto.randomUUID(),
      createdAt: options.createdAt ?? clock(),
      engine: "leveldb",
      formatVersion,
      durability: "memory",
    },
    openKv: options.openKv,
    clock,
    warn: options.warn ?? (() => {}),
    ...(options.spareBytes ? { spareBytes: options.spareBytes } : {}),
  });
}

/** A store in memory: gone when the process ends. */
export function openMemoryStorage(options: Omit<OverOptions, "openKv"> = {}): Promise<Storage> {
  return openStorageOver({ ...options, openKv: async () => openMemoryKv() });
}
