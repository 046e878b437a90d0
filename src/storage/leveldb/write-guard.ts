// The one way to the disk: one batch at a time, only while the store accepts writes. A failed write
// means that nobody knows what the disk holds (LevelDB may lose later writes after one failed one):
// the guard closes the database, reopens and audits it, and only then lets writers on.

import { setTimeout as delay } from "node:timers/promises";
import { AnnalsError } from "../../domain/errors.ts";
import type { Head, StorageWatcher, WriteState } from "../storage.ts";
import { closedError, type Core } from "./core.ts";
import type { EngineOptions } from "./engine.ts";
import type { Kv, WriteBatch } from "./kv.ts";

export interface GuardParts {
  readonly core: Core;
  readonly options: EngineOptions;
  readonly watchers: ReadonlySet<StorageWatcher>;
  readonly headOf: (kv: Kv) => Promise<{ head: Head; headHash: Uint8Array }>;
}

const retryAfterMs = 1_000;
const spaceCheckMs = 500;
/** LevelDB writes each byte to its log and again to a table, and more while it compacts. */
const spaceFactor = 4;
const attemptsBeforeFailed = 5;
const backoffMsFirst = 100;
const backoffMsMax = 30_000;

export class WriteGuard {
  state: WriteState = "accepting";
  private readonly parts: GuardParts;
  private last: Promise<unknown> = Promise.resolve();
  private recovery: Promise<void> | undefined;
  private spaceTimer: NodeJS.Timeout | undefined;
  private closed: Promise<void> | undefined;
  private readonly stopped = new AbortController();

  constructor(parts: GuardParts) {
    this.parts = parts;
  }

  /** Runs a write after those before it. Throws where nothing may be written now. */
  exclusive<T>(bytes: number, write: () => Promise<T>): Promise<T> {
    if (this.closed) return Promise.reject(closedError());
    const turn = this.last.then(() => {
      this.admit(bytes);
      return write();
    });
    this.last = turn.catch(() => {});
    return turn;
  }

  /** Writes a batch. Where that fails the outcome is unknown and the engine recovers. */
  async write(batch: WriteBatch): Promise<void> {
    try {
      await batch.write();
    } catch (cause) {
      this.parts.options.warn("a write failed: the store is closed, reopened and audited", cause);
      this.setState("recovering");
      this.recovery = this.recover();
      throw new AnnalsError(
        { reason: "OUTCOME_UNKNOWN" },
        "a write to disk failed: the outcome is unknown; retry with the same event ids",
        cause,
      );
    }
  }

  /** Waits for the write in flight, then closes the database. */
  close(): Promise<void> {
    this.closed ??= this.closeNow();
    return this.closed;
  }

  private async closeNow(): Promise<void> {
    await this.last;
    this.stopped.abort();
    clearInterval(this.spaceTimer);
    await this.recovery;
    const { core, options } = this.parts;
    if (this.state === "accepting" || this.state === "disk-full") await options.closing?.(core);
    core.open = false;
    await core.kv.close();
  }

  private admit(bytes: number): void {
    if (this.state === "recovering") {
      throw new AnnalsError({ reason: "RECOVERING" }, "the store is being reopened and audited");
    }
    if (this.state === "failed") {
      throw new AnnalsError({ reason: "STORE_FAILED" }, "the store could not be recovered");
    }
    const { spareBytes } = this.parts.options;
    if (!spareBytes) return;
    if (this.state === "disk-full" || spareBytes() < bytes * spaceFactor) {
      this.watchSpace(spareBytes);
      throw new AnnalsError(
        { reason: "DISK_FULL", retryAfterMs },
        "the disk's free space is below the reserve: appends are refused, reads go on",
      );
    }
  }

  private watchSpace(spareBytes: () => number): void {
    if (this.state === "disk-full") return;
    this.parts.options.warn("free space is below the reserve: appends are refused");
    this.setState("disk-full");
    this.spaceTimer = setInterval(() => {
      if (this.state !== "disk-full" || spareBytes() <= 0) return;
      clearInterval(this.spaceTimer);
      this.parts.options.warn("there is free space again: appends are accepted");
      this.setState("accepting");
    }, spaceCheckMs);
    this.spaceTimer.unref();
  }

  private async recover(): Promise<void> {
    let backoffMs = backoffMsFirst;
    for (let attempt = 1; !this.stopped.signal.aborted; attempt++) {
      try {
        await this.reopen();
        this.setState("accepting");
        return;
      } catch (cause) {
        this.parts.options.warn(`the store could not be reopened (attempt ${attempt})`, cause);
        if (attempt >= attemptsBeforeFailed) this.setState("failed");
      }
      await delay(backoffMs, undefined, { signal: this.stopped.signal }).catch(() => {});
      backoffMs = Math.min(backoffMs * 2, backoffMsMax);
    }
  }

  private async reopen(): Promise<void> {
    const { core, options, watchers, headOf } = this.parts;
    await core.kv.close();
    core.terms.reset();
    core.tail.clear();
    const kv = await options.openKv();
    const { head, headHash } = await headOf(kv);
    if (head.position < core.head.position) {
      await kv.close();
      throw new Error(
        `the store ends at position ${head.position}; ${core.head.position} was acknowledged`,
      );
    }
    const from = core.head;
    core.kv = kv;
    core.head = head;
    core.headHash = headHash;
    // What was unknown may have become durable after all: then everybody is to look.
    if (head.position > from.position) {
      for (const watcher of watchers) watcher.advanced({ from, to: head });
    }
    options.warn(`the store was reopened and audited; its head is at position ${head.position}`);
  }

  private setState(state: WriteState): void {
    if (this.state === state) return;
    this.state = state;
    for (const watcher of this.parts.watchers) watcher.writeStateChanged(state);
  }
}
