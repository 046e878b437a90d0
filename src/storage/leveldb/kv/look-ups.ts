// Looks values up by their keys. A value in LevelDB's or the kernel's memory is found in
// microseconds, while the way through the thread pool takes ten times as long. A few keys are
// therefore looked up synchronously, as long as none of them waits for the disk.

import { performance } from "node:perf_hooks";

/** At most this many keys are looked up on the main thread: the chunks of a short query. */
const keysAtOnceMax = 12;
/**
 * A lookup that took longer than this went to disk, or was interrupted: by garbage collection or by
 * another process. Another one soon after went to disk.
 */
const slowMs = 0.25;
const soonCount = 32;
/** After that, so many are left to the thread pool, where the disk blocks nobody else. */
const cautiousCount = 256;

interface Database {
  getSync(key: Buffer): Buffer | undefined;
  getMany(keys: Buffer[]): Promise<(Buffer | undefined)[]>;
}

export interface LookUpsParts {
  readonly nowMs: () => number;
  /** Counts what this process has had to read from disk. */
  readonly diskReads: () => number;
}

const measured: LookUpsParts = {
  nowMs: () => performance.now(),
  diskReads() {
    const { majorPageFault, fsRead } = process.resourceUsage();
    return majorPageFault + fsRead;
  },
};

export class LookUps {
  private readonly database: Database;
  private readonly parts: LookUpsParts;
  private cautious = 0;
  private sinceSlow = Infinity;
  private diskReads = 0;

  constructor(database: Database, parts = measured) {
    this.database = database;
    this.parts = parts;
  }

  /** At once. "later": lookups have gone to disk lately, so this one should leave the thread. */
  now(key: Buffer): Uint8Array | undefined | "later" {
    if (this.cautious > 0) {
      this.cautious--;
      return "later";
    }
    const since = this.parts.nowMs();
    const value = this.database.getSync(key);
    this.took(this.parts.nowMs() - since);
    return value;
  }

  /** In the order of the keys. */
  async get(keys: Buffer[]): Promise<(Uint8Array | undefined)[]> {
    if (keys.length > keysAtOnceMax || this.cautious > 0) {
      this.cautious = Math.max(0, this.cautious - 1);
      return this.database.getMany(keys);
    }
    const values: (Uint8Array | undefined)[] = [];
    let since = this.parts.nowMs();
    for (const key of keys) {
      values.push(this.database.getSync(key));
      const now = this.parts.nowMs();
      this.took(now - since);
      if (this.cautious > 0) break;
      since = now;
    }
    if (values.length === keys.length) return values;
    return [...values, ...(await this.database.getMany(keys.slice(values.length)))];
  }

  private took(ms: number): void {
    const isSlow = ms > slowMs && this.hasReadDisk();
    if (isSlow && this.sinceSlow < soonCount) this.cautious = cautiousCount;
    this.sinceSlow = isSlow ? 0 : this.sinceSlow + 1;
  }

  /** Since it was asked last. If not, it was the processor that was waited for. */
  private hasReadDisk(): boolean {
    const before = this.diskReads;
    this.diskReads = this.parts.diskReads();
    return this.diskReads !== before;
  }
}
