// Runs trials in a process of its own. Corrupting files that are mapped into memory may crash the
// process, and the campaign must notice that and continue. The number of each trial is written to a
// file before it starts, so that the campaign knows which trial crashed.
import { openSync, readdirSync, readFileSync, statSync, writeSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { logEndOf } from "../../../src/storage/leveldb/state/open-store.ts";
import { openLevelKv } from "../../../src/storage/leveldb/kv/level-kv.ts";
import { openLevelStorage, openStorageOver } from "../../../src/storage/leveldb/open.ts";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { copyStore } from "../../support/store-folder.ts";
import { askEverything, differences, type Topics } from "../../support/questions.ts";

import { SalvageTrials } from "./salvage-trial.ts";
import { bend, describeTrial, mend, trialAt, type StoreFile, type Trial } from "./trials.ts";

/**
 * `shipped`: as the server opens a store. `unguarded`: LevelDB as it comes, the control.
 * `salvaged`: `annals salvage` makes another one of it.
 */
export type Opening = "shipped" | "unguarded" | "salvaged";

export interface Assignment {
  readonly pristine: string;
  readonly working: string;
  readonly progressFile: string;
  readonly files: readonly StoreFile[];
  readonly topics: Topics;
  readonly answers: readonly (readonly [string, string])[];
  readonly opening: Opening;
  readonly trials: readonly number[];
}

export interface Tally {
  /** Not served, with a report. */
  refused: number;
  /** Served, every answer as it was. */
  identical: number;
  /** Served, some answers CORRUPTION, the others as they were. */
  reported: number;
  /** Served with other answers, or failed in another way: what must never be. */
  readonly violations: string[];
}

export function emptyTally(): Tally {
  return { refused: 0, identical: 0, reported: 0, violations: [] };
}

export async function runAssignment(assignment: Assignment): Promise<Tally> {
  const { pristine, working, files, trials } = assignment;
  const tally = emptyTally();
  const expected = new Map(assignment.answers);
  const progress = openSync(assignment.progressFile, "w");
  await restore(pristine, working);
  const sound = new Map(files.map(({ path }) => [path, readFileSync(join(pristine, path))]));
  const salvage =
    assignment.opening === "salvaged"
      ? await SalvageTrials.over(pristine, working, files)
      : undefined;
  for (const number of trials) {
    writeSync(progress, String(number).padStart(12), 0);
    const trial = trialAt(files, number);
    if (!bend(working, trial)) {
      tally.identical++;
      continue;
    }
    const opened = salvage
      ? await salvageOne(salvage, trial, tally)
      : await serve(assignment, trial, expected, tally);
    const isUnchanged = !opened && unchanged(sound, files, working, trial);
    if (!opened && !isUnchanged) {
      tally.violations.push(`${describeTrial(trial)}: a start that was refused has changed files`);
    }
    if (isUnchanged) mend(sound, working, trial);
    else await restore(pristine, working);
  }
  return tally;
}

/** A salvage that lost something counts as a report of it. */
async function salvageOne(salvage: SalvageTrials, trial: Trial, tally: Tally): Promise<false> {
  try {
    const { faults, lost } = await salvage.run(trial);
    tally.violations.push(...faults);
    if (faults.length > 0) return false;
    if (lost > 0) tally.reported++;
    else tally.identical++;
  } catch (error) {
    tally.violations.push(`${describeTrial(trial)}: ${(error as Error).stack}`);
  }
  return false;
}

async function serve(
  { working, opening, topics }: Assignment,
  trial: Trial,
  expected: ReadonlyMap<string, string>,
  tally: Tally,
): Promise<boolean> {
  let storage: Storage | undefined;
  try {
    storage = await openers[opening === "unguarded" ? opening : "shipped"](working);
    const answers = await askEverything(storage, topics);
    const parted = differences(expected, answers);
    if (parted.length > 0) tally.violations.push(`${describeTrial(trial)}: ${parted[0]}`);
    else if ([...answers.values()].includes("CORRUPTION")) tally.reported++;
    else tally.identical++;
    return true;
  } catch (error) {
    const silent = !(error instanceof StoreRefused) || error.findings.length === 0;
    if (silent) tally.violations.push(`${describeTrial(trial)}: ${String(error)}`);
    else tally.refused++;
    return storage !== undefined;
  } finally {
    await storage?.close();
  }
}

const openers: Record<Exclude<Opening, "salvaged">, (folder: string) => Promise<Storage>> = {
  shipped: (folder) => openLevelStorage({ folder, reserveBytes: 0 }),
  async unguarded(folder) {
    const kv = await openLevelKv(`${folder}/log`, false).catch((error: Error) => {
      throw new StoreRefused(folder, [error.message]);
    });
    await logEndOf(kv).catch(async (error: Error) => {
      await kv.close();
      throw new StoreRefused(folder, [error.message]);
    });
    return openStorageOver({ openKv: async () => kv, spareBytes: () => Infinity });
  },
};

/** A refusal leaves what it found: no file changed, none there or gone. */
function unchanged(
  sound: ReadonlyMap<string, Buffer>,
  files: readonly StoreFile[],
  working: string,
  trial: Trial,
): boolean {
  const found = new Set<string>();
  for (const entry of readdirSync(working, { recursive: true, withFileTypes: true })) {
    if (entry.isFile()) found.add(join(entry.parentPath, entry.name));
  }
  found.delete(join(working, trial.file.path));
  const others = files.filter(({ path }) => path !== trial.file.path);
  return (
    found.size === others.length &&
    others.every(({ path, bytes }) => {
      const whole = join(working, path);
      const isThere = found.has(whole) && statSync(whole).size === bytes;
      return isThere && sound.get(path)?.equals(readFileSync(whole)) === true;
    })
  );
}

async function restore(pristine: string, working: string): Promise<void> {
  await rm(working, { recursive: true, force: true });
  await copyStore(pristine, working);
}

process.on("message", (assignment: Assignment) => {
  void runAssignment(assignment).then(
    (tally) => process.send?.(tally),
    (error: Error) => process.send?.({ ...emptyTally(), violations: [`runner: ${error.stack}`] }),
  );
});
