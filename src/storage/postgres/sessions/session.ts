// A connection to PostgreSQL. Statements that are sent together travel together: they are answered
// in order, and after a failed one a transaction answers nothing more, so that a session in which
// something failed is dropped and never used again.

import { Client } from "pg";
import { AnnalsError, corruption } from "../../../domain/errors.ts";
import {
  type Answered,
  CopyQuery,
  EachRowQuery,
  RowsQuery,
  TextQuery,
  type KnownColumns,
  type Row,
  type Statement,
} from "./queries.ts";
import type { RowReader } from "./row-reader.ts";
import { tapRows, type Arrived } from "./row-tap.ts";

export type { Row, Statement } from "./queries.ts";

/** Asks the database: in a session of its own, or in one among many. */
export interface Asker {
  rows<R extends Row>(statement: Statement, values?: readonly unknown[]): Promise<R[]>;
  /** Hands each row to `take`, which knows its columns. */
  eachRow(
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void>;
  /** The same. Throws RECOVERING where the log is not known to reach this position. */
  eachRowUpTo(
    position: number,
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void>;
}

export interface DbSessionOptions {
  /** A URL of one host. */
  readonly url: string;
  readonly schema: string;
  /** Called with what arrives on the channels that the session listens to. */
  readonly notified?: (payload: string) => void;
  /** True: a page of the log is read in the order of its index, and not sorted. */
  readonly isForCopy?: boolean;
}

const connectMs = 3_000;
/** How long a statement may wait for a lock, and a transaction for its next statement. */
const lockMs = 10_000;
const idleMs = 60_000;
/** A commit that waits longer waits for a standby that does not answer, or for nobody. */
const commitMs = 10_000;

/** A commit that is not known to be on a standby although it should be. */
const maybeNotReplicated = "01000";
const corrupted = new Set(["XX001", "XX002"]);

/**
 * Each statement is planned once in a session, whatever its values, and never with a scan of a
 * whole table: one that was planned while the tables were small would scan them for ever. What is
 * discouraged counts as so dear that PostgreSQL would compile it first, for a second each.
 */
const settings = {
  client_encoding: "UTF8",
  enable_seqscan: "off",
  plan_cache_mode: "force_generic_plan",
  jit: "off",
};
const set = Object.entries(settings).map(
  ([name, value]) => `set_config('${name}', '${value}', false)`,
);
const begins = {
  name: "begins",
  text: `SELECT set_config('search_path', $1, false), ${set.join(", ")}, pg_is_in_recovery()`,
};

const positionNow = { name: "position-now", text: "SELECT position FROM head" };

export class DbSession {
  readonly url: string;
  private readonly client: Client;
  /** What broke it. Undefined: it can be used. */
  private failure: Error | undefined;
  /** The last warning about a commit that may not have been replicated. */
  private doubt: string | undefined;
  private readonly columns: KnownColumns = new Map();
  /** Where the head was at least when this was asked last. */
  private position = 0;

  private constructor(client: Client, { url, notified }: DbSessionOptions) {
    this.client = client;
    this.url = url;
    client.on("error", (error) => (this.failure ??= error));
    client.on("end", () => (this.failure ??= new Error("the connection ended")));
    client.on("notice", ({ code, message }) => {
      if (code === maybeNotReplicated) this.doubt = message ?? code;
      // An administrator's order to end comes as a notice where a statement runs.
      if (code?.startsWith("57P") === true) this.failure ??= new Error(message);
    });
    client.on("notification", ({ payload = "" }) => notified?.(payload));
  }

  /** Throws what PostgreSQL says. */
  static async open(options: DbSessionOptions): Promise<DbSession> {
    const { url, schema, isForCopy = false } = options;
    const client = new Client({
      connectionString: url,
      connectionTimeoutMillis: connectMs,
      keepAlive: true,
      lock_timeout: lockMs,
      idle_in_transaction_session_timeout: idleMs,
      application_name: "annals",
      pipeline: true,
    });
    const session = new DbSession(client, options);
    try {
      await client.connect();
      tapRows(client.connection);
      await session.rows(begins, [quoted(schema)], connectMs);
      if (isForCopy) await session.run("SET enable_bitmapscan = off");
      return session;
    } catch (error) {
      session.end();
      throw error;
    }
  }

  get isBroken(): boolean {
    return this.failure !== undefined;
  }

  get why(): Error | undefined {
    return this.failure;
  }

  /** The rows as arrays. `timeoutMs`: then the session is broken. */
  rows<R extends Row>(
    statement: Statement,
    values: readonly unknown[] = [],
    timeoutMs?: number,
  ): Promise<R[]> {
    const query = new RowsQuery<R>(statement, values, this.columns);
    if (timeoutMs !== undefined) query.query_timeout = timeoutMs;
    return this.asked(query);
  }

  /** Hands each row to `take`, which knows its columns. */
  eachRow(
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void> {
    return this.asked(new EachRowQuery(statement, values, take));
  }

  /** The position of a session never goes back, so that it is asked for only where it is behind. */
  async eachRowUpTo(
    position: number,
    statement: Statement,
    values: readonly unknown[],
    take: (row: RowReader) => void,
  ): Promise<void> {
    const asked = this.position < position ? this.rows<[number]>(positionNow) : undefined;
    const [rows] = await Promise.all([asked, this.eachRow(statement, values, take)]);
    this.position = Math.max(this.position, rows?.[0]?.[0] ?? 0);
    if (this.position < position) throw behind(this.position, position);
  }

  /** Some statements without parameters and answers. Returns what the last one is called. */
  run(text: string): Promise<string> {
    return this.asked(new TextQuery(text));
  }

  /**
   * `take` gets what a COPY sends, row by row. It returns false when it wants no more of it: then
   * the connection is dropped.
   */
  copyOut(text: string, take: (data: Arrived) => boolean): Promise<void> {
    return this.asked(new CopyQuery(text, take, () => this.end()));
  }

  /**
   * Commits. Throws if nothing was committed, or if it is not known to be where it should be. A
   * commit that takes too long is not cancelled, because it would then be there and nowhere else:
   * the connection is dropped, and what became of it is not known.
   */
  async commit(): Promise<void> {
    this.doubt = undefined;
    const overdue = setTimeout(() => this.end(), commitMs);
    const command = await this.run("COMMIT").finally(() => clearTimeout(overdue));
    if (command !== "COMMIT") throw new Error("the transaction had failed");
    if (this.doubt !== undefined) throw new UnknownOutcome(this.doubt);
  }

  /** Drops the connection at once, whatever runs on it. */
  end(): void {
    this.failure ??= new Error("the connection was dropped");
    // Not `client.end()`, which waits for what runs.
    this.client.connection.stream.destroy();
  }

  private asked<T>(query: Answered<T>): Promise<T> {
    this.client.query(query.submittable);
    return query.ended;
  }
}

/** It is not known whether a transaction is durable. */
class UnknownOutcome extends Error {}

export function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

export function sqlState(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | undefined)?.code;
  return typeof code === "string" && /^[0-9A-Z]{5}$/.test(code) ? code : undefined;
}

/** A failure of the database as an error of Annals. */
export function databaseError(error: unknown): unknown {
  if (error instanceof AnnalsError) return error;
  const { message } = error as Error;
  if (corrupted.has(sqlState(error) ?? "")) return corruption(message, {}, error);
  return unreachable(message, error);
}

export function behind(position: number, seen: number): AnnalsError {
  return unreachable(
    `it is at position ${position} and was at ${seen}: it is not the primary, or a failover has ` +
      "lost what was committed",
  );
}

export function unreachable(why: string, cause?: unknown): AnnalsError {
  const message = `the database does not answer: ${why}`;
  return new AnnalsError({ reason: "RECOVERING" }, message, cause);
}
