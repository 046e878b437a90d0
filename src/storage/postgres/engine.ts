// The PostgreSQL engine: implements the storage port over tables. Any number of servers write to
// them. A commit is durable when PostgreSQL says so (writer.ts), and only then does this server's
// head move; it also moves by the commits of others, of which the server hears by a notification
// or, without one, at its next look.

import { setTimeout as pause } from "node:timers/promises";
import { AnnalsError } from "../../domain/errors.ts";
import type { Batch, Storage, StorageIdentity, WriteState } from "../storage.ts";
import { headAndTime, type Begun } from "./head/begun.ts";
import { Database, type FoundHost } from "./sessions/database.ts";
import { Doubt } from "./sessions/doubt.ts";
import { factsInSession } from "./writes/facts.ts";
import { GroupsLease } from "./writes/groups-lease.ts";
import { lockStore } from "./head/lock.ts";
import { Notifier } from "./head/notifier.ts";
import { askHead, HeadKeeper, headColumnCount, headIn, type LogHead } from "./head/log-head.ts";
import { streamFactsOf, streamsListed, typesListed } from "./reads/listings.ts";
import { readBatches } from "./reads/reads.ts";
import { Standbys } from "./reads/standbys.ts";
import { removedInDatabase } from "./reads/removals.ts";
import { DatabaseReclaimer, type DatabaseReclaimOptions } from "./writes/reclaimer.ts";
import { assertEpochs, type KnownStore } from "./tables/schema.ts";
import { databaseError, type DbSession } from "./sessions/session.ts";
import { sideValuesByName, sideValuesListed } from "./reads/side-values.ts";
import { proveCommits, Writer } from "./writes/writer.ts";

/** Between two looks at the head without a notification. */
const lookMs = 500;
/** A database that has not answered a look by then is lost. */
const answerMs = 3_000;
/** When a primary that was found breaks at once. */
const retryMs = 150;
const readersMax = 8;
/** The store's time is kept at most this often. */
const keepMs = 1_000;

const keepTime = { name: "keep-time", text: "UPDATE store_time SET time = $1 WHERE time < $1" };
const positionAt = { name: "position-at", text: "SELECT position_at($1, $2)" };

export interface EngineParts {
  readonly urls: readonly string[];
  /** URLs of hosts, of one each, to read events from. Empty: those are not read elsewhere. */
  readonly readUrls: readonly string[];
  readonly schema: string;
  /** Whether a session may be used for this store: called with each that commits. */
  readonly check: (session: DbSession) => Promise<void>;
  readonly clock: () => number;
  /** Where this server is, for people and clients. */
  readonly address: string;
  readonly warn: (message: string, cause?: unknown) => void;
  /** Absent: space is not reclaimed. */
  readonly reclaim?: DatabaseReclaimOptions | undefined;
}

export class PostgresEngine {
  readonly database: Database;
  readonly keeper: HeadKeeper;
  readonly reclaimer: DatabaseReclaimer | undefined;
  readonly standbys: Standbys | undefined;
  private readonly lease: GroupsLease;
  private readonly options: EngineParts;
  private readonly store: KnownStore;
  private readonly writer: Writer;
  private readonly notifier: Notifier;
  /** The session for notifications and looks. */
  private hints: DbSession | undefined;
  private state: WriteState = "recovering";
  private isClosed = false;
  private inFlight: Promise<unknown> | undefined;
  private readonly doubt: Doubt;
  private recovering: Promise<void> | undefined;
  private readonly closing = new AbortController();
  private lookTimer: NodeJS.Timeout | undefined;
  private looking: Promise<void> | undefined;
  private lookAgain = false;
  private keptTime = 0;
  private keptAtMs = Number.NEGATIVE_INFINITY;
  private reclaiming: Promise<void> | undefined;

  private constructor(options: EngineParts, begun: Begun) {
    this.options = options;
    this.store = begun.store;
    this.notifier = new Notifier(options.schema, () => this.hints);
    const { urls, schema, clock } = options;
    const lost = (why: Error): void => this.lost(why);
    this.database = new Database({ urls, schema, readersMax, lost });
    this.keeper = new HeadKeeper({ database: this.database, clock, ...begun });
    if (options.readUrls.length > 0) {
      const { readUrls, warn } = options;
      const parts = { urls: readUrls, schema, readersMax, store: this.store, warn };
      this.standbys = new Standbys({ ...parts, keeper: this.keeper });
    }
    this.doubt = new Doubt({ database: this.database, prove: this.prove, contested: lost });
    const { address } = options;
    this.lease = new GroupsLease({ database: this.database, keeper: this.keeper, address });
    this.writer = new Writer({
      keeper: this.keeper,
      lease: this.lease,
      committed: () => this.notifier.notify(),
      ended: (why, isLost) => (isLost ? this.lost(why) : void this.recover()),
    });
    this.keptTime = begun.time;
    const { database, keeper } = this;
    const committed = async (head: LogHead, asked: LogHead): Promise<void> => {
      this.notifier.notify();
      await keeper.reach(head, asked);
    };
    const { warn, reclaim } = options;
    const parts = { database, keeper, clock, warn, committed };
    this.reclaimer = reclaim && new DatabaseReclaimer(parts, reclaim);
  }

  /** Throws what prevents it. */
  static async open(options: EngineParts, begun: Begun): Promise<PostgresEngine> {
    const engine = new PostgresEngine(options, begun);
    try {
      await engine.use(await engine.database.find(engine.prove));
      await engine.keeper.load();
    } catch (error) {
      await engine.close();
      throw error;
    }
    engine.become("accepting");
    engine.lookLater();
    engine.doubt.start();
    engine.reclaiming = engine.reclaimer?.run();
    return engine;
  }

  /** What the port asks. */
  storage(): Storage {
    const { database, keeper, writer, store } = this;
    const { storeId, createdAt, secret, history } = store;
    const identity: StorageIdentity = {
      storeId,
      createdAt,
      engine: "postgres",
      formatVersion: 1,
      durability: "synced",
      history,
    };
    const asking =
      <A extends unknown[], T>(ask: (...args: A) => Promise<T>) =>
      async (...args: A): Promise<T> => {
        this.assertOpen();
        return ask(...args);
      };
    return {
      identity,
      secret,
      sideValues: {
        get: asking((space, names) => sideValuesByName(database, keeper, space, names)),
        list: asking((page) => sideValuesListed(database, keeper, page)),
      },
      head: () => ({ position: keeper.head.position, recordedAt: keeper.head.recordedAt }),
      now: () => keeper.time,
      writeState: () => this.state,
      watch: (watcher) => keeper.watch(watcher),
      facts: asking(async (request) => {
        if (request.toCommit === true) return this.doubt.during(writer.facts(request));
        return this.factsOfMoment(request);
      }),
      release: () => writer.release(),
      confirm: asking(async () => {
        await this.doubt.during(writer.confirm());
        this.doubt.proven();
      }),
      catchUp: asking(() => this.lookNow()),
      holdGroups: asking(() => this.lease.hold()),
      commit: (commit) => this.commit(commit),
      read: (request) => this.read(request),
      areRemoved: asking((events) => removedInDatabase(database, keeper, events)),
      positionAt: asking(async (time) => {
        const { position } = keeper.head;
        const [row] = await database.rows<[number]>(positionAt, [time, position]);
        return row?.[0] ?? position + 1;
      }),
      stream: asking((name) => streamFactsOf(database, keeper, name)),
      listStreams: asking((page) => streamsListed(database, keeper, page)),
      listEventTypes: asking((page) => typesListed(database, keeper, page)),
      reclaiming: () => this.reclaimer?.status,
      ...(this.standbys && { standbys: () => this.standbys?.status() ?? [] }),
      close: () => this.close(),
    };
  }

  /** Hears of what others have committed by now. */
  async lookNow(): Promise<void> {
    const asked = this.keeper.head;
    await this.keeper.reach(await askHead(this.database), asked);
  }

  private async *read(request: Parameters<Storage["read"]>[0]): AsyncGenerator<Batch> {
    this.assertOpen();
    for await (const batch of readBatches(this, request)) {
      this.assertOpen();
      yield batch;
    }
  }

  private factsOfMoment(request: Parameters<Storage["facts"]>[0]): ReturnType<Storage["facts"]> {
    const { database, keeper } = this;
    return database.reading(async (session) => {
      const asked = keeper.head;
      const begin = async (): Promise<LogHead> => {
        const begun = session.run("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
        const [head] = await Promise.all([askHead(session), begun]);
        return head;
      };
      const { facts, head } = await factsInSession(session, keeper, request, begin);
      await session.run("COMMIT");
      await keeper.reach(head, asked);
      return facts;
    });
  }

  private async commit(commit: Parameters<Storage["commit"]>[0]): ReturnType<Storage["commit"]> {
    this.assertOpen();
    if (this.inFlight !== undefined) throw new Error("invariant broken: one commit at a time");
    const running = this.writer.commit(commit);
    this.inFlight = running;
    try {
      const result = await this.doubt.during(running);
      this.doubt.proven();
      return result;
    } finally {
      this.inFlight = undefined;
    }
  }

  private assertOpen(): void {
    if (!this.isClosed) return;
    throw new AnnalsError({ reason: "STOPPING" }, "the store is closed");
  }

  private async close(): Promise<void> {
    if (this.isClosed) return;
    this.isClosed = true;
    clearTimeout(this.lookTimer);
    this.doubt.stop();
    this.closing.abort();
    await this.reclaimer?.stop();
    await this.reclaiming;
    await this.inFlight?.catch(() => {});
    await this.looking?.catch(() => {});
    await this.keep(true).catch(() => {});
    const usable = this.hints?.isBroken === false ? this.hints : undefined;
    await this.lease.giveBack(usable).catch(() => {});
    this.writer.use(undefined);
    this.hints?.end();
    this.database.leave("the store is closed");
    this.standbys?.close();
    await this.recovering?.catch(() => {});
    this.keeper.watchers.clear();
  }

  /** Whether a host commits, and continues what was seen of the log. */
  private readonly prove = async (session: DbSession): Promise<Proven> => {
    await this.options.check(session);
    const asked = this.keeper.head;
    return { head: await proveCommits(session, asked), asked };
  };

  /** From now on this host is the primary. */
  private async use({ session, checked: { head, asked } }: FoundHost<Proven>): Promise<void> {
    this.doubt.proven();
    this.writer.use(session);
    this.endHints();
    const hints = await this.database.openBeside(() => this.look());
    this.hints = hints;
    await hints.run("SET synchronous_commit = off");
    await hints.run(`LISTEN ${this.notifier.channel}`);
    if (!(await lockStore(hints, this.options.schema, false))) {
      throw new Error("the store is being copied");
    }
    // It may have been promoted before the lock was there.
    await assertEpochs(hints, this.store);
    await this.keeper.reach(head, asked);
    if (this.isClosed) this.writer.use(undefined);
  }

  /** A look that fails with it says nothing of the primary. */
  private endHints(): void {
    const { hints } = this;
    this.hints = undefined;
    hints?.end();
  }

  /** The primary does not answer, or is none. */
  private lost(why: Error): void {
    if (this.isClosed) return;
    this.database.leave(why.message);
    this.writer.use(undefined);
    this.lease.searched();
    this.endHints();
    this.become("unreachable", why.message);
    void this.recover();
  }

  /** Connects until it succeeds, and again where the new session broke in the meantime. */
  private recover(): Promise<void> {
    this.recovering ??= this.recoverNow().finally(() => {
      this.recovering = undefined;
      if (!this.isClosed && !this.writer.isConnected) void this.recover();
    });
    return this.recovering;
  }

  private async recoverNow(): Promise<void> {
    const said = new Map<string, string>();
    const failed = (host: string, error: Error): void => {
      const { message } = error;
      if (said.get(host) !== message) this.options.warn(`${host} is not used`, error);
      said.set(host, message);
    };
    while (!this.isClosed) {
      try {
        await this.use(await this.database.search(this.prove, this.closing.signal, failed));
        this.become("accepting");
        return;
      } catch (error) {
        if (this.isClosed) return;
        const { message } = error as Error;
        this.database.leave(message);
        this.writer.use(undefined);
        this.become("unreachable", message);
        failed("the primary", error as Error);
        await pause(retryMs);
      }
    }
  }

  private become(state: WriteState, why?: string): void {
    if (this.state === state) return;
    this.state = state;
    for (const watcher of this.keeper.watchers) watcher.writeStateChanged?.(state, why);
  }

  private lookLater(): void {
    if (this.isClosed) return;
    this.lookTimer = setTimeout(() => {
      this.look();
      this.lookLater();
    }, lookMs);
  }

  /** Looks at the head, and once more if something came meanwhile. */
  private look(): void {
    this.lookAgain = true;
    if (this.looking !== undefined || this.isClosed) return;
    this.looking = this.lookWhileAsked().finally(() => (this.looking = undefined));
  }

  private async lookWhileAsked(): Promise<void> {
    while (this.lookAgain && !this.isClosed) {
      this.lookAgain = false;
      const { hints, keeper } = this;
      if (hints === undefined || this.state !== "accepting") return;
      const asked = keeper.head;
      try {
        const [row = []] = await hints.rows(headAndTime, [], answerMs);
        keeper.timeKept(row[headColumnCount] as number);
        await keeper.reach(headIn(row), asked);
        await this.keep(false);
      } catch (error) {
        if (hints !== this.hints) return;
        if (hints.isBroken) this.lost(error as Error);
        else this.options.warn("the head of the log could not be read", databaseError(error));
      }
    }
  }

  /** Keeps the store's time, by which ages are measured. */
  private async keep(isLast: boolean): Promise<void> {
    const { timeToKeep } = this.keeper;
    const isDue = isLast || performance.now() - this.keptAtMs >= keepMs;
    if (timeToKeep <= this.keptTime || !isDue || this.hints === undefined) return;
    this.keptAtMs = performance.now();
    await this.hints.rows(keepTime, [timeToKeep], answerMs);
    this.keptTime = timeToKeep;
  }
}

/** Of a host that commits: its head, and what was known of the log when it was asked. */
interface Proven {
  readonly head: LogHead;
  readonly asked: LogHead;
}
