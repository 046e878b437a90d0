// The sessions of a server: where the primary is, and some sessions there to read in. The primary
// is found by trying the hosts in turn, at the start and whenever the one that was used does not
// answer or is not the primary any more.

import type { Asker } from "./rows.ts";
import {
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
}

const copiersMax = 4;

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

export class Database implements Asker {
  private readonly options: DatabaseOptions;
  /** The primary's URL. Undefined: it is being searched. */
  private primary: string | undefined;
  private why = "it was not connected to yet";
  private generation = 0;
  private readonly readers: Pool;
  private readonly copiers: Pool = { max: copiersMax, isForCopy: true, ...newPool() };

  constructor(options: DatabaseOptions) {
    this.options = options;
    this.readers = { max: options.readersMax, isForCopy: false, ...newPool() };
  }

  async rows<R extends Row>(statement: Statement, values: readonly unknown[] = []): Promise<R[]> {
    return this.reading((session) => session.rows<R>(statement, values));
  }

  /** Uses a session for itself. Throws errors of Annals. */
  reading<T>(use: (session: DbSession) => Promise<T>): Promise<T> {
    return this.using(this.readers, use);
  }

  /** As `reading`, with a session for COPY. */
  copying<T>(use: (session: DbSession) => Promise<T>): Promise<T> {
    return this.using(this.copiers, use);
  }

  private async using<T>(pool: Pool, use: (session: DbSession) => Promise<T>): Promise<T> {
    const { generation } = this;
    const session = await this.take(pool);
    try {
      const answer = await use(session);
      this.giveBack(pool, session, generation);
      return answer;
    } catch (error) {
      const isLost = isLoss(error, session);
      session.end();
      this.giveBack(pool, session, generation);
      if (isLost) this.options.lost(error as Error);
      throw databaseError(error);
    }
  }

  /**
   * Opens a session at the primary, which `check` has accepted; from then on the others are opened
   * there. Throws what the hosts say, of which the first that is more than a broken connection.
   */
  async find(check: (session: DbSession) => Promise<void>): Promise<DbSession> {
    const failures: unknown[] = [];
    for (const url of this.options.urls) {
      let session: DbSession | undefined;
      try {
        session = await this.openAt(url);
        await check(session);
        this.primary = url;
        return session;
      } catch (error) {
        session?.end();
        failures.push(error);
      }
    }
    throw failures.find((error) => sqlState(error) !== undefined) ?? failures[0];
  }

  /** A session that the caller ends. Throws as `find`. */
  async openBeside(notified: (payload: string) => void): Promise<DbSession> {
    if (this.primary === undefined) throw unreachable(this.why);
    return DbSession.open({ url: this.primary, schema: this.options.schema, notified });
  }

  /** Ends all sessions: the primary has to be found. */
  leave(why: string): void {
    this.primary = undefined;
    this.why = why;
    this.generation++;
    for (const pool of [this.readers, this.copiers]) {
      for (const session of pool.idle.splice(0)) session.end();
      pool.count = 0;
      for (const next of pool.waiting.splice(0)) next();
    }
  }

  /** Throws if the host is a standby. */
  private async openAt(url: string, isForCopy = false): Promise<DbSession> {
    const session = await DbSession.open({ url, schema: this.options.schema, isForCopy });
    try {
      const [row] = await session.rows<[boolean]>(isStandby);
      if (row?.[0] !== false) throw new Error(`${hostOf(url)} is a standby`);
      return session;
    } catch (error) {
      session.end();
      throw error;
    }
  }

  private async take(pool: Pool): Promise<DbSession> {
    for (;;) {
      const { primary, generation } = this;
      if (primary === undefined) throw unreachable(this.why);
      const session = pool.idle.pop();
      if (session !== undefined && !session.isBroken) return session;
      if (session !== undefined) pool.count--;
      else if (pool.count < pool.max) return this.openedAt(primary, pool, generation);
      else await new Promise<void>((resolve) => pool.waiting.push(resolve));
    }
  }

  private async openedAt(primary: string, pool: Pool, generation: number): Promise<DbSession> {
    pool.count++;
    try {
      return await this.openAt(primary, pool.isForCopy);
    } catch (error) {
      if (generation === this.generation) pool.count--;
      pool.waiting.shift()?.();
      this.options.lost(error as Error);
      throw databaseError(error);
    }
  }

  private giveBack(pool: Pool, session: DbSession, generation: number): void {
    if (generation !== this.generation) return session.end();
    if (session.isBroken) pool.count--;
    else pool.idle.push(session);
    pool.waiting.shift()?.();
  }
}

/** Sessions of one kind. */
interface Pool {
  readonly max: number;
  readonly isForCopy: boolean;
  readonly idle: DbSession[];
  readonly waiting: (() => void)[];
  count: number;
}

function newPool(): Pick<Pool, "idle" | "waiting" | "count"> {
  return { idle: [], waiting: [], count: 0 };
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
