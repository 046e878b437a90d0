// A process of its own that projects payments into a read model until it is killed: every position
// into a table that refuses it a second time, and totals by stream.
// Usage: projector.ts ADDRESS sqlite PATH | postgres CONNECTION-STRING
import { DatabaseSync } from "node:sqlite";
import { Pool, type PoolClient } from "pg";
import { postgresReadModel } from "../../../src/client/projection/postgres-read-model.ts";
import {
  connect,
  defineEvents,
  runProjection,
  type Projection,
  type ProjectionStatus,
} from "../../../src/client/sdk.ts";
import { sqliteReadModel } from "../../../src/client/projection/sqlite-read-model.ts";

export interface Paid {
  readonly type: "Paid";
  readonly data: { readonly cents: number };
}

const [address = "", kind = "", where = ""] = process.argv.slice(2);
const client = connect({ address, events: defineEvents<Paid>() });
const options = {
  batchEventsMax: 20,
  onStatus: ({ state, position }: ProjectionStatus) => console.log(`${state} ${position}`),
};
const named = { name: "totals", version: 1 };

const intoSqlite: Projection<Paid, DatabaseSync> = {
  ...named,
  setup: (db) => {
    db.exec(`
      DROP TABLE IF EXISTS seen; DROP TABLE IF EXISTS totals;
      CREATE TABLE seen (position INTEGER PRIMARY KEY) STRICT;
      CREATE TABLE totals (stream TEXT PRIMARY KEY, cents INTEGER NOT NULL) STRICT;
    `);
  },
  when: {
    Paid: ({ position, stream, data }, db) => {
      db.prepare("INSERT INTO seen VALUES (?)").run(position);
      db.prepare(
        "INSERT INTO totals VALUES (?, ?) ON CONFLICT (stream) DO UPDATE SET cents = cents + ?",
      ).run(stream, data.cents, data.cents);
    },
  },
};

const intoPostgres: Projection<Paid, PoolClient> = {
  ...named,
  setup: async (db) => {
    await db.query("DROP TABLE IF EXISTS seen, totals");
    await db.query("CREATE TABLE seen (position bigint PRIMARY KEY)");
    await db.query("CREATE TABLE totals (stream text PRIMARY KEY, cents bigint NOT NULL)");
  },
  when: {
    Paid: async ({ position, stream, data }, db) => {
      await db.query("INSERT INTO seen VALUES ($1)", [position]);
      await db.query(
        `INSERT INTO totals AS t VALUES ($1, $2)
         ON CONFLICT (stream) DO UPDATE SET cents = t.cents + $2`,
        [stream, data.cents],
      );
    },
  },
};

if (kind === "sqlite") {
  const database = new DatabaseSync(where);
  database.exec("PRAGMA journal_mode = WAL; PRAGMA busy_timeout = 10000");
  runProjection(client, intoSqlite, sqliteReadModel(database), options);
} else {
  const pool = new Pool({ connectionString: where, max: 2 });
  pool.on("error", () => {});
  runProjection(client, intoPostgres, postgresReadModel(pool), options);
}
