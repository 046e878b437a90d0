// Opens a store. On disk: locks the folder, reads the identity, checks LevelDB's files and the end
// of the log before LevelDB opens them (checked-open.ts), and only then serves. A fault that a
// crash cannot explain refuses the start with a report. An operator can accept a loss
// (`acceptLoss`).

import { AnnalsError } from "../../domain/errors.ts";
import { firstEpoch, type History } from "../../domain/epoch.ts";
import type { CopyTarget } from "../copy.ts";
import type { SpaceFacts, Storage } from "../storage.ts";
import { lossGate, type LossGate } from "./folder/accepted-losses.ts";
import { openChecked, openDamaged, type CheckedOpenOptions } from "./checked-open.ts";
import { wholeThrough } from "./verify/log-walk.ts";
import { formatVersion } from "./format/chunk.ts";
import {
  createDatabase,
  databaseOf,
  highWaterMarkPath,
  raiseFormat,
  requireIdentity,
  type CopiedIdentity,
} from "./create.ts";
import { makeFolder } from "./folder/durable-file.ts";
import { openEngine, type Engine } from "./write/engine.ts";
import { closeToOthers, refuseSpecialFiles } from "./folder/folder-entries.ts";
import { freeBeyond, freeBytes, networkFileSystem, usedBytes } from "./folder/file-system.ts";
import { copyStore } from "./copy/copy-store.ts";
import { openTarget } from "./copy/copy-target.ts";
import { lockFolder, type FolderLock } from "./folder/folder-lock.ts";
import {
  beginEpoch,
  historyOf,
  ownerFault,
  withoutUnsettledEpoch,
  writeOwner,
  type Identity,
} from "./folder/identity.ts";
import type { Kv } from "./kv/kv.ts";
import {
  openHighWaterMark,
  readHighWaterMark,
  warnedStoreTime,
  type HighWaterMark,
  type Acknowledged,
} from "./folder/high-water-mark.ts";
import { openMemoryKv } from "./kv/memory-kv.ts";
import { KeptTerms } from "./state/kept-terms.ts";
import type { TimeKeeper } from "./state/open-store.ts";
import { startReclaimer, type Reclaimer, type ReclaimOptions } from "./upkeep/reclaimer.ts";
import type { Scrubber, ScrubberOptions } from "./upkeep/scrubber.ts";
import { startUpkeep, type Upkeep } from "./upkeep/upkeep.ts";
import { storeSecret } from "./folder/store-secret.ts";
import { StoreRefused } from "./folder/store-refused.ts";
import { readSuspects } from "./folder/suspects.ts";
import type { Delay, OpenedKv } from "./write/write-guard.ts";

/** Microseconds since 1970, UTC. */
export function systemClock(): number {
  return Date.now() * 1_000;
}

export interface LevelStorageOptions {
  readonly folder: string;
  /** Appends are refused while less than this is free on the folder's file system. */
  readonly reserveBytes?: number;
  /** Bytes of records in memory that were read or written lately. Absent: 64 MiB. 0: none. */
  readonly hotBytesMax?: number | undefined;
  /** The token of a refusal: serve the store although it lost something. */
  readonly acceptLoss?: string | undefined;
  /** Allows a folder on a network file system. */
  readonly allowNetworkFileSystem?: boolean;
  /**
   * Tables up to this many bytes in total are checked before serving. Absent: 96 MiB, and 1 GiB
   * after an end that was not in order. The scrubber checks the rest.
   */
  readonly checkBytesAtOpen?: number;
  readonly clock?: () => number;
  readonly warn?: (message: string, cause?: unknown) => void;
  /** Reads the whole store repeatedly to find bit rot. Absent: no scrubber. */
  readonly scrub?: ScrubberOptions | undefined;
  /** Reclaims the space of removed events. Absent: no reclaimer. */
  readonly reclaim?: ReclaimOptions | undefined;
  /** Bytes that may still be written. Absent: the free space beyond the reserve. */
  readonly spareBytes?: () => number;
  /** The folder is to have the copy of a store; the function asks which. Absent: a store. */
  readonly copied?: (() => Promise<CopiedIdentity>) | undefined;
  /** Time between two looks whether the store's files are still there. Absent: a second. */
  readonly lookEveryMs?: number;
  /** Bytes that are free on the folder's file system. Absent: asked for. */
  readonly freeBytes?: () => number;
  readonly delay?: Delay;
}

const checkBytesWhenLeft = 1024 * 1024 * 1024;
const reserveBytesDefault = 256 * 1024 * 1024;

/** Opens the store, or creates it in an empty folder. Throws StoreRefused. */
export async function openLevelStorage(options: LevelStorageOptions): Promise<Storage> {
  return (await openLevelStore(options)).storage;
}

export interface LevelStore {
  readonly storage: Storage;
  /** Undefined if not requested. Closing the storage stops it. */
  readonly scrubber: Scrubber | undefined;
  /** Undefined if not requested. Closing the storage stops it. */
  readonly reclaimer: Reclaimer | undefined;
  /** Receives the copy, if the folder has one. */
  readonly target?: CopyTarget | undefined;
}

/** As `openLevelStorage`, with the scrubber and the reclaimer that were requested. */
export async function openLevelStore(options: LevelStorageOptions): Promise<LevelStore> {
  const { folder } = options;
  await makeFolder(folder).catch((error: Error) => {
    throw new StoreRefused(folder, [`its folder cannot be made: ${error.message}`]);
  });
  const network = networkFileSystem(folder);
  if (network && !options.allowNetworkFileSystem) {
    throw new StoreRefused(folder, [`it lies on ${network}, where a sync proves nothing`]);
  }
  await refuseSpecialFiles(folder);
  const lock = await lockFolder(folder);
  const held: Held = {
    lock,
    gate: undefined,
    identity: undefined,
    highWaterMark: undefined,
    upkeep: undefined,
  };
  try {
    let identity = await requireIdentity(folder, (options.clock ?? systemClock)(), options.copied);
    if (!identity.created) identity = await createDatabase(folder, identity);
    const database = databaseOf(folder);
    const fault = await ownerFault(database, identity.storeId);
    if (fault !== undefined) throw new StoreRefused(folder, [fault]);
    held.identity = identity;
    const engine = await openCreated(options, identity, held);
    const { storage } = engine;
    await held.gate?.record();
    await closeToOthers(folder, options.warn ?? (() => {}));
    const { clock = systemClock, warn = () => {}, scrub, reclaim, delay } = options;
    await writeOwner(database, identity.storeId).catch((cause: unknown) => {
      warn("log/STORE cannot be written: whose database it is stays unsaid", cause);
    });
    held.upkeep = await startUpkeep({
      folder,
      database,
      engine,
      lock,
      gate: held.gate,
      clock,
      warn,
      spareBytes: spareBytesOf(options),
      delay,
      lookEveryMs: options.lookEveryMs,
      scrub,
      reclaim,
    });
    const { scrubber, reclaimer } = held.upkeep;
    const secret = await storeSecret(folder, warn);
    const space = (): Promise<SpaceFacts> => spaceOf(options);
    const serving = { ...copiable(engine), ...closingAlso(storage, held), secret, space };
    const history = (): History => storage.identity.history;
    const target = options.copied && (await openTarget({ ...engine, history }));
    return { storage: serving, scrubber, reclaimer, target };
  } catch (error) {
    await release(held);
    if (!(error instanceof AnnalsError)) throw error;
    const finding = `the end of its log cannot be read: ${error.message}`;
    throw new StoreRefused(folder, [finding], "salvage");
  }
}

/** What an open store holds besides its database. */
interface Held {
  readonly lock: FolderLock;
  gate: LossGate | undefined;
  /** An accepted loss changes it. */
  identity: Identity | undefined;
  highWaterMark: HighWaterMark | undefined;
  upkeep: Upkeep | undefined;
}

function spareBytesOf({ folder, spareBytes, reserveBytes }: LevelStorageOptions): () => number {
  return spareBytes ?? freeBeyond(folder, reserveBytes ?? reserveBytesDefault);
}

async function spaceOf({ folder, reserveBytes }: LevelStorageOptions): Promise<SpaceFacts> {
  const reserve = reserveBytes ?? reserveBytesDefault;
  return { used: await usedBytes(folder), free: freeBytes(folder), reserve };
}

async function openCreated(
  options: LevelStorageOptions,
  identity: Identity,
  held: Held,
): Promise<Engine> {
  const { folder, clock = systemClock, warn = () => {} } = options;
  const { storeId, createdAt } = identity;
  const spareBytes = spareBytesOf(options);
  const terms = new KeptTerms({ folder, storeId, spareBytes, warn });
  const engine = await openEngine({
    identity: {
      storeId,
      createdAt,
      engine: "leveldb",
      durability: "synced",
      get formatVersion() {
        return (held.identity ?? identity).formatVersion;
      },
      get history() {
        return historyOf(held.identity ?? identity);
      },
    },
    async openKv(acknowledged) {
      const opened = await (acknowledged === undefined
        ? openFirst(options, identity, held)
        : openAgain(options, held, acknowledged));
      held.identity = await raiseFormat(folder, held.identity ?? identity, opened.kv);
      return opened;
    },
    openDamaged: (acknowledged) => openDamaged(folder, acknowledged),
    isHeld: held.lock.isHeld,
    acknowledge(acknowledged) {
      held.highWaterMark ??= openHighWaterMark(highWaterMarkPath(folder), warn)[0];
      held.highWaterMark.advance(acknowledged);
    },
    clock,
    timeKeeper: {
      known: warnedStoreTime(highWaterMarkPath(folder), clock, warn),
      keep: (time) => held.highWaterMark?.keepTime(time),
    },
    hotBytesMax: options.hotBytesMax,
    warn,
    spareBytes,
    async closing(store) {
      await store.kv.flush();
      await terms.keep(store);
    },
    ...(options.delay ? { delay: options.delay } : {}),
  });
  await terms.recall(engine.store);
  return engine;
}

/** Once a store is served, it is reopened without any loss being accepted. */
function openAgain(
  options: LevelStorageOptions,
  { lock, identity }: Held,
  acknowledged: Acknowledged,
): Promise<OpenedKv> {
  const { folder, warn = () => {} } = options;
  const storeId = identity?.storeId ?? "";
  const accepting = async (): Promise<void> => {};
  const gate = lossGate({ folder, storeId, acceptLoss: undefined, accepting, warn });
  return openChecked({ ...checksOf(options, lock), acknowledged, gate });
}

function checksOf(
  { folder, checkBytesAtOpen, warn = () => {}, freeBytes: free }: LevelStorageOptions,
  { wasLeft }: FolderLock,
): Omit<CheckedOpenOptions, "acknowledged" | "gate"> {
  const checkBytes = checkBytesAtOpen ?? (wasLeft ? checkBytesWhenLeft : undefined);
  return { folder, checkBytes, warn, freeBytes: free };
}

/**
 * Opens the database for the first time. If the operator accepts a loss, a new epoch begins: before
 * LevelDB may drop anything, as one that shares nothing with the epochs before; then, when it is
 * known up to where the log is whole, as what it is.
 */
async function openFirst(
  options: LevelStorageOptions,
  identity: Identity,
  held: Held,
): Promise<OpenedKv> {
  const { folder, acceptLoss, warn = () => {}, clock = systemClock } = options;
  const begun = { after: 0, beganAt: clock(), cause: "accepted-loss" } as const;
  const before = withoutUnsettledEpoch(identity);
  held.gate = lossGate({
    folder,
    storeId: identity.storeId,
    acceptLoss,
    accepting: async () => void (held.identity = await beginEpoch(folder, before, begun)),
    warn,
  });
  const acknowledged = readHighWaterMark(highWaterMarkPath(folder));
  const checks = checksOf(options, held.lock);
  const suspects = await readSuspects(folder);
  const opened = await openChecked({ ...checks, suspects, acknowledged, gate: held.gate });
  if (held.identity === identity) return opened;
  try {
    const after = await wholeThrough(opened.kv);
    held.identity = await beginEpoch(folder, before, { ...begun, after });
    return opened;
  } catch (error) {
    await opened.kv.close();
    throw error;
  }
}

async function release({
  highWaterMark,
  lock,
}: Pick<Held, "highWaterMark" | "lock">): Promise<void> {
  try {
    highWaterMark?.close();
  } finally {
    await lock.release();
  }
}

/** The storage with what only makes sense for a whole engine. */
function copiable(engine: Engine): Pick<Storage, "copy"> {
  return { copy: (start, signal) => copyStore(engine, start, signal) };
}

function closingAlso(storage: Storage, held: Held): Storage {
  let closed: Promise<void> | undefined;
  const close = async (): Promise<void> => {
    try {
      await held.upkeep?.stop();
      await storage.close();
    } finally {
      await release(held);
    }
  };
  return {
    ...storage,
    reclaiming: () => held.upkeep?.reclaimer?.status(),
    scrubbing: () => held.upkeep?.scrubber?.status(),
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
  /** Absent: the store is in its first epoch. */
  readonly history?: History | undefined;
  readonly clock?: () => number;
  readonly timeKeeper?: TimeKeeper;
  readonly warn?: (message: string, cause?: unknown) => void;
  readonly spareBytes?: () => number;
  readonly delay?: Delay;
  readonly reclaim?: ReclaimOptions | undefined;
  readonly lifecyclesBytesMax?: number;
  /** As in `LevelStorageOptions`. */
  readonly hotBytesMax?: number | undefined;
}

/** Opens a store over a given database, for as long as that exists. */
export async function openStorageOver(options: OverOptions): Promise<Storage> {
  return (await openStoreOver(options)).storage;
}

/** As `openStorageOver`, with the reclaimer that was requested. */
export async function openStoreOver(options: OverOptions): Promise<Omit<LevelStore, "scrubber">> {
  const { clock = systemClock, warn = () => {}, spareBytes, delay, reclaim } = options;
  const storeId = options.storeId ?? crypto.randomUUID();
  const createdAt = options.createdAt ?? clock();
  const engine = await openEngine({
    identity: {
      storeId,
      createdAt,
      engine: "leveldb",
      formatVersion,
      durability: "memory",
      history: options.history ?? [firstEpoch(storeId, createdAt)],
    },
    openKv: async () => ({ kv: await options.openKv(), sequence: 0 }),
    clock,
    timeKeeper: options.timeKeeper,
    hotBytesMax: options.hotBytesMax,
    warn,
    lifecyclesBytesMax: options.lifecyclesBytesMax,
    ...(spareBytes ? { spareBytes } : {}),
    ...(delay ? { delay } : {}),
  });
  const storage = { ...engine.storage, ...copiable(engine) };
  if (!reclaim) return { storage, reclaimer: undefined };
  const reclaimer = startReclaimer({ ...engine, clock, warn, spareBytes, delay }, reclaim);
  const close = async (): Promise<void> => {
    await reclaimer.stop();
    await storage.close();
  };
  return { storage: { ...storage, reclaiming: () => reclaimer.status(), close }, reclaimer };
}

/** Opens a store in memory. It is lost when the process ends. */
export function openMemoryStorage(options: Omit<OverOptions, "openKv"> = {}): Promise<Storage> {
  return openStorageOver({ ...options, openKv: async () => openMemoryKv() });
}
