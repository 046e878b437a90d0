// The reclaimer gives back the space of permanently removed events while the store is served, at a
// bounded rate and in small batches between the commits of appends. Its work is recorded in the
// log. Events that it has not reached yet are hidden from every answer anyway, so that it can be
// stopped at any point.

import { setImmediate as turn } from "node:timers/promises";
import { AnnalsError } from "../../../domain/errors.ts";
import type { ReclaimStatus } from "../../storage.ts";
import { openChunk } from "../format/chunk.ts";
import type { OpenStore } from "../state/open-store.ts";
import type { Engine } from "../write/engine.ts";
import { chunkKey, readUint64 } from "../format/keys.ts";
import { busyEventLoop, Pace, Stopped } from "./pace.ts";
import { Replaced } from "./reclaim-compaction.ts";
import { ReclaimWork, type Look } from "./reclaim-work.ts";
import { composeReclaim, outcomeOf, planChunk, type ChunkPlan } from "./reclaim.ts";
import { nodeDelay, type Delay } from "../write/write-guard.ts";

export interface ReclaimOptions {
  /** Upper bound of bytes read and rewritten per second. Absent: 4 MiB. */
  readonly bytesPerSecond?: number;
  /** Time from the start of the store to the first round. Absent: one minute. */
  readonly delayMs?: number;
  /**
   * Time from the end of a round to the next one. Removed events keep their space for at least this
   * long. Absent: five minutes.
   */
  readonly pauseMs?: number;
  /**
   * LevelDB is asked to compact a region once this many bytes of it were reclaimed. Absent: 4 MiB.
   */
  readonly compactBytesMin?: number;
  /** Streams that are kept in mind from one round to the next. Absent: 65,536. */
  readonly watchedMax?: number;
  /**
   * Whether the server is busy, so that the reclaimer slows down. Absent: measured by the event
   * loop.
   */
  readonly isBusy?: () => boolean;
  /** Called after each round that reclaimed something. */
  readonly finished?: (status: ReclaimStatus) => void;
}

export interface Reclaimer {
  status(): ReclaimStatus;
  /** Runs a round now, after one that is under way. Throws what prevented it. */
  round(): Promise<void>;
  /** Resolves when the reclaimer has stopped writing. */
  stop(): Promise<void>;
}

export interface ReclaimParts extends Pick<Engine, "store" | "commitOwn" | "storage"> {
  readonly clock: () => number;
  readonly warn: (message: string, cause?: unknown) => void;
  /** Bytes that may still be written to the disk. Absent: no bound. */
  readonly spareBytes?: (() => number) | undefined;
  readonly delay?: Delay | undefined;
}

const bytesPerSecondDefault = 4 * 1024 * 1024;
const delayMsDefault = 60 * 1_000;
const pauseMsDefault = 5 * 60 * 1_000;
const compactBytesMinDefault = 4 * 1024 * 1024;
/** Approximate bytes of chunks in a batch. An append may have to wait for one batch. */
const batchBytes = 192 * 1024;
const batchChunksMax = 256;
const chunksReadAtOnce = 8;
const gatheredMax = 4_096;
const compactEveryBytes = 64 * 1024 * 1024;
/** Space left for appends. Compaction needs space before it frees any. */
const spareBytesMin = 64 * 1024 * 1024;
const damagedKnownMax = 1_000;

/** Runs until it is stopped. */
export function startReclaimer(parts: ReclaimParts, options: ReclaimOptions = {}): Reclaimer {
  const { delayMs = delayMsDefault, pauseMs = pauseMsDefault } = options;
  const { bytesPerSecond = bytesPerSecondDefault, isBusy = busyEventLoop() } = options;
  const pace = new Pace({ bytesPerSecond, isBusy, delay: parts.delay ?? nodeDelay });
  const reclaiming = new Reclaiming(parts, options, pace);
  const ended = reclaiming.run(delayMs, pauseMs);
  return {
    status: () => reclaiming.status,
    round: () => reclaiming.round(),
    async stop() {
      pace.stop();
      await ended;
      await reclaiming.settled();
    },
  };
}

class Reclaiming {
  status: ReclaimStatus = {
    phase: "waiting",
    rounds: 0,
    chunks: 0,
    events: 0,
    bytesFreed: 0,
    waitingEvents: 0,
    waitingBytes: 0,
    lastFinishedAt: 0,
  };
  private readonly parts: ReclaimParts;
  private readonly options: ReclaimOptions;
  private readonly pace: Pace;
  private readonly store: OpenStore;
  private readonly work: ReclaimWork;
  private readonly replaced = new Replaced();
  private readonly damaged = new Set<number>();
  private last: Promise<unknown> = Promise.resolve();

  constructor(parts: ReclaimParts, options: ReclaimOptions, pace: Pace) {
    this.parts = parts;
    this.options = options;
    this.pace = pace;
    this.store = parts.store;
    this.work = new ReclaimWork(parts.store, (bytes) => this.spend(bytes), options.watchedMax);
  }

  async run(delayMs: number, pauseMs: number): Promise<void> {
    await this.pace.pause(delayMs);
    while (!this.pace.isStopped) {
      try {
        await this.round();
      } catch (cause) {
        if (cause instanceof Stopped) break;
        this.parts.warn("the reclaimer could not finish its round", cause);
      }
      await this.pace.pause(pauseMs);
    }
    this.change({ phase: "stopped" });
  }

  /**
   * Reclaims what was already removed at the previous round. Throws Stopped, and what a commit
   * throws.
   */
  round(): Promise<void> {
    const turnEnded = this.last.then(() => this.roundNow());
    this.last = turnEnded.catch(() => {});
    return turnEnded;
  }

  async settled(): Promise<void> {
    await this.last;
  }

  private async roundNow(): Promise<void> {
    const { events } = this.status;
    try {
      this.change({ phase: "looking" });
      const look = await this.work.look();
      this.change({ phase: "reclaiming" });
      await this.reclaimDue(look);
      await this.compact(this.options.compactBytesMin ?? compactBytesMinDefault);
      const { rounds } = this.status;
      const waitingEvents = rounds === 0 ? 0 : this.work.waitingEvents;
      const waiting = { waitingEvents, waitingBytes: this.replaced.bytes };
      this.change({ rounds: rounds + 1, ...waiting, lastFinishedAt: this.parts.clock() });
    } finally {
      this.change({ phase: "waiting" });
    }
    if (this.status.events > events) this.options.finished?.(this.status);
  }

  private async reclaimDue(look: Look): Promise<void> {
    const gathered = new Set<number>();
    let through: [string, number][] = [];
    const settle = async (): Promise<void> => {
      await this.reclaimChunks(
        [...gathered].toSorted((a, b) => a - b),
        look,
      );
      gathered.clear();
      for (const [stream, version] of through) this.work.reclaimed(stream, version);
      through = [];
    };
    for (const due of look.due) {
      const version = await this.work.chunksOf(due, async (last) => {
        gathered.add(last);
        if (gathered.size >= gatheredMax) await settle();
      });
      through.push([due.stream, version]);
    }
    await settle();
  }

  private async reclaimChunks(lasts: readonly number[], look: Look): Promise<void> {
    let plans: ChunkPlan[] = [];
    let bytes = 0;
    for (let at = 0; at < lasts.length; at += chunksReadAtOnce) {
      const keys = lasts.slice(at, at + chunksReadAtOnce).map(chunkKey);
      const values = await this.store.kv.getMany(keys);
      for (const [i, key] of keys.entries()) {
        const plan = await this.planned(key, values[i], look);
        if (plan === undefined) continue;
        plans.push(plan);
        bytes += plan.bytesBefore;
        // Lets appends go first in every turn of the event loop.
        await turn();
      }
      if (bytes < batchBytes && plans.length < batchChunksMax) continue;
      await this.commit(plans, look);
      plans = [];
      bytes = 0;
    }
    if (plans.length > 0) await this.commit(plans, look);
  }

  /** A chunk that cannot be read is left as it is: the scrubber and readers report it. */
  private async planned(
    key: Uint8Array,
    value: Uint8Array | undefined,
    { bounds }: Look,
  ): Promise<ChunkPlan | undefined> {
    try {
      return value && (await planChunk(this.store, openChunk(key, value), bounds));
    } catch (error) {
      const isDamage = error instanceof AnnalsError && error.reason === "CORRUPTION";
      if (!isDamage) throw error;
      const last = readUint64(key, 1);
      if (this.damaged.has(last)) return undefined;
      if (this.damaged.size < damagedKnownMax) this.damaged.add(last);
      this.parts.warn(`the space up to position ${last} cannot be reclaimed`, error);
      return undefined;
    }
  }

  private async commit(plans: readonly ChunkPlan[], { bounds, judgedAt }: Look): Promise<void> {
    let bytes = 0;
    for (const { bytesBefore, bytesAfter } of plans) bytes += bytesBefore + bytesAfter;
    await this.spend(bytes);
    this.assertRoom();
    await this.parts.commitOwn(bytes, () => composeReclaim(this.store, plans, bounds, judgedAt));
    const done = outcomeOf(plans);
    const { chunks, events, bytesFreed } = this.status;
    this.change({
      chunks: chunks + done.chunks,
      events: events + done.events,
      bytesFreed: bytesFreed + done.bytesFreed,
    });
    for (const plan of plans) this.replaced.add(plan);
    if (this.replaced.bytes >= compactEveryBytes) await this.compact(0);
  }

  /** Ensures that reclaiming is never the reason for which appends are refused. */
  private assertRoom(): void {
    const { spareBytes, storage } = this.parts;
    const state = storage.writeState();
    if (state !== "accepting") throw new Error(`the store is ${state}`);
    if ((spareBytes?.() ?? Infinity) < spareBytesMin) throw new Error("the disk is nearly full");
  }

  private async compact(bytesMin: number): Promise<void> {
    if (this.replaced.bytes === 0 || this.replaced.bytes < bytesMin) return;
    const { phase } = this.status;
    this.change({ phase: "compacting" });
    await this.replaced.compact(() => this.store.kv, bytesMin);
    this.change({ phase });
  }

  private spend(bytes: number): Promise<void> {
    return this.pace.spend(bytes);
  }

  private change(change: Partial<ReclaimStatus>): void {
    this.status = { ...this.status, ...change };
  }
}
