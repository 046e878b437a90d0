// Makes the tables of a store, or brings them up to date, when a server begins. Servers that begin
// together wait for one another.

import { randomBytes } from "node:crypto";
import { firstEpoch, type History } from "../../../domain/epoch.ts";
import { firstHash } from "../../leveldb/format/chunk.ts";
import { DatabaseRefused } from "../sessions/database-refused.ts";
import { migrations } from "./migrations.ts";
import { quoted, sqlState, type DbSession } from "../sessions/session.ts";

const oldestVersion = 150_000;

const about = {
  name: "about",
  text: `SELECT current_setting('server_version_num')::int, current_setting('server_version'),
    current_setting('server_encoding'), current_setting('synchronous_commit'),
    current_setting('synchronous_standby_names'), current_setting('fsync')`,
};

const isThere = {
  name: "is-there",
  text: "SELECT to_regclass($1) IS NOT NULL",
};

const isSchemaThere = {
  name: "is-schema-there",
  text: "SELECT to_regnamespace($1) IS NOT NULL",
};

export interface SchemaOptions {
  readonly schema: string;
  /** True: commits have to be on a standby as well. */
  readonly isReplicated: boolean;
  /** Microseconds since 1970, UTC. */
  readonly clock: () => number;
  /** Present: empty tables are to get a copy of this store. */
  readonly copied?: Pick<KnownStore, "storeId" | "createdAt" | "history"> | undefined;
}

/** What a store is, besides its log. */
export interface KnownStore {
  readonly storeId: string;
  readonly createdAt: number;
  readonly secret: Uint8Array;
  readonly history: History;
  /** A copy of it is being made here, which is not served. */
  readonly isCopy: boolean;
}

/** Throws DatabaseRefused. */
export async function assertFit(session: DbSession, isReplicated: boolean): Promise<void> {
  const [row] = await session.rows<[number, string, string, string, string, string]>(about);
  const [number = 0, version = "", encoding = "", commits = "", standbys = "", fsync = ""] =
    row ?? [];
  if (number < oldestVersion) {
    throw new DatabaseRefused(`PostgreSQL is ${version}; the oldest that serves is 15`);
  }
  if (encoding !== "UTF8")
    throw new DatabaseRefused(`the database's encoding is ${encoding}, not UTF8`);
  if (fsync !== "on") throw new DatabaseRefused("fsync is off: a power cut would lose events");
  if (commits === "off") {
    throw new DatabaseRefused("synchronous_commit is off: a crash would lose events");
  }
  if (!isReplicated) return;
  if (standbys.trim() === "") {
    throw new DatabaseRefused(
      "synchronous_standby_names is empty: a failover could lose events; name standbys, or take " +
        "--storage-durability local",
    );
  }
  if (commits === "local") {
    throw new DatabaseRefused(
      "synchronous_commit is local: a failover could lose events; set it to on, or take " +
        "--storage-durability local",
    );
  }
}

/** Throws DatabaseRefused if the tables are of a newer program. */
export async function migrate(session: DbSession, options: SchemaOptions): Promise<void> {
  const { schema } = options;
  const table = quoted(schema);
  try {
    const [row] = await session.rows<[boolean]>(isThere, [`${table}.migration`]);
    if (row?.[0] === true && (await applied(session)) === migrations.length) return;
    // The lock is of this schema, and ends with the transaction.
    await session.run(
      `BEGIN; SELECT pg_advisory_xact_lock(hashtextextended($$annals ${schema}$$, 0))`,
    );
    // Who may not create schemas may still own this one.
    const [there] = await session.rows<[boolean]>(isSchemaThere, [table]);
    await session.run(
      `${there?.[0] === true ? "" : `CREATE SCHEMA ${table};`}
      CREATE TABLE IF NOT EXISTS ${table}.migration (
        number int PRIMARY KEY, applied_at timestamptz NOT NULL DEFAULT now())`,
    );
    const before = await applied(session);
    for (const [i, text] of migrations.entries()) {
      if (i < before) continue;
      await session.run(text);
      await session.run(`INSERT INTO migration (number) VALUES (${i + 1})`);
    }
    if (before === 0) await create(session, options);
    await session.commit();
  } catch (error) {
    throw refusal(error, schema);
  }
}

async function applied(session: DbSession): Promise<number> {
  const count = { name: "applied", text: "SELECT coalesce(max(number), 0) FROM migration" };
  const [row] = await session.rows<[number]>(count);
  const number = row?.[0] ?? 0;
  if (number <= migrations.length) return number;
  throw new DatabaseRefused(
    `its schema has version ${number}; this server knows up to ${migrations.length}`,
  );
}

async function create(session: DbSession, { clock, copied }: SchemaOptions): Promise<void> {
  const { storeId, createdAt, history } = copied ?? newStore(clock());
  const addStore = {
    name: "add-store",
    text: `INSERT INTO store (store_id, created_at, secret, history, is_copy)
      VALUES ($1, $2, $3, $4, $5)`,
  };
  const isCopy = copied !== undefined;
  const values = [storeId, createdAt, randomBytes(32), JSON.stringify(history), isCopy];
  await session.rows(addStore, values);
  const addHead = {
    name: "add-head",
    text: `INSERT INTO head (position, recorded_at, chain, sides, lifecycle, proofs)
      VALUES (0, 0, $1, 0, 0, 0)`,
  };
  await session.rows(addHead, [Buffer.from(firstHash)]);
  await session.run("INSERT INTO store_time (time) VALUES (0)");
}

function newStore(createdAt: number): Pick<KnownStore, "storeId" | "createdAt" | "history"> {
  const storeId = crypto.randomUUID();
  return { storeId, createdAt, history: [firstEpoch(storeId, createdAt)] };
}

export async function knownStore(session: DbSession): Promise<KnownStore> {
  const read = {
    name: "store",
    text: "SELECT store_id, created_at, secret, history, is_copy FROM store",
  };
  const [row] = await session.rows<[string, number, Uint8Array, History, boolean]>(read);
  if (row === undefined) throw new DatabaseRefused("its table store has no row");
  const [storeId, createdAt, secret, history, isCopy] = row;
  return { storeId, createdAt, secret, history, isCopy };
}

/** Throws if the store has begun an epoch that is not known. */
export async function assertEpochs(session: DbSession, { history }: KnownStore): Promise<void> {
  const now = await knownStore(session);
  if (JSON.stringify(now.history) === JSON.stringify(history)) return;
  throw new Error("the store has begun a new epoch: restart this server");
}

/** Why a database cannot be used, for people. Any other error is returned as it is. */
export function refusal(error: unknown, schema: string): unknown {
  if (error instanceof DatabaseRefused) return error;
  const state = sqlState(error);
  const { message } = error as Error;
  switch (state) {
    case "28P01":
    case "28000":
      return new DatabaseRefused(`it does not let this server in: ${message}`, { cause: error });
    case "3D000":
      return new DatabaseRefused(message, { cause: error });
    case "42P01":
      return new DatabaseRefused(`there is no store in its schema ${schema}`, { cause: error });
    case "42501":
      return new DatabaseRefused(
        `the role lacks a right on schema ${schema}: ${message}; let it own the schema, or ` +
          "create schemas in the database",
        { cause: error },
      );
    default:
      return error;
  }
}
