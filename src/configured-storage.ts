// Opens the storage that the configuration names.

import { resolve } from "node:path";
import type { Logger } from "./logger.ts";
import type { Config } from "./options.ts";
import {
  openLevelStorage,
  openMemoryStorage,
  type LevelStorageOptions,
} from "./storage/leveldb/open.ts";
import type { ReclaimOptions } from "./storage/leveldb/upkeep/reclaimer.ts";
import type { ScrubberOptions } from "./storage/leveldb/upkeep/scrubber.ts";
import type { DatabaseReclaimOptions } from "./storage/postgres/writes/reclaimer.ts";
import type { ReclaimStatus, Storage } from "./storage/storage.ts";

/** Opens the store of a server: in a folder, in a database, or in memory. */
export function openConfigured(config: Config, logger: Logger): Promise<Storage> {
  const warn = (message: string, error?: unknown): void => logger.warn(message, { error });
  if (config.storage !== "") return openInDatabase(config, logger);
  if (config.memory) {
    const hotBytesMax = config.cacheBytes;
    return openMemoryStorage({ warn, hotBytesMax, reclaim: reclaiming(config, logger) });
  }
  return openLevelStorage(folderOptions(config, logger));
}

/** Addresses to listen on that nobody can connect to from elsewhere. */
const wildcards = new Set(["0.0.0.0", "::"]);

/** Addresses and folders of sockets that only this machine reaches. */
const loopback = /^(127\.|localhost\b|\[?::1\b|\/|$)/;

/** Its code and the driver are loaded only here. */
async function openInDatabase(config: Config, logger: Logger): Promise<Storage> {
  const { hostsOf, openPostgresStorage } = await import("./storage/postgres/open.ts");
  const { host, port, advertise } = config;
  const address = advertise === "" ? `${host}:${port}` : advertise;
  // A database elsewhere says that servers of this store may be elsewhere, too.
  const isElsewhere = hostsOf(config.storage).some((each) => !loopback.test(each));
  const isHidden = loopback.test(address) && isElsewhere;
  if (isHidden || (advertise === "" && wildcards.has(host))) {
    const how = "other servers of this store cannot reach this one: name --advertise";
    logger.warn(how, { address });
  }
  return openPostgresStorage({
    url: config.storage,
    readUrl: config.storageRead,
    schema: config.storageSchema,
    address,
    isReplicated: config.storageDurability === "replicated",
    warn: (message, error) => logger.warn(message, { error }),
    reclaim: reclaimingInDatabase(config, logger),
  });
}

function reclaimingInDatabase(config: Config, logger: Logger): DatabaseReclaimOptions | undefined {
  const { reclaimBytesPerSecond: bytesPerSecond, reclaimAfterSeconds } = config;
  if (bytesPerSecond === 0 || config.keepTimes) return undefined;
  const pauseMs = reclaimAfterSeconds * 1_000;
  return { bytesPerSecond, pauseMs, finished: (status) => sayReclaimed(status, logger) };
}

function sayReclaimed({ rounds, chunks, events, bytesFreed }: ReclaimStatus, logger: Logger): void {
  logger.info("reclaimed the space of removed events", { rounds, chunks, events, bytesFreed });
}

export function folderOptions(config: Config, logger: Logger): LevelStorageOptions {
  const warn = (message: string, error?: unknown): void => logger.warn(message, { error });
  return {
    folder: resolve(config.data),
    reserveBytes: config.freeSpaceReserveBytes,
    hotBytesMax: config.cacheBytes,
    acceptLoss: config.acceptLoss === "" ? undefined : config.acceptLoss,
    allowNetworkFileSystem: config.allowNetworkFileSystem,
    scrub: scrubbing(config, logger),
    reclaim: reclaiming(config, logger),
    warn,
  };
}

function scrubbing({ scrubBytesPerSecond }: Config, logger: Logger): ScrubberOptions | undefined {
  if (scrubBytesPerSecond === 0) return undefined;
  return {
    bytesPerSecond: scrubBytesPerSecond,
    found: (finding) => logger.error("the scrubber found damage", { finding }),
    finished: ({ rounds, position, bytes, findingCount }) =>
      logger.info("scrubbed", { rounds, position, bytes, findingCount }),
  };
}

function reclaiming(
  { reclaimBytesPerSecond, reclaimAfterSeconds, keepTimes }: Config,
  logger: Logger,
): ReclaimOptions | undefined {
  // What records that space was reclaimed has the present time, and nothing older could follow.
  if (reclaimBytesPerSecond === 0 || keepTimes) return undefined;
  return {
    bytesPerSecond: reclaimBytesPerSecond,
    delayMs: reclaimAfterSeconds * 1_000,
    pauseMs: reclaimAfterSeconds * 1_000,
    finished: (status) => sayReclaimed(status, logger),
  };
}
