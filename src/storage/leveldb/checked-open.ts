// Checks a store's files, opens its database, and audits the end of its log. Everything that can
// refuse the store is checked before LevelDB opens its folder, because LevelDB changes files then.
// A refusal leaves the folder as it was.

import { statSync } from "node:fs";
import { basename } from "node:path";
import { AnnalsError, type Failure } from "../../domain/errors.ts";
import { databaseOf } from "./create.ts";
import { checkDatabase, type DatabaseCheck } from "./files/database-check.ts";
import { openLiveFiles } from "./files/files-kv.ts";
import { checkTable } from "./files/table-file.ts";
import type { LossGate } from "./folder/accepted-losses.ts";
import type { Acknowledged } from "./folder/high-water-mark.ts";
import { freeBytes } from "./folder/file-system.ts";
import { StoreRefused } from "./folder/store-refused.ts";
import { prefixChunk } from "./format/keys.ts";
import type { Kv } from "./kv/kv.ts";
import { openLevelKv } from "./kv/level-kv.ts";
import { auditEnd } from "./verify/audit.ts";
import type { OpenedKv } from "./write/write-guard.ts";

const checkBytesDefault = 96 * 1024 * 1024;
const openingBytes = 256 * 1024;

export interface CheckedOpenOptions {
  readonly folder: string;
  /** What the store must contain, if known. */
  readonly acknowledged: Acknowledged | undefined;
  readonly gate: LossGate;
  /** Tables up to this many bytes in total are checked, the newest first. Absent: 96 MiB. */
  readonly checkBytes?: number | undefined;
  /** Names of tables that are checked in any case. */
  readonly suspects?: readonly string[] | undefined;
  readonly warn: (message: string, cause?: unknown) => void;
  /** Bytes that are free on the folder's file system. Absent: asked for. */
  readonly freeBytes?: (() => number) | undefined;
}

/** Throws StoreRefused. */
export async function openChecked(options: CheckedOpenOptions): Promise<OpenedKv> {
  const { folder, acknowledged, gate } = options;
  const refuse = (error: Error): never => {
    throw new StoreRefused(folder, [`its files cannot be read: ${error.message}`]);
  };
  const check = await checkDatabase(databaseOf(folder), acknowledged).catch(refuse);
  const tableFaults = await checkTables(options, check).catch(refuse);
  const damages = [...check.unservable, ...(await gate.fresh(tableFaults))];
  const weigh = (passing: readonly string[], lasting: readonly string[]): Promise<void> =>
    gate.weigh({ passing, lasting });
  const refuseDamaged = (): void => {
    if (damages.length === 0) return;
    const others = check.findings.filter((finding) => !damages.includes(finding));
    throw new StoreRefused(folder, [...damages, ...others], "salvage");
  };
  refuseDamaged();
  const passing = [...check.findings];
  if (!acknowledged)
    passing.push("MARK is missing or corrupted: it is not known what was acknowledged");
  await weigh(passing, []);
  // Where a damaged table was accepted earlier, LevelDB may read more of it than is proved.
  const audited =
    tableFaults.length > 0
      ? []
      : await auditFiles(check, acknowledged, (damage) => damages.push(damage)).catch(refuse);
  refuseDamaged();
  await weigh([], audited);
  const neededBytes = bytesToOpen(check);
  const free = (options.freeBytes ?? (() => freeBytes(folder)))();
  if (free < neededBytes) {
    options.warn(
      `the disk has ${free} bytes left, and ${neededBytes} are needed to open the store for ` +
        "writing: it is open for reading only until then",
    );
    return { kv: readOnly(check, neededBytes), sequence: check.lastSequence };
  }
  const kv = await openLevelKv(databaseOf(folder), false).catch((error: Error) => {
    const why = ((error.cause as Error | undefined) ?? error).message;
    throw new StoreRefused(folder, [`LevelDB does not open it: ${why}`], "salvage");
  });
  try {
    // LevelDB must find what the files hold.
    const again = await auditEnd(kv, acknowledged, check.logged);
    const more = again.filter((finding) => !audited.includes(finding));
    await weigh([], more);
    return { kv, sequence: check.lastSequence };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** LevelDB writes its write-ahead logs into tables when it opens, and begins new files. */
function bytesToOpen({ logs }: DatabaseCheck): number {
  return logs.reduce((sum, { bytes }) => sum + 2 * bytes.length, openingBytes);
}

/** What LevelDB would serve, without LevelDB. */
function readOnly(check: DatabaseCheck, neededBytes: number): Kv {
  return { ...withoutWrites(check, { reason: "DISK_FULL", retryAfterMs: 1_000 }), neededBytes };
}

/**
 * The database of a store whose tables are damaged, which LevelDB has closed: every block is
 * checked whenever it is read, and a damaged or missing one is CORRUPTION.
 */
export async function openDamaged(folder: string, acknowledged: Acknowledged): Promise<Kv> {
  const check = await checkDatabase(databaseOf(folder), acknowledged);
  if (check.lastSequence >= acknowledged.sequence) {
    return withoutWrites(check, { reason: "STORE_FAILED" });
  }
  throw new Error(`what was acknowledged is not all there: ${check.findings.join("; ")}`);
}

function withoutWrites(check: DatabaseCheck, refusal: Failure): Kv {
  const write = async (): Promise<never> => {
    throw new AnnalsError(refusal, "the store is open for reading only");
  };
  const files = openLiveFiles(check, () => true);
  return { ...files, write, flush: async () => {}, compact: async () => {} };
}

/** The audit of the end of the log, on the files themselves. */
async function auditFiles(
  check: DatabaseCheck,
  acknowledged: Acknowledged | undefined,
  damaged: (damage: string) => void,
): Promise<string[]> {
  const files = openLiveFiles(check, (key) => key[0] === prefixChunk, damaged);
  try {
    return await auditEnd(files, acknowledged, check.logged);
  } finally {
    await files.close();
  }
}

/** Tables that are checked at a time: some are read while others are checked. */
const tablesAtOnce = 4;

/** Checks the suspects and the newest tables, as many as the time to start allows. */
async function checkTables(
  { checkBytes = checkBytesDefault, suspects = [] }: CheckedOpenOptions,
  check: DatabaseCheck,
): Promise<string[]> {
  const findings: string[] = [];
  let left = checkBytes;
  const newestFirst = check.tables.toReversed().values();
  const checkNext = async (): Promise<void> => {
    for (const path of newestFirst) {
      const isSuspect = suspects.includes(basename(path));
      if (left <= 0 && !isSuspect) continue;
      left -= statSync(path).size;
      const fault = await checkTable(path, undefined, isSuspect);
      if (fault) findings.push(`table ${basename(path)}: ${fault}`);
    }
  };
  await Promise.all(Array.from({ length: tablesAtOnce }, checkNext));
  // Their names are numbers of one length.
  return findings.toSorted().toReversed();
}
