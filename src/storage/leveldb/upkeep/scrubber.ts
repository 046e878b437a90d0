// The scrubber: while the store serves, it reads all of it again and again at a bounded rate, so
// that a bit that rots is found by us and not by an auditor in three years. Tables by LevelDB's
// own CRCs, which LevelDB never looks at; the log by ours and by the hash chain; the index
// against the log. What it finds it says, loudly, and counts; it repairs nothing.

import { basename } from "node:path";
import type { OpenStore } from "../state/open-store.ts";
import { liveTables } from "../files/database-check.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { busyEventLoop, Pace, Stopped } from "./pace.ts";
import { checkTable } from "../files/table-file.ts";
import { verifyStore } from "../verify/verify-store.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface ScrubberOptions {
  /** At most so many bytes are read in a second. Absent: 8 MiB. */
  readonly bytesPerSecond?: number;
  /** From the start of the store to the first round: others start then too. Absent: a minute. */
  readonly delayMs?: number;
  /** From the end of a round to the beginning of the next. Absent: an hour. */
  readonly pauseMs?: number;
  /**
   * Whether others need the machine now: then it slows down. Absent: whether the event loop is
   * busy.
   */
  readonly isBusy?: () => boolean;
  /** Told of each finding, once. Absent: a warning. */
  readonly found?: (finding: string) => void;
  /** Told at the end of each round. */
  readonly finished?: (status: ScrubberStatus) => void;
}

export interface ScrubberStatus {
  readonly phase: "tables" | "log" | "waiting" | "stopped";
  /** Whole rounds so far. */
  readonly rounds: number;
  /** The last position of this round that was checked. */
  readonly position: number;
  /** Bytes read since the store was opened. */
  readonly bytes: number;
  /** What was found since the store was opened, each thing once; the first hundred of them. */
  readonly findings: readonly string[];
  readonly findingCount: number;
  /** When the last whole round ended: microseconds since 1970, UTC; 0: none did yet. */
  readonly lastFinishedAt: number;
}

export interface Scrubber {
  status(): ScrubberStatus;
  /** Resolves when it reads no more. */
  stop(): Promise<void>;
}

export interface ScrubberParts {
  readonly store: OpenStore;
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

/** Goes on until it is stopped. */
export function startScrubber(parts: ScrubberParts, options: ScrubberOptions = {}): Scrubber {
  const { bytesPerSecond = bytesPerSecondDefault, isBusy = busyEventLoop() } = options;
  const pace = new Pace({ bytesPerSecond, isBusy, delay: parts.delay ?? nodeDelay });
  const scrubbing = new Scrubbing(parts, options, pace);
  const ended = scrubbing.run();
  return {
    status: () => scrubbing.status,
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
    await this.checkTables();
    this.change({ phase: "log" });
    await verifyStore(steadyKv(store, this.pace), {
      head: store.head.position,
      found: (finding) => this.found(finding),
      pace: (bytes) => this.spend(bytes),
      reached: ({ last }) => this.change({ position: last }),
    });
    this.change({ rounds: this.status.rounds + 1, lastFinishedAt: clock() });
    this.options.finished?.(this.status);
  }

  private async checkTables(): Promise<void> {
    const { database } = this.parts;
    if (database === undefined) return;
    for (const path of await liveTables(database)) {
      const fault = await checkTable(path, (bytes) => this.spend(bytes)).catch(
        async (error: NodeJS.ErrnoException) => {
          if (error.code !== "ENOENT") throw error;
          // Where LevelDB made others of it meanwhile, nobody misses it.
          return (await liveTables(database)).includes(path) ? "it is missing" : undefined;
        },
      );
      if (fault) this.found(`table ${basename(path)}: ${fault}`);
    }
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

/** The engine's database for reading, through the moments in which it is reopened. */
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
    getMany: (keys) => steadily(() => store.kv.getMany(keys)),
    page: (range) => steadily(() => store.kv.page(range)),
  };
}

function isClosed(error: unknown): boolean {
  const { code } = error as { code?: unknown };
  return code === "LEVEL_DATABASE_NOT_OPEN" || code === "LEVEL_ITERATOR_NOT_OPEN";
}
