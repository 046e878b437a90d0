// What goes on beside reads and appends while a store is served: its files are watched, everything
// is checked again and again, space is reclaimed, and memory is given back when nothing is done.

import type { LossGate } from "../folder/accepted-losses.ts";
import type { FolderLock } from "../folder/folder-lock.ts";
import { addSuspect, clearSuspects } from "../folder/suspects.ts";
import type { Engine } from "../write/engine.ts";
import type { Delay } from "../write/write-guard.ts";
import { startFolderWatch } from "./folder-watch.ts";
import { startIdleMemory } from "./idle-memory.ts";
import { startReclaimer, type Reclaimer, type ReclaimOptions } from "./reclaimer.ts";
import { startScrubber, type Scrubber, type ScrubberOptions } from "./scrubber.ts";

export interface UpkeepParts {
  readonly folder: string;
  /** LevelDB's folder. */
  readonly database: string;
  readonly engine: Engine;
  readonly lock: FolderLock;
  /** What damage an operator has accepted. */
  readonly gate: LossGate | undefined;
  readonly clock: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  readonly spareBytes: () => number;
  readonly delay: Delay | undefined;
  readonly lookEveryMs: number | undefined;
  /** Absent: no scrubber. */
  readonly scrub: ScrubberOptions | undefined;
  /** Absent: no reclaimer. */
  readonly reclaim: ReclaimOptions | undefined;
}

export interface Upkeep {
  readonly scrubber: Scrubber | undefined;
  readonly reclaimer: Reclaimer | undefined;
  stop(): Promise<void>;
}

/** Begins when the store can be served. */
export async function startUpkeep(parts: UpkeepParts): Promise<Upkeep> {
  const { folder, database, engine, lock, warn, scrub, reclaim } = parts;
  await clearSuspects(folder).catch((cause: unknown) => {
    warn("DAMAGED-TABLES cannot be deleted", cause);
  });
  let scrubber: Scrubber | undefined;
  const watch = await startFolderWatch({
    folder,
    database,
    isHeld: () => lock.isHeld(),
    isReopening: () => engine.storage.writeState() === "recovering",
    lost(what, isTable) {
      const why = `${what}; stop this server and look who did it before the next start`;
      if (isTable) void engine.leaveLevelDb(why);
      else engine.fail(why);
    },
    changed: (table) => void scrubber?.checkTable(table),
    lookEveryMs: parts.lookEveryMs,
  });
  if (scrub) {
    // After an end that was not in order, the tables are looked at first.
    const delayMs = lock.wasLeft ? 0 : scrub.delayMs;
    const scrubbing = { ...scrub, ...(delayMs !== undefined && { delayMs }) };
    const { store, avoid } = engine;
    const damaged = (table: string, finding: string) => leaveDamaged(parts, table, finding);
    scrubber = startScrubber({ ...parts, store, avoid, damaged }, scrubbing);
  }
  const { store, storage } = engine;
  const isAccepting = (): boolean => storage.writeState() === "accepting";
  const idle = startIdleMemory({ ...parts, store, isAccepting });
  const reclaimer = reclaim && startReclaimer({ ...engine, ...parts }, reclaim);
  return {
    scrubber,
    reclaimer,
    async stop() {
      await Promise.all([watch.stop(), scrubber?.stop(), reclaimer?.stop(), idle.stop()]);
    },
  };
}

/** What is done about a table that is found damaged. */
async function leaveDamaged(
  { folder, engine, gate, warn }: UpkeepParts,
  table: string,
  finding: string,
): Promise<void> {
  if ((await gate?.fresh([finding]))?.length === 0) return;
  await addSuspect(folder, table).catch((cause: unknown) => {
    warn(`DAMAGED-TABLES cannot be written: the next start may not check ${table}`, cause);
  });
  const remedy = "stop the server and run annals salvage, or restore a backup";
  await engine.leaveLevelDb(`${finding}; ${remedy}`);
}
