// Salvages a damaged store: whatever the damage, each event that is not named as lost comes out
// byte for byte, nothing is lost but what the damaged bytes held, and the folder stays as it was.
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { scanPlacement } from "../../../src/domain/record.ts";
import { frameOffsets, openChunk, recordOf } from "../../../src/storage/leveldb/format/chunk.ts";
import { chunkKey } from "../../../src/storage/leveldb/format/keys.ts";
import { openLevelKv } from "../../../src/storage/leveldb/kv/level-kv.ts";
import { planSalvage } from "../../../src/storage/leveldb/offline/salvage.ts";
import { contentsOf, copyStore } from "../../support/store-folder.ts";
import { mayLose, whereStored } from "./salvage-oracle.ts";
import { describeTrial, type StoreFile, type Trial } from "./trials.ts";

export interface SalvageOutcome {
  /** What was wrong. Empty: nothing. */
  readonly faults: readonly string[];
  readonly lost: number;
}

export class SalvageTrials {
  private readonly working: string;
  private readonly stored: ReturnType<typeof whereStored>;
  private readonly records: ReadonlyMap<number, Buffer>;

  private constructor(
    working: string,
    stored: ReturnType<typeof whereStored>,
    records: ReadonlyMap<number, Buffer>,
  ) {
    this.working = working;
    this.stored = stored;
    this.records = records;
  }

  /** Of damages to copies of the pristine store in `working`. */
  static async over(
    pristine: string,
    working: string,
    files: readonly StoreFile[],
  ): Promise<SalvageTrials> {
    const copy = `${working}-copy`;
    await copyStore(pristine, copy);
    const records = await recordsIn(copy);
    await rm(copy, { recursive: true });
    return new SalvageTrials(working, whereStored(pristine, files), records);
  }

  async run(trial: Trial): Promise<SalvageOutcome> {
    const { working, stored, records } = this;
    const target = `${working}-salvaged`;
    await rm(target, { recursive: true, force: true });
    const faults: string[] = [];
    const fault = (what: string): void => void faults.push(`${describeTrial(trial)}: ${what}`);
    const before = await contentsOf(working);
    const plan = await planSalvage({ folder: working });
    try {
      const lost = new Set(plan.report.lostEvents.map(({ position }) => position));
      const excusable = mayLose(stored, trial);
      for (const position of lost) {
        if (!excusable.has(position)) fault(`salvaged without position ${position}`);
      }
      if (plan.report.losses.length > 0 !== lost.size > 0) fault("losses are not told");
      const { findings } = await plan.build(target);
      for (const finding of findings) fault(`salvaged, but ${finding}`);
      const salvaged = await recordsIn(target);
      for (const [position, record] of records) {
        if (lost.has(position)) continue;
        if (salvaged.get(position)?.equals(record) !== true) fault(`position ${position} is other`);
      }
      const after = await contentsOf(working);
      for (const [path, contents] of before) {
        if (after.get(path) !== contents) fault(`${path} was changed`);
      }
      if (after.size !== before.size) fault("files came or went");
      return { faults, lost: lost.size };
    } finally {
      await plan.close();
    }
  }
}

/** All records of a store by position, system events too. */
async function recordsIn(folder: string): Promise<Map<number, Buffer>> {
  const kv = await openLevelKv(join(folder, "log"), false);
  const records = new Map<number, Buffer>();
  try {
    const [first, last] = [chunkKey(0), chunkKey(Number.MAX_SAFE_INTEGER)];
    const entries = await kv.page({ first, last, limit: 100_000, bytesMax: 1e9 });
    for (const [key, value] of entries) {
      const chunk = openChunk(key, value);
      const offsets = frameOffsets(chunk);
      for (let i = 0; i < chunk.count; i++) {
        const record = recordOf(chunk.records.subarray(offsets[i], offsets[i + 1]));
        records.set(scanPlacement(record).position, Buffer.from(record));
      }
    }
  } finally {
    await kv.close();
  }
  return records;
}
