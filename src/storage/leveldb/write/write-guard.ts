// The only way to the disk: one batch at a time, and only while the store accepts writes. After a
// failed write it is not known what the disk contains, and LevelDB may lose later writes. The guard
// then closes the database, reopens and audits it, and only then admits writers.

import { AnnalsError } from "../../../domain/errors.ts";
import type { StorageWatcher, WriteState } from "../../storage.ts";
import type { Acknowledged } from "../folder/high-water-mark.ts";
import type { Kv, Operation } from "../kv/kv.ts";
import { loadLifecycles } from "../read/lifecycles.ts";
import { closedError, logEndOf, type OpenDatabase, type OpenStore } from "../state/open-store.ts";
import { moveSnapshots } from "./move-snapshots.ts";
import { upgrade } from "./upgrade.ts";

export interface OpenedKv {
  readonly kv: Kv;
  /** LevelDB's sequence number of the last write in the database. */
  readonly sequence: number;
}

export interface GuardOptions {
  /**
   * Opens the database and checks that it is fit to be served and contains what was acknowledged,
   * or throws. `acknowledged` is absent when the store is first opened.
   */
  readonly openKv: (acknowledged?: Acknowledged) => Promise<OpenedKv>;
  /**
   * Called with what is durable after each write: moves the high-water mark. Must not throw or
   * wait.
   */
  readonly acknowledge?: (acknowledged: Acknowledged) => void;
  /** Opens the database without LevelDB and for reading only, although tables are damaged. */
  readonly openDamaged?: ((acknowledged: Acknowledged) => Promise<Kv>) | undefined;
  /** Bytes that may still be written before the reserve is used. Absent: no bound. */
  readonly spareBytes?: () => number;
  /** Whether the folder is still this process's own. Absent: nobody else can take it. */
  readonly isHeld?: () => boolean;
  /** Reports what an operator should know. */
  readonly warn: (message: string, cause?: unknown) => void;
  /** Called when the store closes normally, before the database is closed. */
  readonly closing?: (store: OpenStore) => Promise<void>;
  /** Calls back after a delay. Absent: with Node's timers. */
  readonly delay?: Delay;
  /** Bytes of streams' lifecycles in memory. Absent: as many as the limits allow. */
  readonly lifecyclesBytesMax?: number | undefined;
}

export interface GuardParts {
  readonly store: OpenStore;
  readonly options: GuardOptions;
  readonly watchers: ReadonlySet<StorageWatcher>;
}

/** Opens the database and loads the part of it that is kept in memory. */
export async function openDatabase(
  { openKv, lifecyclesBytesMax }: GuardOptions,
  acknowledged?: Acknowledged,
): Promise<OpenDatabase> {
  const { kv, sequence } = await openKv(acknowledged);
  try {
    const moved = await moveSnapshots(kv);
    const end = await logEndOf(kv);
    const { written, ...upgraded } = await upgrade(kv, end.head.position);
    const lifecycles = await loadLifecycles(kv, end.head.position, lifecyclesBytesMax);
    return { kv, sequence: sequence + moved + written, ...end, ...upgraded, lifecycles };
  } catch (error) {
    await kv.close();
    throw error;
  }
}

/** What the store has made durable. */
export function acknowledgedBy({ head, sequence, headHash: hash }: OpenStore): Acknowledged {
  return { position: head.position, sequence, hash };
}

const retryAfterMs = 1_000;
const spaceCheckMs = 500;
/** LevelDB writes each byte to its log and again to a table, and more often while it compacts. */
const spaceFactor = 4;
const attemptsBeforeFailed = 5;
const backoffMsFirst = 100;
const backoffMsMax = 30_000;

/** Calls back once, after at least `ms`. Returns a function that prevents it. */
export type Delay = (ms: number, callback: () => void) => () => void;

export const nodeDelay: Delay = (ms, callback) => {
  const timer = setTimeout(callback, ms).unref();
  return () => clearTimeout(timer);
};

export class WriteGuard {
  state: WriteState = "accepting";
  private readonly parts: GuardParts;
  private readonly delay: Delay;
  private last: Promise<unknown> = Promise.resolve();
  private recovery: Promise<void> | undefined;
  private closed: Promise<void> | undefined;
  private stopped = false;
  /** A write failed, and the database has not been reopened since. */
  private poisoned = false;
  hasLeft = false;
  /** Why nothing may be written any more. Undefined: it may. */
  private failure: string | undefined;
  /** Ends the present wait, for space or for the next attempt. */
  private wake: () => void = () => {};

  constructor(parts: GuardParts) {
    this.parts = parts;
    this.delay = parts.options.delay ?? nodeDelay;
  }

  /** Runs a write after those before it. Throws if nothing may be written now. */
  exclusive<T>(bytes: number, write: () => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(closedError());
    const turn = this.last.then(() => {
      this.admit(bytes);
      return write();
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  /** Calls back between two writes, whatever the state: what it sees is no half of a write. */
  between<T>(look: () => T): Promise<T> {
    const turn = this.last.then(look);
    this.last = turn.catch(() => {});
    return turn;
  }

  /** Writes to the disk. Durable when it resolves. If it fails, the engine recovers. */
  async write(operations: readonly Operation[]): Promise<void> {
    const { store } = this.parts;
    try {
      await store.kv.write(operations);
      store.sequence += operations.length;
      if (this.parts.options.isHeld?.() === false) throw new Error("the folder's lock is gone");
    } catch (cause) {
      if (this.parts.options.isHeld?.() === false) throw this.lockLost();
      this.parts.options.warn("a write failed: the store is closed, reopened and audited", cause);
      this.poisoned = true;
      this.setState("recovering");
      this.recovery = this.recover();
      throw new AnnalsError(
        { reason: "OUTCOME_UNKNOWN" },
        "a write to disk failed: the outcome is unknown; retry with the same event ids",
        cause,
      );
    }
  }

  /** What was written may be in files that another process has replaced. */
  private lockLost(): AnnalsError {
    this.fail("the folder's lock was deleted: another server may have opened the store");
    return new AnnalsError(
      { reason: "OUTCOME_UNKNOWN" },
      "the store's folder is not held any more",
    );
  }

  /** Refuses writes for good. Reads go on. A restart of the process checks the store again. */
  fail(why: string): void {
    if (this.failure !== undefined) return;
    this.failure = why;
    this.wake();
    this.setState("failed", why);
  }

  /**
   * Refuses writes for good, and reads by `openDamaged` from now on: LevelDB would come to what is
   * damaged, end the process there, or merge it into sound tables. Never rejects.
   */
  async leaveLevelDb(why: string): Promise<void> {
    const { openDamaged, isHeld } = this.parts.options;
    if (this.hasLeft || openDamaged === undefined || isHeld?.() === false) return this.fail(why);
    this.hasLeft = true;
    this.fail(why);
    await this.last;
    await this.recovery;
    if (this.closed) return;
    this.recovery = this.readBy(openDamaged);
    await this.recovery;
  }

  private async readBy(openDamaged: NonNullable<GuardOptions["openDamaged"]>): Promise<void> {
    const { store, options } = this.parts;
    await store.kv.close().catch((cause: unknown) => {
      options.warn("LevelDB could not be closed", cause);
    });
    for (let backoffMs = backoffMsFirst; !this.stopped;) {
      try {
        store.kv = await openDamaged(acknowledgedBy(store));
        await this.doubtMemory();
        options.warn("the store is read without LevelDB from now on, every block checked");
        return;
      } catch (cause) {
        options.warn("the store's files cannot be read without LevelDB", cause);
      }
      await this.pause(backoffMs);
      backoffMs = Math.min(backoffMs * 2, backoffMsMax);
    }
  }

  /** What is kept in memory was read before the damage was known. */
  private async doubtMemory(): Promise<void> {
    const { store, options } = this.parts;
    const { position } = store.head;
    store.terms.reset(position);
    store.tail.clear();
    store.places.clear();
    store.hot.clear();
    store.removedRuns.clear();
    const loading = loadLifecycles(store.kv, position, options.lifecyclesBytesMax);
    store.lifecycles = await loading.catch((error: unknown) => {
      if (!(error instanceof AnnalsError)) throw error;
      // Which streams have one is not known for sure: each is looked up when it is needed.
      store.lifecycles.doubt();
      return store.lifecycles;
    });
  }

  /** For a database that is open for reading only: opens it for writing when there is space. */
  awaitWritable(): void {
    this.poisoned = true;
    this.setState("disk-full");
    this.recovery = this.recover();
  }

  /** Waits for the write in flight, then closes the database. */
  close(): Promise<void> {
    this.closed ??= this.closeNow();
    return this.closed;
  }

  private async closeNow(): Promise<void> {
    await this.last;
    this.stopped = true;
    this.wake();
    await this.recovery;
    const { store, options } = this.parts;
    try {
      if (!this.poisoned && this.failure === undefined) await options.closing?.(store);
    } catch (cause) {
      // The write-ahead log contains everything; the next start only takes longer.
      options.warn("the write-ahead log could not be moved into tables", cause);
    } finally {
      store.open = false;
      await store.kv.close();
    }
  }

  private admit(bytes: number): void {
    if (this.state === "recovering") {
      throw new AnnalsError({ reason: "RECOVERING" }, "the store is being reopened and audited");
    }
    if (this.state === "failed") {
      const why = this.failure ?? "the store could not be recovered";
      throw new AnnalsError({ reason: "STORE_FAILED" }, why);
    }
    if (this.state === "accepting") {
      if (this.spareBytes() >= bytes * spaceFactor) return;
      void this.awaitSpace().then(() => this.setState(this.stopped ? this.state : "accepting"));
    }
    throw new AnnalsError(
      { reason: "DISK_FULL", retryAfterMs },
      "the disk's free space is below the reserve: appends are refused, reads go on",
    );
  }

  /** Bytes that may still be written. If it cannot be determined: none. */
  private spareBytes(): number {
    const { spareBytes, warn } = this.parts.options;
    if (!spareBytes) return Number.POSITIVE_INFINITY;
    try {
      return spareBytes();
    } catch (cause) {
      warn("the disk's free space cannot be read", cause);
      return 0;
    }
  }

  private get isEnding(): boolean {
    return this.stopped || this.failure !== undefined;
  }

  /**
   * Refuses writes until there is free space, while reads continue. Ends early if the store closes.
   */
  private async awaitSpace(bytes = 0): Promise<void> {
    this.parts.options.warn("free space is below the reserve: appends are refused");
    this.setState("disk-full");
    while (!this.isEnding) {
      await this.pause(spaceCheckMs);
      if (this.spareBytes() <= bytes) continue;
      this.parts.options.warn("there is free space again");
      return;
    }
  }

  private pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const prevent = this.delay(ms, resolve);
      this.wake = () => {
        prevent();
        resolve();
      };
    });
  }

  private async recover(): Promise<void> {
    // Without space LevelDB cannot be reopened. Until then, the open database answers readers.
    const { store } = this.parts;
    if (this.spareBytes() <= (store.kv.neededBytes ?? 0)) {
      await this.awaitSpace(store.kv.neededBytes);
    }
    let backoffMs = backoffMsFirst;
    for (let attempt = 1; !this.isEnding; attempt++) {
      if (this.state === "disk-full") this.setState("recovering");
      try {
        await this.reopen();
        if (store.kv.neededBytes !== undefined) {
          attempt = 0;
          await this.awaitSpace(store.kv.neededBytes);
          continue;
        }
        this.poisoned = false;
        this.setState("accepting");
        return;
      } catch (cause) {
        this.parts.options.warn(`the store could not be reopened (attempt ${attempt})`, cause);
        if (attempt >= attemptsBeforeFailed) this.setState("failed");
      }
      if (!this.isEnding) await this.pause(backoffMs);
      backoffMs = Math.min(backoffMs * 2, backoffMsMax);
    }
  }

  private async reopen(): Promise<void> {
    const { store, options, watchers } = this.parts;
    await store.kv.close();
    store.tail.clear();
    store.places.clear();
    store.commits.clear();
    const database = await openDatabase(options, acknowledgedBy(store));
    const { head: from } = store;
    const { head: to } = database;
    if (to.position < from.position) {
      await database.kv.close();
      throw new Error(
        `the store ends at position ${to.position}; ${from.position} was acknowledged`,
      );
    }
    Object.assign(store, database);
    store.terms.reset(to.position);
    store.hot.clear();
    options.acknowledge?.(acknowledgedBy(store));
    options.warn(`the store was reopened and audited; its head is ${to.position}`);
    if (to.position === from.position) return;
    // A write whose outcome was unknown may be durable, so watchers are told about it.
    for (const watcher of watchers) watcher.advanced?.({ from, to });
  }

  private setState(state: WriteState, why?: string): void {
    const isFinal = this.failure !== undefined && state !== "failed";
    if (isFinal || (this.state === state && why === undefined)) return;
    this.state = state;
    for (const watcher of this.parts.watchers) watcher.writeStateChanged?.(state, why);
  }
}
