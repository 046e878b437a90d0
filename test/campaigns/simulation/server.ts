// The server under simulation: the real log over the real engine, opened with the real checks, over
// a simulated LevelDB. What opens a folder in earnest (src/storage/leveldb/open.ts) is done here
// step by step on the simulated disk.
import { firstEpoch } from "../../../src/domain/epoch.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { createEventLog, type EventLog } from "../../../src/log/event-log.ts";
import { openEngine } from "../../../src/storage/leveldb/write/engine.ts";
import type { OpenedKv } from "../../../src/storage/leveldb/write/write-guard.ts";
import { auditEnd } from "../../../src/storage/leveldb/verify/audit.ts";
import { judgeLogs } from "../../../src/storage/leveldb/files/log-judgement.ts";
import type { Kv } from "../../../src/storage/leveldb/kv/kv.ts";
import type { Acknowledged } from "../../../src/storage/leveldb/folder/high-water-mark.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import type { SimulatedDisk } from "./disk.ts";
import type { World } from "./world.ts";

/** What is broken on purpose, for the checker to catch. */
export interface Breakage {
  /** The disk acknowledges what it did not sync. */
  readonly withoutSync?: boolean;
  /** Nothing is checked before and after the database is opened. */
  readonly withoutChecks?: boolean;
  /** A failed write is acknowledged like any other. */
  readonly failuresIgnored?: boolean;
}

/** The store was not served, with a report. */
export class Refused extends Error {
  readonly findings: readonly string[];

  constructor(findings: readonly string[]) {
    super(findings.join("; "));
    this.findings = findings;
  }
}

export interface SimulatedServer {
  readonly storage: Storage;
  readonly log: EventLog;
}

export async function startServer(
  world: World,
  disk: SimulatedDisk,
  breakage: Breakage,
): Promise<SimulatedServer> {
  const { life } = world;
  const delay = (ms: number, run: () => void): (() => void) => world.after(ms, run, life);
  const { storage } = await openEngine({
    identity: {
      storeId: "018f0000-0000-7000-8000-00000000a11a",
      createdAt: 1,
      engine: "leveldb",
      formatVersion: 2,
      durability: "synced",
      history: [firstEpoch("018f0000-0000-7000-8000-00000000a11a", 1)],
    },
    openKv: (acknowledged = breakage.withoutChecks ? undefined : disk.acknowledged) =>
      openChecked(disk, breakage, acknowledged),
    acknowledge: (acknowledged) => disk.advanceMark(acknowledged),
    clock: () => world.clock(),
    warn: () => {},
    spareBytes: () => (world.strikes("the disk is full") ? 0 : Number.MAX_SAFE_INTEGER),
    closing: (store) => store.kv.flush(),
    delay,
    // Little memory, so that reads go to the disk again and again.
    hotBytesMax: 16 * 1024,
  });
  const timers = { nowMs: () => world.nowMs, delay };
  const log = createEventLog({
    idChance: () => 0,
    storage,
    limits: defaultLimits,
    clock: () => world.clock(),
    timers,
  });
  return { storage, log };
}

async function openChecked(
  disk: SimulatedDisk,
  breakage: Breakage,
  acknowledged: Acknowledged | undefined,
): Promise<OpenedKv> {
  const logs = [{ name: "000001.log", bytes: disk.logBytes }];
  const judged = judgeLogs(logs, disk.tableSequence, acknowledged);
  if (breakage.withoutChecks) return { kv: await disk.open(), sequence: judged.lastSequence };
  if (judged.findings.length > 0) throw new Refused(judged.findings);
  const opened = await disk.open();
  const kv = breakage.failuresIgnored ? withoutFailures(opened) : opened;
  const findings = await auditEnd(kv, acknowledged, judged.logged);
  if (findings.length === 0) return { kv, sequence: judged.lastSequence };
  await kv.close();
  throw new Refused(findings);
}

/** Every write is told to have succeeded. */
function withoutFailures(kv: Kv): Kv {
  return { ...kv, write: (operations) => kv.write(operations).catch(() => {}) };
}
