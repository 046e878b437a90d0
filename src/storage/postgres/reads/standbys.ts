// Standbys to read events from. What a standby has is the beginning of the log, and never changes:
// a read takes from it what it is known to have, and the rest from the primary. So nobody reads
// anything older because of a standby, and nothing that the primary does not have: how far a log is
// the primary's, the hash chain says. That is asked of each session for itself, because behind one
// address there may be several hosts.

import type { StandbyStatus } from "../../standby-status.ts";
import { Database, hostOf } from "../sessions/database.ts";
import type { DbSession } from "../sessions/session.ts";
import { askHead, type HeadKeeper } from "../head/log-head.ts";
import { assertEpochs, type KnownStore } from "../tables/schema.ts";

export interface StandbysOptions {
  /** URLs of one host each. */
  readonly urls: readonly string[];
  readonly schema: string;
  readonly readersMax: number;
  readonly store: KnownStore;
  readonly keeper: HeadKeeper;
  readonly warn: (message: string, cause?: unknown) => void;
}

/** What is to be read. */
interface ReadRange {
  readonly first: number;
  readonly last: number;
  readonly isForwards: boolean;
  readonly isCopied: boolean;
}

/** A session is asked for its head at most this often. */
const lookMs = 20;
/** A standby that failed is left alone for so long. */
const pauseMs = 1_000;
/** A page that has not come by then does not come. */
const answerMs = 5_000;

export class Standbys {
  private readonly all: readonly Standby[];
  private next = 0;

  constructor(options: StandbysOptions) {
    this.all = options.urls.map((url) => new Standby(url, options));
  }

  status(): StandbyStatus[] {
    return this.all.map((each) => each.status());
  }

  /**
   * Reads at one of the standbys, up to where it is known to be. Undefined: none of them has the
   * beginning of the range, or it failed.
   */
  async read<T>(
    range: ReadRange,
    read: (session: DbSession, last: number) => Promise<T>,
  ): Promise<T | undefined> {
    for (let i = 0; i < this.all.length; i++) {
      const standby = this.all[this.next++ % this.all.length] as Standby;
      if (standby.isThere()) return standby.read(range, read);
    }
    return undefined;
  }

  close(): void {
    for (const each of this.all) each.close();
  }
}

/** Where a session is known to be. */
interface Place {
  position: number;
  lookedAtMs: number;
}

class Standby {
  private readonly host: string;
  private readonly options: StandbysOptions;
  private readonly database: Database;
  private readonly places = new WeakMap<DbSession, Place>();
  private isFound = false;
  private isClosed = false;
  private finding: Promise<void> | undefined;
  private pausedUntilMs = 0;
  private said: string | undefined;
  private position = 0;
  private pages = 0;
  private failures = 0;

  constructor(url: string, options: StandbysOptions) {
    const { schema, readersMax } = options;
    this.host = hostOf(url);
    this.options = options;
    const lost = (why: Error): void => this.failed(why);
    this.database = new Database({ urls: [url], schema, readersMax, lost, mayBeStandby: true });
  }

  /** Connects in the background where it does not. */
  isThere(): boolean {
    if (this.isFound || this.isClosed) return this.isFound;
    if (performance.now() >= this.pausedUntilMs) this.finding ??= this.find();
    return false;
  }

  status(): StandbyStatus {
    const { host, isFound: isUsed, position, pages, failures } = this;
    return { host, isUsed, position, pages, failures };
  }

  async read<T>(
    { first, last, isForwards, isCopied }: ReadRange,
    read: (session: DbSession, last: number) => Promise<T>,
  ): Promise<T | undefined> {
    let overdue: NodeJS.Timeout | undefined;
    // Others may have all sessions for as long: that says nothing of the host.
    let hasSession = false;
    const use = async (session: DbSession): Promise<T | undefined> => {
      hasSession = true;
      overdue?.refresh();
      const upTo = Math.min(last, await this.placeOf(session, last));
      if (upTo < (isForwards ? first : last)) return undefined;
      const page = await read(session, upTo);
      this.pages++;
      return page;
    };
    const reading = isCopied ? this.database.copying(use) : this.database.reading(use);
    const why = new Error(`it did not answer within ${answerMs / 1_000} s`);
    const late = new Promise<never>((_, reject) => {
      overdue = setTimeout(reject, answerMs, why);
    });
    try {
      // What is given up ends with its session, which also the opening of one may take too long.
      return await Promise.race([reading, late]);
    } catch (error) {
      if (hasSession || error !== why) this.failed(error as Error);
      return undefined;
    } finally {
      clearTimeout(overdue);
    }
  }

  close(): void {
    this.isClosed = true;
    this.isFound = false;
    this.database.leave("the store is closed");
  }

  /** Up to where the session's log is known to be the primary's. */
  private async placeOf(session: DbSession, wanted: number): Promise<number> {
    const { store, keeper } = this.options;
    let place = this.places.get(session);
    if (place === undefined) {
      await assertEpochs(session, store);
      place = { position: 0, lookedAtMs: Number.NEGATIVE_INFINITY };
      this.places.set(session, place);
    }
    if (place.position >= wanted || performance.now() - place.lookedAtMs < lookMs) {
      return place.position;
    }
    const { position, chain } = await askHead(session);
    place.lookedAtMs = performance.now();
    if (position <= place.position) return place.position;
    const expected = await keeper.chainAt(position);
    if (expected === undefined || Buffer.compare(expected, chain) !== 0) {
      throw new Error(`its log up to position ${position} is not that of the primary`);
    }
    place.position = position;
    this.position = Math.max(this.position, position);
    return position;
  }

  private async find(): Promise<void> {
    try {
      const { session } = await this.database.find(async () => {});
      session.end();
      this.isFound = !this.isClosed;
      this.said = undefined;
    } catch (error) {
      this.failed(error as Error);
    } finally {
      this.finding = undefined;
      if (this.isClosed) this.database.leave("the store is closed");
    }
  }

  /** What it was to answer, the primary answers. */
  private failed(error: Error): void {
    this.failures++;
    this.isFound = false;
    this.pausedUntilMs = performance.now() + pauseMs;
    this.database.leave(error.message);
    if (this.isClosed || this.said === error.message) return;
    this.said = error.message;
    this.options.warn(`nothing is read from ${this.host}: the primary is asked instead`, error);
  }
}
