// The sessions of a server: where the primary is, and some sessions there to read in. The primary
// is found by trying all hosts, at the start and whenever the one that was used does not answer or
// is not the primary any more.

import { setTimeout as pause } from "node:timers/promises";
import { AnnalsError } from "../../../domain/errors.ts";
import { DatabaseRefused } from "./database-refused.ts";
import type { RowReader } from "./row-reader.ts";
import { SessionPool } from "./session-pool.ts";
import {
  type Asker,
  databaseError,
  DbSession,
  sqlState,
  unreachable,
  type Row,
  type Statement,
} from "./session.ts";

export interface DatabaseOptions {
  /** URLs of one host each. */
  readonly urls: readonly string[];
  readonly schema: string;
  /** Sessions to read in. */
  readonly readersMax: number;
  /** Called when the primary does not answer, or is none. */
  readonly lost: (why: Error) => void;
  /** True: whatever the host is, it is read from. */
  readonly mayBeStandby?: boolean;
}

const copiersMax = 4;
const copyingReadsMax = 8;

const isStandby = { name: "is-standby", text: "SELECT pg_is_in_recovery()" };

/** Codes of a server that is going down, coming up, or has become a standby. */
const goneStates = new Set([
  "57P01",
  "57P02",
  "57P03",
  "25006",
  "08006",
  "08003",
  "08001",
  "08004",
]);

/** A host that was accepted. */
export interface FoundHost<T> {
  readonly session: DbSession;
  /** What the check said of it. */
  readonly checked: T;
}

/** The sessions at one primary. */
interface Pools {
  readonly readers: SessionPool;
  readonly copiers: SessionPool;
}

type Check<T> = (session: DbSession) => Promise<T>;

/** Attempts at several hosts stop when one of them was found. */
interface Race {
  isOver: boolean;
}

/** A host that has not been accepted by then is not waited for. */
const attemptMs = 5_000;
/** Between two attempts at a host. */
const retryMs = 150;
/** A host that has not said by then what it is does not count yet. */
const contestMs = 500;

class IsStandby extends Error {}

export class Database implements Asker {
  private readonly options: DatabaseOptions;
  private pools: Pools | undefined;
  /** The primary's URL. Undefined: it is being searched. */
  private primary: string | undefined;
  private why = "it was not connected to yet";
  /** Other hosts that are asked whether they are standbys. */
  private readonly asked = new Map<string, Promise<boolean>>();
  /** Whether one of them has said that it is none. */
  private hasAnswered = false;
  /** How many more reads may hold large pages of the log. Others read by small ones. */
  copyRoom = copyingReadsMax;

  constructor(options: DatabaseOptions) {
    this.options = options;
  }

  async rows<R extends Row>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    return this.reading((session) => session.rows<R>(statement, values));
  }

  async eachRow(
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void> {
    return this.reading((session) => session.eachRow(statement, values, take));
  }

  async eachRowUpTo(
    position: number,
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void> {
    return this.reading((session) => session.eachRowUpTo(position, statement, values, take));
  }

  /** Uses a session for itself. Throws errors of Annals. */
  reading<T>(use: (session: DbSession) => Promise<T>): Promise<T> {
    return this.using(this.pools?.readers, use);
  }

  /** As `reading`, with a session for COPY. */
  copying<T>(use: (session: DbSession) => Promise<T>): Promise<T> {
    return this.using(this.pools?.copiers, use);
  }

  private async using<T>(
    pool: SessionPool | undefined,
    use: (session: DbSession) => Promise<T>,
  ): Promise<T> {
    if (pool === undefined) throw unreachable(this.why);
    const session = await pool.take().catch((error: unknown) => {
      if (!(error instanceof AnnalsError)) this.failed(pool, error as Error);
      throw databaseError(error);
    });
    try {
      return await use(session);
    } catch (error) {
      const isLost = isLoss(error, session);
      session.end();
      if (isLost) this.failed(pool, error as Error);
      throw databaseError(error);
    } finally {
      pool.giveBack(session);
    }
  }

  /**
   * Tries all hosts at once, each one time, and opens a session at the one that `check` accepts;
   * from then on the others are opened there. Throws the most telling of what they say.
   */
  async find<T>(check: Check<T>): Promise<FoundHost<T>> {
    const race = { isOver: false };
    try {
      return await Promise.any(this.options.urls.map((url) => this.attempt(url, check, race)));
    } catch (error) {
      throw mostTelling((error as AggregateError).errors as Error[]);
    }
  }

  /**
   * As `find`, over and over until a host is accepted, and each host for itself: one that does not
   * answer keeps nobody from the others. Throws RECOVERING when `signal` ends it.
   */
  async search<T>(
    check: Check<T>,
    signal: AbortSignal,
    failed: (host: string, error: Error) => void,
  ): Promise<FoundHost<T>> {
    const race = { isOver: signal.aborted };
    const over = unreachable("it is not searched any more");
    const stopped = new Promise<never>((_, reject) => {
      const stop = (): void => {
        race.isOver = true;
        reject(over);
      };
      signal.addEventListener("abort", stop, { once: true });
    });
    const trying = async (url: string): Promise<FoundHost<T>> => {
      while (!race.isOver) {
        try {
          return await this.attempt(url, check, race);
        } catch (error) {
          const isTold = !race.isOver && !(error instanceof IsStandby);
          if (isTold) failed(hostOf(url), error as Error);
          await pause(retryMs);
        }
      }
      throw over;
    };
    return Promise.race([Promise.any(this.options.urls.map(trying)), stopped]);
  }

  /** Undefined: it is being searched, or not asked any more. */
  get primaryUrl(): string | undefined {
    return this.primary;
  }

  /** A session that the caller ends. Throws as `find`. */
  async openBeside(notified: (payload: string) => void): Promise<DbSession> {
    if (this.primary === undefined) throw unreachable(this.why);
    return DbSession.open({ url: this.primary, schema: this.options.schema, notified });
  }

  /** Whether another host is no standby either. Then only a commit tells which is the primary. */
  async isContested(): Promise<boolean> {
    const { primary } = this;
    const others = this.options.urls.filter((url) => url !== primary);
    if (primary === undefined || others.length === 0) return false;
    const asked = Promise.any(others.map((url) => this.isNoStandby(url)));
    const isOne = await Promise.race([asked.catch(() => false), pause(contestMs, false)]);
    const isContested = isOne || this.hasAnswered;
    this.hasAnswered = false;
    return isContested && this.primary === primary;
  }

  /** Rejects if it is one. Each host is asked once at a time, however long it takes. */
  private isNoStandby(url: string): Promise<boolean> {
    const known = this.asked.get(url);
    if (known !== undefined) return known;
    const { primary } = this;
    const ask = async (): Promise<boolean> => {
      try {
        (await this.openAt(url)).end();
        // It counts the next time where it came too late.
        this.hasAnswered = this.primary === primary;
        return true;
      } finally {
        this.asked.delete(url);
      }
    };
    const asking = ask();
    this.asked.set(url, asking);
    asking.catch(() => {});
    return asking;
  }

  /** Ends all sessions: the primary has to be found. */
  leave(why: string): void {
    this.primary = undefined;
    this.hasAnswered = false;
    this.why = why;
    this.pools?.readers.end(why);
    this.pools?.copiers.end(why);
    this.pools = undefined;
  }

  private failed(pool: SessionPool, why: Error): void {
    // What breaks late says nothing of the primary that was found since.
    if (!pool.isOver) this.options.lost(why);
  }

  private async attempt<T>(url: string, check: Check<T>, race: Race): Promise<FoundHost<T>> {
    const session = await this.openAt(url);
    const overdue = setTimeout(() => session.end(), attemptMs);
    try {
      const checked = await check(session);
      if (race.isOver || session.isBroken) throw session.why ?? new Error("another was found");
      race.isOver = true;
      if (this.primary !== url) this.readAt(url);
      return { session, checked };
    } catch (error) {
      session.end();
      throw error;
    } finally {
      clearTimeout(overdue);
    }
  }

  private readAt(url: string): void {
    this.leave("another host is the primary");
    this.primary = url;
    this.pools = {
      readers: new SessionPool(() => this.openAt(url), this.options.readersMax),
      copiers: new SessionPool(() => this.openAt(url, true), copiersMax),
    };
  }

  /** Throws if the host is a standby. */
  private async openAt(url: string, isForCopy = false): Promise<DbSession> {
    const session = await DbSession.open({ url, schema: this.options.schema, isForCopy });
    try {
      const [row] = await session.rows<[boolean]>(isStandby, [], attemptMs);
      if (row?.[0] !== false && this.options.mayBeStandby !== true)
        throw new IsStandby(`${hostOf(url)} is a standby`);
      return session;
    } catch (error) {
      session.end();
      throw error;
    }
  }
}

/** Of several failures, the one that people can do something about. */
function mostTelling(errors: readonly Error[]): Error {
  const others = errors.filter((error) => !(error instanceof IsStandby));
  return (
    others.find((error) => error instanceof DatabaseRefused) ??
    others.find((error) => sqlState(error) !== undefined) ??
    others[0] ??
    errors[0] ??
    new Error("no host is named")
  );
}

/** Whether a failure says that the primary is gone. */
export function isLoss(error: unknown, session: DbSession): boolean {
  const state = sqlState(error);
  if (state !== undefined) return goneStates.has(state);
  // What the engine itself refuses says nothing of the connection, but for a head that is behind.
  if ((error as { failure?: { reason?: unknown } }).failure?.reason === "RECOVERING") return true;
  return session.isBroken && !(error instanceof RangeError);
}

const urlParts = /^(postgres(?:ql)?:\/\/(?:[^@/?]*@)?)([^/?]*)(\/[^?]*)?(\?.*)?$/s;

/** The URLs of one host each, of a URL that may name several: `postgres://a:5432,b:5432/db`. */
export function urlsOf(url: string): string[] {
  const [, before, hosts, path = "", query = ""] = urlParts.exec(url) ?? [];
  return hosts?.split(",").map((host) => `${before}${host}${path}${query}`) ?? [];
}

/** Where a URL points to, without its password. */
export function hostOf(url: string): string {
  const [, , host, path = "", query = ""] = urlParts.exec(url) ?? [];
  return `${host || (new URLSearchParams(query).get("host") ?? "")}${path}`;
}
