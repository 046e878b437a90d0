// Projections into SQLite: `node:sqlite` (without a flag from Node 22.13 on), or a driver with the
// same synchronous methods. The application opens the database.

import { sameCheckpoint } from "./read-model.ts";
import type { ParkedEvent, ProjectionCheckpoint, ProjectionStep, ReadModel } from "./read-model.ts";

export type SqliteValue = string | number | bigint | null | Uint8Array;

export interface SqliteStatement {
  run(...values: SqliteValue[]): unknown;
  get(...values: SqliteValue[]): unknown;
  all(...values: SqliteValue[]): unknown[];
}

/** The used part of a database, such as `DatabaseSync` of `node:sqlite`. */
export interface SqliteDatabase {
  exec(sql: string): unknown;
  prepare(sql: string): SqliteStatement;
}

const tables = `
  CREATE TABLE IF NOT EXISTS annals_checkpoint (
    projection TEXT PRIMARY KEY,
    position INTEGER NOT NULL,
    store_id TEXT NOT NULL,
    version INTEGER NOT NULL,
    epoch TEXT
  ) STRICT, WITHOUT ROWID;
  CREATE TABLE IF NOT EXISTS annals_parked (
    projection TEXT NOT NULL,
    position INTEGER NOT NULL,
    id TEXT NOT NULL,
    stream TEXT NOT NULL,
    type TEXT NOT NULL,
    outcome TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    error TEXT NOT NULL,
    parked_at TEXT NOT NULL,
    PRIMARY KEY (projection, position)
  ) STRICT, WITHOUT ROWID;
`;

/**
 * A read model in one SQLite database. Handlers get the database, in a transaction that also moves
 * the checkpoint. They are synchronous, so that nothing else in the process runs between their
 * statements. At the end of a turn, the connection must not be in a transaction of its own.
 */
export function sqliteReadModel<Database extends SqliteDatabase>(
  database: Database,
): ReadModel<Database> {
  database.exec(tables);
  addEpoch(database);
  return {
    checkpoint: async (projection) => checkpointIn(database, projection),
    commit: async (projection, step) => commit(database, projection, step),
    parked: async (projection) => parkedIn(database, projection),
    isTransient: isBusy,
  };
}

/** Tables of earlier versions have no epoch. */
function addEpoch(database: SqliteDatabase): void {
  const columns = database.prepare("PRAGMA table_info(annals_checkpoint)").all();
  if (columns.some((column) => (column as { readonly name: string }).name === "epoch")) return;
  database.exec("ALTER TABLE annals_checkpoint ADD COLUMN epoch TEXT");
}

function commit<Database extends SqliteDatabase>(
  database: Database,
  projection: string,
  step: ProjectionStep<Database>,
): boolean {
  // Immediate: no other connection can write from here on, so that the comparison stays valid.
  database.exec("BEGIN IMMEDIATE");
  let done = false;
  try {
    if (!sameCheckpoint(checkpointIn(database, projection), step.expected)) return false;
    if (step.apply(database) !== undefined) {
      throw new TypeError("handlers of a SQLite read model are synchronous");
    }
    sideValue(database, projection, step);
    database.exec("COMMIT");
    done = true;
    return true;
  } finally {
    if (!done) rollBack(database);
  }
}

/** SQLite ends a transaction by itself after some failures. Then there is nothing to roll back. */
function rollBack(database: SqliteDatabase): void {
  try {
    database.exec("ROLLBACK");
  } catch {
    // The error of the transaction is thrown instead.
  }
}

function sideValue<Tx>(
  database: SqliteDatabase,
  projection: string,
  { next, park, unpark, unparkAll }: ProjectionStep<Tx>,
): void {
  if (unparkAll === true) {
    database.prepare("DELETE FROM annals_parked WHERE projection = ?").run(projection);
  }
  if (unpark !== undefined) {
    const where = "WHERE projection = ? AND position = ?";
    database.prepare(`DELETE FROM annals_parked ${where}`).run(projection, unpark);
  }
  if (park !== undefined) {
    const { position, id, stream, type, outcome, attempts, error, parkedAt } = park;
    database
      .prepare("INSERT INTO annals_parked VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
      .run(
        projection,
        position,
        id,
        stream,
        type,
        outcome,
        attempts,
        error,
        parkedAt.toISOString(),
      );
  }
  database
    .prepare("INSERT OR REPLACE INTO annals_checkpoint VALUES (?, ?, ?, ?, ?)")
    .run(projection, next.position, next.storeId, next.version, next.epoch ?? null);
}

function checkpointIn(
  database: SqliteDatabase,
  projection: string,
): ProjectionCheckpoint | undefined {
  const columns = "position, store_id, version, epoch";
  const sql = `SELECT ${columns} FROM annals_checkpoint WHERE projection = ?`;
  const row = database.prepare(sql).get(projection) as CheckpointRow | undefined;
  if (row === undefined) return undefined;
  const { position, store_id: storeId, version, epoch } = row;
  return { position, storeId, version, ...(epoch !== null && { epoch }) };
}

interface CheckpointRow {
  readonly position: number;
  readonly store_id: string;
  readonly version: number;
  readonly epoch: string | null;
}

function parkedIn(database: SqliteDatabase, projection: string): ParkedEvent[] {
  const sql = "SELECT * FROM annals_parked WHERE projection = ? ORDER BY position";
  const rows = database.prepare(sql).all(projection) as (Omit<ParkedEvent, "parkedAt"> & {
    readonly parked_at: string;
  })[];
  return rows.map(({ position, id, stream, type, outcome, attempts, error, parked_at }) => {
    const parkedAt = new Date(parked_at);
    return { position, id, stream, type, outcome, attempts, error, parkedAt };
  });
}

/**
 * Another connection is writing. `node:sqlite` reports SQLite's number for this, other drivers its
 * name.
 */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { errcode, code } = error as { readonly errcode?: unknown; readonly code?: unknown };
  const busy = 5;
  const locked = 6;
  if (typeof errcode === "number") return [busy, locked].includes(errcode & 0xff);
  return typeof code === "string" && /^SQLITE_(BUSY|LOCKED)/.test(code);
}
