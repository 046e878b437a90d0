// The disk-full campaign: on a real small disk, episodes in which space runs out at different
// moments, with our reserve and without it. What was acknowledged must be there, what was refused
// must not be, readers go on, and when there is room again writers do, without an operator.
import { rm } from "node:fs/promises";
import { existsSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { CommitEvent } from "../../../src/domain/event.ts";
import { openLevelKv } from "../../../src/storage/leveldb/kv/level-kv.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { composeCommit, newEvents, recordsOf } from "../../support/events.ts";
import { seededRandom } from "../../support/seeded.ts";
import { copyStore } from "../../support/store-folder.ts";
import type { CampaignOptions, CampaignResult } from "../campaign.ts";
import { smallDisk, type SmallDisk } from "./small-disk.ts";

const diskBytes = 128 * 1024 * 1024;
const reserveBytes = 4 * 1024 * 1024;
/** Waits are this much shorter than in earnest. */
const hurry = 25;
const recoveryMsMax = 30_000;

export interface DiskFullOptions extends CampaignOptions {
  readonly episodes?: number;
}

/** Throws where there can be no small disk. */
export async function diskFull(options: DiskFullOptions): Promise<CampaignResult> {
  const { seed, report, episodes = 300, secondsMax = Number.POSITIVE_INFINITY } = options;
  const disk = smallDisk(diskBytes);
  if (!disk) throw new Error("the campaign needs root, to mount a small disk");
  const began = performance.now();
  const violations: string[] = [];
  const tally = { acknowledged: 0, unknown: 0, refused: 0, unknownThere: 0 };
  let cycles = 0;
  try {
    const lost = await controlLoses(disk);
    while (cycles < episodes && performance.now() - began < secondsMax * 1_000) {
      const episodeSeed = seed * 1_000_003 + cycles;
      const episode = new Episode(disk, episodeSeed);
      const faults = await episode.run().catch((error: Error) => [error.stack ?? error.message]);
      for (const fault of faults) violations.push(`episode ${episodeSeed}: ${fault}`);
      for (const [key, count] of Object.entries(episode.tally)) {
        tally[key as keyof typeof tally] += count;
      }
      cycles++;
      if (cycles % 20 === 0) report?.(`${cycles} episodes, ${violations.length} violations`);
    }
    const control = lost > 0;
    const detail = { ...tally, controlLost: lost };
    return { cycles, events: tally.acknowledged, violations, control, detail };
  } finally {
    disk.close();
  }
}

/** LevelDB as it comes: what it acknowledges behind a failed write is lost with the process. */
async function controlLoses(disk: SmallDisk): Promise<number> {
  disk.clear();
  const database = join(disk.folder, "control");
  const kv = await openLevelKv(database, true);
  disk.fillUpTo(300_000);
  const acknowledged: Uint8Array[] = [];
  for (let i = 0, room = false; i < 2_000 && acknowledged.length < 800; i++) {
    const key = Buffer.from(`key ${i}`);
    await kv.write([[key, Buffer.alloc(1_000, i)]]).then(
      () => acknowledged.push(key),
      () => {
        if (!room) disk.makeRoom();
        room = true;
      },
    );
  }
  const killed = await copyOf(database);
  await kv.close();
  const after = await openLevelKv(killed, false);
  const values = await after.getMany(acknowledged);
  await after.close();
  await rm(killed, { recursive: true });
  return values.filter((value) => value === undefined).length;
}

/** The folder as a kill would leave it, on another disk. */
async function copyOf(folder: string): Promise<string> {
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const copy = join(base, `annals-killed-${process.pid}`);
  await rm(copy, { recursive: true, force: true });
  await copyStore(folder, copy);
  return copy;
}

type Attempt = "acknowledged" | "unknown" | "refused";

class Episode {
  readonly tally = { acknowledged: 0, unknown: 0, refused: 0, unknownThere: 0 };
  private readonly disk: SmallDisk;
  private readonly random: () => number;
  private readonly acknowledged: CommitEvent[] = [];
  private readonly refusedIds = new Set<string>();
  private readonly faults: string[] = [];
  private ambushAfter = -1;

  constructor(disk: SmallDisk, seed: number) {
    this.disk = disk;
    this.random = seededRandom(seed);
  }

  async run(): Promise<string[]> {
    const { disk, random } = this;
    disk.clear();
    const reserve = random() < 0.3 ? reserveBytes : 0;
    const storage = await openLevelStorage({
      folder: disk.folder,
      spareBytes: () => this.spareBytes(reserve),
      delay(ms, callback) {
        const timer = setTimeout(callback, ms / hurry);
        return () => clearTimeout(timer);
      },
    });
    const rounds = 1 + Math.floor(random() * 3);
    for (let round = 0; round < rounds; round++) {
      const room = Math.floor(random() * 6_000_000);
      disk.fillUpTo(reserve + room);
      this.ambushAfter = random() < 0.6 ? Math.floor(random() * 8) : -1;
      await this.appendUntilRefused(storage);
      for (let i = 0; i < 3; i++) await this.attempt(storage);
      await this.checkReaders(storage);
      this.ambushAfter = -1;
      disk.makeRoom();
      await this.awaitRecovery(storage);
      for (let i = 0; i < 3; i++) {
        if ((await this.attempt(storage)) !== "acknowledged") this.fault("no append with room");
      }
      await this.checkReaders(storage);
    }
    await this.endAndCheck(storage, random() < 0.5);
    return this.faults;
  }

  /** What is free beyond the reserve; but now and then somebody else takes it the moment after. */
  private spareBytes(reserve: number): number {
    const spare = this.disk.free() - reserve;
    if (this.ambushAfter-- !== 0) return spare;
    const left = this.random() < 0.5 ? 0 : Math.floor(this.random() * 60_000);
    this.disk.fillUpTo(left);
    return spare;
  }

  private fault(words: string): void {
    this.faults.push(words);
  }

  private async appendUntilRefused(storage: Storage): Promise<void> {
    for (let i = 0; i < 10_000; i++) {
      if ((await this.attempt(storage)) !== "acknowledged") return;
    }
    this.fault("the disk never ran full");
  }

  private async attempt(storage: Storage): Promise<Attempt> {
    const count = 1 + Math.floor(this.random() * 20);
    const bytes = Math.floor(this.random() ** 3 * 30_000);
    const data = Buffer.alloc(bytes, Math.floor(this.random() * 256));
    const events = newEvents(count, (i) => ({ stream: `s-${i % 4}`, data }));
    try {
      const commit = await composeCommit(storage, events);
      await storage.commit(commit);
      this.acknowledged.push(...commit.events);
      this.tally.acknowledged += count;
      return "acknowledged";
    } catch (error) {
      if (!(error instanceof AnnalsError)) throw error;
      if (error.reason === "OUTCOME_UNKNOWN") {
        this.tally.unknown++;
        return "unknown";
      }
      if (!["DISK_FULL", "RECOVERING", "STORE_FAILED"].includes(error.reason)) throw error;
      for (const { id } of events) this.refusedIds.add(id);
      this.tally.refused++;
      return "refused";
    }
  }

  /**
   * While the disk is full, readers go on; only while the database is reopened they may have to
   * wait.
   */
  private async checkReaders(storage: Storage): Promise<void> {
    try {
      await this.checkContents(storage);
    } catch (error) {
      const waits = error instanceof AnnalsError && error.reason === "RECOVERING";
      if (!waits) throw error;
      if (storage.writeState() === "disk-full") this.fault("a full disk stopped a reader");
    }
  }

  private async awaitRecovery(storage: Storage): Promise<void> {
    const until = performance.now() + recoveryMsMax;
    while (storage.writeState() !== "accepting") {
      if (performance.now() > until) throw new Error(`still ${storage.writeState()} with room`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  private async endAndCheck(storage: Storage, kill: boolean): Promise<void> {
    let folder = this.disk.folder;
    if (kill) folder = await copyOf(folder);
    await storage.close();
    const again = await openLevelStorage({ folder, reserveBytes: 0 });
    await this.checkContents(again);
    await again.close();
    if (kill) await rm(folder, { recursive: true });
  }

  /**
   * Everything acknowledged at its place, nothing that was refused, nothing else but the
   * unknown.
   */
  private async checkContents(storage: Storage): Promise<void> {
    const records = await recordsOf(storage);
    if (records.length !== storage.head().position) this.fault("positions are missing");
    let there = 0;
    for (const { position, frame } of this.acknowledged) {
      const record = records[position - 1];
      const same = record && Buffer.compare(record, frame.subarray(frame.length - record.length));
      if (same === 0) there++;
      else this.fault(`the event acknowledged at position ${position} is not there`);
    }
    this.tally.unknownThere = Math.max(this.tally.unknownThere, records.length - there);
    const known = new Set(this.acknowledged.map(({ position }) => position));
    for (const [i, record] of records.entries()) {
      if (known.has(i + 1)) continue;
      const id = Buffer.from(record.subarray(2, 38)).toString("latin1");
      if (this.refusedIds.has(id)) this.fault(`event ${id} was refused, and is there`);
    }
  }
}
