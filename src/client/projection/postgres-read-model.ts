// Projections into PostgreSQL, with a pool of `pg` or a compatible one. The application creates the
// pool.

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

/** The used part of a pool's connection. */
export interface PostgresConnection extends PostgresTransaction {
  /** With an error: the connection must not be used again. */
  release(error?: Error | boolean): void;
  on(event: "error", listener: (error: Error) => void): unknown;
  off(event: "error", listener: (error: Error) => void): unknown;
}

export interface PostgresPool<Connection extends PostgresConnection = PostgresConnection> {
  connect(): Promise<Connection>;
}

/**
 * The type of a pool's connections. `pg`'s pool also has an overload with a callback, which comes
 * second.
 */
export type ConnectionOf<Pool extends PostgresPool> = Pool extends {
  connect: { (): Promise<infer Connection>; (...callback: never[]): unknown };
}
  ? Connection extends PostgresConnection
    ? Connection
    : PostgresConnection
  : PostgresConnection;

export interface PostgresOptions {
  /** The schema of the adapter's two tables, created if necessary. Absent: `annals`. */
  readonly schema?: string | undefined;
}

/**
 * A read model in PostgreSQL. Handlers get the connection, in the transaction that also moves the
 * checkpoint. A lock for the projection is taken first, so that of two runners one waits and then
 * notices that it was overtaken.
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

/** A connection that breaks while it is not in use emits an event, which needs a listener. */
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
    // Its state is unknown, so it is not used again.
    broken ??= error instanceof Error ? error : new Error(String(error));
    throw error;
  } finally {
    connection.off("error", broke);
    connection.release(broken);
  }
}

/** "If not exists" does not protect from another session that creates the same at the same time. */
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
      version bigint NOT NULL,
      epoch text
    )`);
  // Tables of earlier versions have no epoch.
  await connection.query(`ALTER TABLE ${checkpoint} ADD COLUMN IF NOT EXISTS epoch text`);
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
  // Not a lock on the row, which may not exist yet.
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
    // If the connection is broken this fails too; the first error is more useful.
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
      // PostgreSQL's text type has no U+0000.
      [projection, position, id, stream, type, outcome, attempts, withoutNul(error), parkedAt],
    );
  }
  await connection.query(
    `INSERT INTO ${names.checkpoint} (projection, position, store_id, version, epoch)
     VALUES ($1, $2, $3, $4, $5)
     ON CONFLICT (projection) DO UPDATE SET position = $2, store_id = $3, version = $4, epoch = $5`,
    [projection, next.position, next.storeId, next.version, next.epoch ?? null],
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
  const columns = "position, store_id, version, epoch";
  const sql = `SELECT ${columns} FROM ${names.checkpoint} WHERE projection = $1`;
  const { rows } = await connection.query(sql, [projection]);
  const [row] = rows;
  // bigint is returned as text. These are all below 2^53.
  return (
    row && {
      position: Number(row["position"]),
      storeId: String(row["store_id"]),
      version: Number(row["version"]),
      ...(typeof row["epoch"] === "string" && { epoch: row["epoch"] }),
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
/** The message of `pg` for a broken connection, which has no code. */
const brokenConnection = /connection terminated|connection error|timeout exceeded|not queryable/i;

function isTransient(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { code, syscall } = error as { readonly code?: unknown; readonly syscall?: unknown };
  // For example a Unix socket that does not exist: ENOENT.
  if (syscall === "connect") return true;
  if (typeof code === "string") return transientStates.test(code) || networkCodes.test(code);
  return brokenConnection.test(error.message);
}
