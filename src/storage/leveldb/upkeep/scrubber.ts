// The scrubber reads the whole store repeatedly while it is served, at a bounded rate, to find bit
// rot early. It checks tables by LevelDB's own CRCs, which LevelDB never verifies, the log by
// Annals' checksums and the hash chain, and the index against the log. It reports and counts
// findings and repairs nothing. A damaged table ends appends, and reads go on without LevelDB;
// entries that the index lacks are CORRUPTION from then on.

import { basename } from "node:path";
import { AnnalsError } from "../../../domain/errors.ts";
import type { ScrubStatus } from "../../storage.ts";
import type { OpenStore } from "../state/open-store.ts";
import { liveTables } from "../files/database-check.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { busyEventLoop, Pace, Stopped } from "./pace.ts";
import type { KeyBounds } from "../files/manifest.ts";
import { checkTable } from "../files/table-file.ts";
import type { AvoidedRange } from "../kv/avoided.ts";
import { verifyStore } from "../verify/verify-store.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface ScrubberOptions {
  /** Upper bound of bytes read per second. Absent: 8 MiB. */
  readonly bytesPerSecond?: number;
  /** Time from the start of the store to the first round. Absent: one minute. */
  readonly delayMs?: number;
  /** Time from the end of a round to the next one. Absent: one hour. */
  readonly pauseMs?: number;
  /**
   * Whether the server is busy, so that the scrubber slows down. Absent: measured by the event
   * loop.
   */
  readonly isBusy?: () => boolean;
  /** Called once for each finding. Absent: a warning is logged. */
  readonly found?: (finding: string) => void;
  /** Called after each round. */
  readonly finished?: (status: ScrubberStatus) => void;
}

export interface ScrubberStatus extends ScrubStatus {
  /** The distinct findings since the store was opened, at most a hundred. */
  readonly findings: readonly string[];
}

export interface Scrubber {
  status(): ScrubberStatus;
  /** Checks a table out of turn. Never rejects. */
  checkTable(path: string): Promise<void>;
  /** Resolves when the scrubber has stopped reading. */
  stop(): Promise<void>;
}

export interface ScrubberParts {
  readonly store: OpenStore;
  /**
   * Called with each damaged table, before it is reported: LevelDB must not read or merge it any
   * more.
   */
  readonly damaged: (table: string, finding: string) => Promise<void>;
  /** Reads that depend on these keys must be CORRUPTION. */
  readonly avoid: (range: AvoidedRange) => void;
  /** LevelDB's folder. Absent: there are no tables to check. */
  readonly database?: string | undefined;
  readonly clock: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  readonly delay?: Delay | undefined;
}

const bytesPerSecondDefault = 8 * 1024 * 1024;
const delayMsDefault = 60 * 1_000;
const pauseMsDefault = 60 * 60 * 1_000;
const reopenMs = 1_000;
const findingsKeptMax = 100;
const findingsKnownMax = 10_000;

/** Runs until it is stopped. */
export function startScrubber(parts: ScrubberParts, options: ScrubberOptions = {}): Scrubber {
  const { bytesPerSecond = bytesPerSecondDefault, isBusy = busyEventLoop() } = options;
  const pace = new Pace({ bytesPerSecond, isBusy, delay: parts.delay ?? nodeDelay });
  const scrubbing = new Scrubbing(parts, options, pace);
  const ended = scrubbing.run();
  return {
    status: () => scrubbing.status,
    async checkTable(path) {
      try {
        await scrubbing.checkTable(path);
      } catch (cause) {
        if (!(cause instanceof Stopped)) parts.warn(`${basename(path)} cannot be checked`, cause);
      }
    },
    async stop() {
      pace.stop();
      await ended;
    },
  };
}

class Scrubbing {
  status: ScrubberStatus = {
    phase: "waiting",
    rounds: 0,
    position: 0,
    bytes: 0,
    findings: [],
    findingCount: 0,
    lastFinishedAt: 0,
  };
  private readonly parts: ScrubberParts;
  private readonly options: ScrubberOptions;
  private readonly pace: Pace;
  private readonly known = new Set<string>();

  constructor(parts: ScrubberParts, options: ScrubberOptions, pace: Pace) {
    this.parts = parts;
    this.options = options;
    this.pace = pace;
  }

  async run(): Promise<void> {
    const { delayMs = delayMsDefault, pauseMs = pauseMsDefault } = this.options;
    await this.pace.pause(delayMs);
    while (!this.pace.isStopped) {
      try {
        await this.round();
      } catch (cause) {
        if (cause instanceof Stopped) break;
        this.parts.warn("the scrubber could not finish its round", cause);
      }
      this.change({ phase: "waiting" });
      await this.pace.pause(pauseMs);
    }
    this.change({ phase: "stopped" });
  }

  private async round(): Promise<void> {
    const { store, clock } = this.parts;
    this.change({ phase: "tables", position: 0 });
    // Where a table is damaged, every read checks what it meets, and the log cannot be walked.
    if (await this.areTablesSound()) {
      this.change({ phase: "log" });
      await verifyStore(steadyKv(store, this.pace), {
        head: store.head.position,
        found: (finding, keys) => this.foundInLog(finding, keys),
        pace: (bytes) => this.spend(bytes),
        reached: ({ last }) => this.change({ position: last }),
      }).catch((error: unknown) => this.unreadable(error));
    }
    this.change({ rounds: this.status.rounds + 1, lastFinishedAt: clock() });
    this.options.finished?.(this.status);
  }

  private async areTablesSound(looksInto = false): Promise<boolean> {
    const { database } = this.parts;
    if (database === undefined) return true;
    let areSound = true;
    for (const path of await liveTables(database)) {
      if (!(await this.checkTable(path, looksInto))) areSound = false;
    }
    return areSound;
  }

  /**
   * The walk came to something that LevelDB itself cannot read, although every block has its CRC:
   * LevelDB has merged what was damaged before.
   */
  private async unreadable(error: unknown): Promise<void> {
    if (!(error instanceof AnnalsError) || error.reason !== "CORRUPTION") throw error;
    if (await this.areTablesSound(true)) this.found(error.message);
  }

  /** Whether the table is sound. */
  async checkTable(path: string, looksInto = false): Promise<boolean> {
    const { database, damaged } = this.parts;
    const fault = await checkTable(path, (bytes) => this.spend(bytes), looksInto).catch(
      async (error: NodeJS.ErrnoException) => {
        if (error.code === "EIO") return "it cannot be read from the disk";
        if (error.code !== "ENOENT" || database === undefined) throw error;
        // LevelDB may have replaced the table meanwhile.
        return (await liveTables(database)).includes(path) ? "it is missing" : undefined;
      },
    );
    if (fault === undefined) return true;
    const table = basename(path);
    const finding = `table ${table}: ${fault}`;
    if (!this.known.has(finding)) await damaged(table, finding);
    this.found(finding);
    return false;
  }

  private foundInLog(finding: string, keys: KeyBounds | undefined): void {
    if (keys !== undefined && !this.known.has(finding)) {
      this.parts.avoid({ ...keys, why: finding });
    }
    this.found(finding);
  }

  private spend(bytes: number): Promise<void> {
    this.change({ bytes: this.status.bytes + bytes });
    return this.pace.spend(bytes);
  }

  private found(finding: string): void {
    if (this.known.has(finding)) return;
    if (this.known.size < findingsKnownMax) this.known.add(finding);
    if (this.options.found) this.options.found(finding);
    else this.parts.warn(`the scrubber found: ${finding}`);
    const { findings, findingCount } = this.status;
    const kept = findings.length < findingsKeptMax ? [...findings, finding] : findings;
    this.change({ findings: kept, findingCount: findingCount + 1 });
  }

  private change(change: Partial<ScrubberStatus>): void {
    this.status = { ...this.status, ...change };
  }
}

/** The engine's database for reading. While it is being reopened, reads wait. */
function steadyKv(store: OpenStore, pace: Pace): ReadableKv {
  const steadily = async <T>(read: () => Promise<T>): Promise<T> => {
    for (;;) {
      const { kv } = store;
      try {
        return await read();
      } catch (error) {
        const closed = store.kv !== kv || isClosed(error);
        if (!closed || !store.open) throw error;
        await pace.pause(reopenMs);
        if (pace.isStopped) throw new Stopped();
      }
    }
  };
  return {
    getMany: (keys) => steadily(() => wholeOf(store).getMany(keys)),
    page: (range) => steadily(() => wholeOf(store).page(range)),
  };
}

function wholeOf({ kv }: OpenStore): ReadableKv {
  return kv.whole ?? kv;
}

function isClosed(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN";
}
