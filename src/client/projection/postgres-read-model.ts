// Projections into PostgreSQL, with a pool of `pg` or anything like it. Nothing is loaded here: the
// application makes the pool.

import { sameCheckpoint } from "./read-model.ts";
import type { ParkedEvent, ProjectionCheckpoint, ProjectionStep, ReadModel } from "./read-model.ts";

export interface PostgresResult {
  readonly rows: readonly Record<string, unknown>[];
  readonly rowCount: number | null;
}

/** A connection within the projection's transaction. */
export interface PostgresTransaction {
  query(text: string, values?: unknown[]): Promise<PostgresResult>;
}

/** A checked-out connection of a pool, as far as it is used. */
export interface PostgresConnection extends PostgresTransaction {
  /** With an error: do not use it again. */
  release(error?: Error | boolean): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

export interface PostgresPool<Connection extends PostgresConnection = PostgresConnection> {
  connect(): Promise<Connection>;
}

/**
 * What a pool's connections are. The pool of `pg` can be called back as well: that comes second.
 */
export type ConnectionOf<Pool extends PostgresPool> = Pool extends {
  connect: { (): Promise<infer Connection>; (...callback: never[]): unknown };
}
  ? Connection extends PostgresConnection
    ? Connection
    : PostgresConnection
  : PostgresConnection;

export interface PostgresOptions {
  /** For the two tables of the adapter; it is created if need be. Absent: `annals`. */
  readonly schema?: string | undefined;
}

/**
 * A read model in PostgreSQL: the handlers get the connection, inside a transaction that also moves
 * the checkpoint. A lock of the projection's own comes first, so that of two runners one waits, and
 * then sees that it was overtaken.
 */
export function postgresReadModel<Pool extends PostgresPool>(
  pool: Pool,
  options: PostgresOptions = {},
): ReadModel<ConnectionOf<Pool>> {
  return readModelIn(pool as PostgresPool as PostgresPool<ConnectionOf<Pool>>, options);
}

function readModelIn<Connection extends PostgresConnection>(
  pool: PostgresPool<Connection>,
  { schema = "annals" }: PostgresOptions,
): ReadModel<Connection> {
  const names = tableNames(schema);
  let prepared: Promise<void> | undefined;
  const ready = () =>
    (prepared ??= withConnection(pool, (connection) => prepare(connection, names)).catch(
      (error: unknown) => {
        prepared = undefined;
        throw error;
      },
    ));
  return {
    async checkpoint(projection) {
      await ready();
      return withConnection(pool, (connection) => checkpointIn(connection, names, projection));
    },
    async commit(projection, step) {
      await ready();
      return withConnection(pool, (connection) => commit(connection, names, projection, step));
    },
    async parked(projection) {
      await ready();
      return withConnection(pool, (connection) => parkedIn(connection, names, projection));
    },
    isTransient,
  };
}

interface Names {
  readonly schema: string;
  readonly checkpoint: string;
  readonly parked: string;
}

function tableNames(schema: string): Names {
  const quoted = `"${schema.replaceAll('"', '""')}"`;
  return {
    schema: quoted,
    checkpoint: `${quoted}.projection_checkpoint`,
    parked: `${quoted}.projection_parked`,
  };
}

/** A connection that breaks while nobody waits for it says so by an event, which must be heard. */
async function withConnection<Connection extends PostgresConnection, T>(
  pool: PostgresPool<Connection>,
  work: (connection: Connection) => Promise<T>,
): Promise<T> {
  const connection = await pool.connect();
  let broken: Error | undefined;
  const broke = (error: Error) => {
    broken = error;
  };
  connection.on("error", broke);
  try {
    return await work(connection);
  } catch (error) {
    // Whatever state it was left in, it is not used again.
    broken ??= error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    connection.off("error", broke);
    connection.release(broken);
  }
}

/** "If not exists" is no protection against somebody who creates the same at the same time. */
async function prepare(connection: PostgresConnection, names: Names): Promise<void> {
  const { schema, checkpoint, parked } = names;
  await connection.query("BEGIN");
  await connection.query("SELECT pg_advisory_xact_lock(hashtext('annals projection tables'))");
  await connection.query(`CREATE SCHEMA IF NOT EXISTS ${schema}`);
  await connection.query(`
    CREATE TABLE IF NOT EXISTS ${checkpoint} (
      projection text PRIMARY KEY,
      position bigint NOT NULL,
      store_id text NOT NULL,
      version bigint NOT NULL
    )`);
  await connection.query(`
    CREATE TABLE IF NOT EXISTS ${parked} (
      projection text NOT NULL,
      position bigint NOT NULL,
      id text NOT NULL,
      stream text NOT NULL,
      type text NOT NULL,
      outcome text NOT NULL,
      attempts bigint NOT NULL,
      error text NOT NULL,
      parked_at timestamptz NOT NULL,
      PRIMARY KEY (projection, position)
    )`);
  await connection.query("COMMIT");
}

async function commit<Connection extends PostgresConnection>(
  connection: Connection,
  names: Names,
  projection: string,
  step: ProjectionStep<Connection>,
): Promise<boolean> {
  await connection.query("BEGIN");
  // Not a lock on the row: there may be none yet.
  const lock = "SELECT pg_advisory_xact_lock(hashtext($1), hashtext($2))";
  await connection.query(lock, [names.checkpoint, projection]);
  const stored = await checkpointIn(connection, names, projection);
  if (!sameCheckpoint(stored, step.expected)) {
    await connection.query("ROLLBACK");
    return false;
  }
  try {
    await step.apply(connection);
    await sideValue(connection, names, projection, step);
  } catch (error) {
    // Where the connection itself is gone this fails too; the first failure says more.
    await connection.query("ROLLBACK").catch(() => {});
    throw error;
  }
  await connection.query("COMMIT");
  return true;
}

async function sideValue<Tx>(
  connection: PostgresTransaction,
  names: Names,
  projection: string,
  { next, park, unpark, unparkAll }: ProjectionStep<Tx>,
): Promise<void> {
  if (unparkAll === true) {
    await connection.query(`DELETE FROM ${names.parked} WHERE projection = $1`, [projection]);
  }
  if (unpark !== undefined) {
    const where = "WHERE projection = $1 AND position = $2";
    await connection.query(`DELETE FROM ${names.parked} ${where}`, [projection, unpark]);
  }
  if (park !== undefined) {
    const { position, id, stream, type, outcome, attempts, error, parkedAt } = park;
    await connection.query(
      `INSERT INTO ${names.parked} VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`,
      // PostgreSQL's text has no place for U+0000.
      [projection, position, id, stream, type, outcome, attempts, withoutNul(error), parkedAt],
    );
  }
  await connection.query(
    `INSERT INTO ${names.checkpoint} VALUES ($1, $2, $3, $4)
     ON CONFLICT (projection) DO UPDATE SET position = $2, store_id = $3, version = $4`,
    [projection, next.position, next.storeId, next.version],
  );
}

function withoutNul(text: string): string {
  return text.replaceAll("\0", "\u{FFFD}");
}

async function checkpointIn(
  connection: PostgresTransaction,
  names: Names,
  projection: string,
): Promise<ProjectionCheckpoint | undefined> {
  const sql = `SELECT position, store_id, version FROM ${names.checkpoint} WHERE projection = $1`;
  const { rows } = await connection.query(sql, [projection]);
  const [row] = rows;
  // bigint comes as text: every one of ours is below 2^53.
  return (
    row && {
      position: Number(row["position"]),
      storeId: String(row["store_id"]),
      version: Number(row["version"]),
    }
  );
}

async function parkedIn(
  connection: PostgresTransaction,
  names: Names,
  projection: string,
): Promise<ParkedEvent[]> {
  const sql = `SELECT * FROM ${names.parked} WHERE projection = $1 ORDER BY position`;
  const { rows } = await connection.query(sql, [projection]);
  return rows.map((row) => ({
    position: Number(row["position"]),
    id: String(row["id"]),
    stream: String(row["stream"]),
    type: String(row["type"]),
    outcome: row["outcome"] === "skipped" ? "skipped" : "parked",
    attempts: Number(row["attempts"]),
    error: String(row["error"]),
    parkedAt: new Date(row["parked_at"] as Date | string),
  }));
}

/**
 * SQLSTATE: connections (08), serialization and deadlocks (40), out of resources (53), a lock not
 * had in time (55P03), a server that starts, stops or fails over (57P).
 */
const transientStates = /^(08...|40001|40P01|53...|55P03|57P0[1-5])$/;
const networkCodes = /^(ECONN|EPIPE|ETIMEDOUT|EHOST|ENET|EAI_AGAIN|ENOTFOUND)/;
/** What `pg` says of a broken connection, without a code. */
const brokenConnection = /connection terminated|connection error|timeout exceeded|not queryable/i;

function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, syscall } = error as { readonly code?: unknown; readonly syscall?: unknown };
  // A Unix socket that is not there, for instance: ENOENT.
  if (syscall === "connect") return true;
  if (typeof code === "string") return transientStates.test(code) || networkCodes.test(code);
  return brokenConnection.test(error.message);
}
