// A simulated LevelDB on a simulated disk. Its write-ahead log is real bytes in LevelDB's format:
// they can be torn, reordered and corrupted, and what is recovered from them is what LevelDB would
// recover (test/storage/leveldb/files/log-file.test.ts proves that). Its quirks are LevelDB's: after a failed
// write it goes on acknowledging behind the wreck (F2), a failed write may be there after all (F9),
// reads of overwritten keys may be stale (F6), and it opens whatever it finds (F4).
import { prefixChunk, readUint64 } from "../../../src/storage/leveldb/format/keys.ts";
import type { Entry, KeyRange, Kv, Operation } from "../../../src/storage/leveldb/kv/kv.ts";
import { readLog } from "../../../src/storage/leveldb/files/log-file.ts";
import type { Acknowledged } from "../../../src/storage/leveldb/folder/high-water-mark.ts";
import { openMemoryKv } from "../../../src/storage/leveldb/kv/memory-kv.ts";
import { logOf } from "../../storage/leveldb/files/log-files.ts";
import { batchBytes, operationsIn } from "./leveldb-bytes.ts";
import type { World } from "./world.ts";

/** How a process or a machine may end. */
export type End = "kill" | "power cut";

const sectorBytes = 512;

/** What the disk itself may be told to do wrong: for servers that are broken on purpose. */
export interface DiskOptions {
  /** Acknowledge writes that were not synced. */
  readonly withoutSync?: boolean;
}

export class SimulatedDisk {
  private readonly world: World;
  private readonly options: DiskOptions;
  private tables: (readonly Operation[])[] = [];
  tableSequence = 0;
  /** As the operating system has it; only what was synced survives a power cut. */
  private log: Buffer = Buffer.alloc(0);
  private syncedBytes = 0;
  private highWaterMark: Acknowledged | undefined;
  private markHistory: Acknowledged[] = [];
  private markIsBehind = false;
  /** Whether a bit was flipped that a start may have to refuse. */
  wasCorrupted = false;
  /** The last position that a restart would find. */
  durablePosition = 0;
  /** Keys that were written twice: none may be. */
  readonly overwritten: string[] = [];
  private readonly everWritten = new Set<string>();

  constructor(world: World, options: DiskOptions = {}) {
    this.world = world;
    this.options = options;
  }

  get logBytes(): Buffer {
    return this.log;
  }

  get acknowledged(): Acknowledged | undefined {
    return this.highWaterMark;
  }

  /** Written in place after each write, synced now and then. */
  advanceMark(acknowledged: Acknowledged): void {
    this.markIsBehind = this.world.strikes("the mark cannot be written");
    if (this.markIsBehind) return;
    this.highWaterMark = acknowledged;
    this.markHistory.push(acknowledged);
    if (this.world.chance(0.2)) this.markHistory = [acknowledged];
  }

  /** What is left when the process, or the machine, has ended. */
  crash(end: End): void {
    if (end === "power cut") {
      this.world.hit("power cut");
      this.log = this.afterPowerCut();
      this.syncedBytes = this.log.length;
      const back = this.world.below(this.markHistory.length);
      // Until a start has come to its end nobody moves it on.
      this.markIsBehind ||= back > 0;
      if (back > 0) this.world.hit("the mark falls back");
      this.highWaterMark = this.markHistory[this.markHistory.length - 1 - back];
      return;
    }
    this.world.hit("kill");
    // Two faults at once, a mark that fell behind and a corrupted last record, are too much for us.
    const bendable = this.log.length > 0 && !this.markIsBehind;
    if (bendable && this.world.strikes("a bit of the log flips")) this.flipLogBit();
  }

  /** Sectors of what was not synced reached the disk or did not, in any order. */
  private afterPowerCut(): Buffer {
    const unsynced = this.log.length - this.syncedBytes;
    if (unsynced === 0) return this.log;
    const { world } = this;
    const kept = this.syncedBytes + (world.chance(0.2) ? 0 : world.below(unsynced + 1));
    const left = Buffer.from(this.log.subarray(0, kept));
    if (kept === this.syncedBytes) world.hit("an unsynced write is lost");
    else if (kept < this.log.length) world.hit("an unsynced write is torn");
    let holes = false;
    for (let at = this.syncedBytes; at < kept; at = nextSector(at)) {
      if (!world.chance(0.3)) continue;
      left.fill(0, at, Math.min(nextSector(at), kept));
      holes = true;
    }
    if (holes) world.hit("unsynced sectors are reordered");
    return left;
  }

  private flipLogBit(): void {
    const at = this.world.below(this.log.length);
    const corrupted = Buffer.from(this.log);
    corrupted[at] = (corrupted[at] as number) ^ (1 << this.world.below(8));
    this.log = corrupted;
    this.wasCorrupted = true;
  }

  /** Opens what there is, as LevelDB does: without a word about what it drops. */
  async open(): Promise<Kv> {
    const { world } = this;
    await world.turn();
    await world.mayCrash("crash: opening, before the log is replayed");
    if (world.strikes("the database does not open")) throw ioError("open");
    const { records, recordsBehind } = readLog(this.log);
    for (const record of [...records, ...recordsBehind]) {
      const { sequence, operations } = operationsIn(record);
      this.tables.push(operations);
      this.tableSequence = Math.max(this.tableSequence, sequence + operations.length - 1);
      this.becameDurable(operations);
    }
    this.log = Buffer.alloc(0);
    this.syncedBytes = 0;
    await world.turn();
    await world.mayCrash("crash: opening, after the log was replayed");
    const memory = openMemoryKv();
    for (const operations of this.tables) await memory.write(operations);
    return new SimulatedKv(this, world, memory).kv;
  }

  /** Appends a batch to the log, synced. Throws where the disk does. */
  async append(sequence: number, operations: readonly Operation[]): Promise<void> {
    const { world } = this;
    await world.mayCrash("crash: before the write");
    const bytes = logOf([batchBytes(sequence, operations)], this.log.length);
    if (world.strikes("a write fails")) {
      this.write(bytes.subarray(0, world.below(bytes.length)));
      throw ioError("write");
    }
    if (world.strikes("a crash tears the write")) {
      this.write(bytes.subarray(0, world.below(bytes.length)));
      world.crash();
      await new Promise(() => {});
    }
    this.write(bytes);
    await world.turn();
    await world.mayCrash("crash: written, not synced");
    if (world.strikes("a sync fails")) {
      throw ioError("fdatasync");
    }
    if (!this.options.withoutSync) this.syncedBytes = this.log.length;
    this.becameDurable(operations);
    await world.turn();
    await world.mayCrash("crash: synced, not answered");
  }

  private becameDurable(operations: readonly Operation[]): void {
    for (const [key] of operations) {
      if (key[0] !== prefixChunk || key.length !== 9) continue;
      this.durablePosition = Math.max(this.durablePosition, readUint64(key, 1));
    }
  }

  private write(bytes: Uint8Array): void {
    this.log = Buffer.concat([this.log, bytes]);
  }

  wasWritten(operations: readonly Operation[]): void {
    for (const [key, value] of operations) {
      const name = Buffer.from(key).toString("latin1");
      if (value === undefined) continue;
      if (this.everWritten.has(name)) this.overwritten.push(name);
      this.everWritten.add(name);
    }
  }

  /** The memtable becomes a table; the log begins anew. */
  async flush(operations: readonly (readonly Operation[])[], sequence: number): Promise<void> {
    await this.world.turn();
    await this.world.mayCrash("crash: closing, before the log is moved into tables");
    this.tables.push(...operations);
    this.tableSequence = Math.max(this.tableSequence, sequence);
    this.log = Buffer.alloc(0);
    this.syncedBytes = 0;
    await this.world.turn();
    await this.world.mayCrash("crash: closing, after the log was moved into tables");
  }
}

function nextSector(at: number): number {
  return at - (at % sectorBytes) + sectorBytes;
}

function ioError(what: string): Error {
  return Object.assign(new Error(`IO error: ${what}`), { code: "LEVEL_IO_ERROR" });
}

/** One opening of the database. */
class SimulatedKv {
  readonly kv: Kv;
  private readonly disk: SimulatedDisk;
  private readonly world: World;
  private readonly memory: Kv;
  private readonly life: number;
  /** Of this opening, in memory only; LevelDB counts on behind a failed write. */
  private sequence: number;
  private readonly memtable: (readonly Operation[])[] = [];
  private open = true;

  constructor(disk: SimulatedDisk, world: World, memory: Kv) {
    this.disk = disk;
    this.world = world;
    this.memory = memory;
    this.life = world.life;
    this.sequence = disk.tableSequence;
    this.kv = {
      getMany: (keys) =>
        this.read(async () =>
          (await memory.getMany(keys)).map((value) => value && this.corrupted(value)),
        ),
      getNow: (key) => this.getNow(key),
      page: (range) => this.read(() => this.page(range)),
      write: (operations) => this.write(operations),
      flush: () => disk.flush(this.memtable, this.sequence),
      // What a compaction begins with; what it gives back is no part of this disk.
      compact: () => disk.flush(this.memtable, this.sequence),
      close: async () => {
        await world.turn(this.life);
        this.open = false;
      },
    };
  }

  private async read<T>(look: () => Promise<T>): Promise<T> {
    this.assertOpen();
    const early = this.world.chance(0.5) ? look() : undefined;
    await this.world.turn(this.life);
    this.assertOpen();
    if (this.world.strikes("a read fails")) throw ioError("read");
    return await (early ?? look());
  }

  private getNow(key: Uint8Array): Uint8Array | undefined | "later" {
    this.assertOpen();
    if (this.world.chance(0.1)) return "later";
    if (this.world.strikes("a read fails")) throw ioError("read");
    const value = this.memory.getNow?.(key);
    return value instanceof Uint8Array ? this.corrupted(value) : value;
  }

  private async page(range: KeyRange): Promise<Entry[]> {
    const entries = await this.memory.page(range);
    return entries.map(([key, value]) => [key, this.corrupted(value)] as const);
  }

  /** A value as it was read: now and then not as it was written. */
  private corrupted(value: Uint8Array): Uint8Array {
    if (!this.world.strikes("a bit flips on reading")) return value;
    // Where the audit reads it, it has every reason to refuse.
    this.disk.wasCorrupted = true;
    const copy = Buffer.from(value);
    const at = this.world.below(copy.length);
    copy[at] = (copy[at] as number) ^ (1 << this.world.below(8));
    return copy;
  }

  private async write(operations: readonly Operation[]): Promise<void> {
    this.assertOpen();
    const { sequence } = this;
    await this.world.turn(this.life);
    // Whatever becomes of it, LevelDB counts on.
    this.sequence += operations.length;
    await this.disk.append(sequence + 1, operations);
    this.disk.wasWritten(operations);
    this.memtable.push(operations);
    await this.memory.write(operations);
  }

  private assertOpen(): void {
    if (this.open) return;
    throw Object.assign(new Error("Database is not open"), { code: "LEVEL_DATABASE_NOT_OPEN" });
  }
}
