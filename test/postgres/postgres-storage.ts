// Stores in a PostgreSQL of the tests' own: each in a schema of its own.
import { Client } from "pg";
import { openPostgres, type PostgresStorageOptions } from "../../src/storage/postgres/open.ts";
import type { OpenedEngine } from "../storage/contract/checks.ts";

let stores = 0;

/** An empty store, whose tables are dropped when it is closed. */
export async function openPostgresEngine(
  url: string,
  clock?: () => number,
  options: Partial<PostgresStorageOptions> = {},
): Promise<OpenedEngine> {
  const schema = `store-${process.pid}-${++stores}`;
  const timed = clock === undefined ? {} : { clock };
  const reclaim = { bytesPerSecond: Infinity, pauseMs: 2 ** 31 - 1 };
  const open = () => openPostgres({ url, schema, reclaim, ...timed, ...options });
  let engine = await open();
  let storage = engine.storage();
  return {
    storage,
    async reopen() {
      await storage.close();
      engine = await open();
      return (storage = engine.storage());
    },
    async reclaim() {
      // It takes two rounds to see that events stay removed.
      await engine.reclaimer?.round();
      await engine.reclaimer?.round();
    },
    async close() {
      await storage.close();
      await asking(url, `DROP SCHEMA "${schema}" CASCADE`);
    },
  };
}

/** Drops the tables of stores of this process that a failed test did not close. */
export async function dropLeftStores(url: string): Promise<void> {
  const prefix = `store-${process.pid}-%`;
  const left = await asking(url, `SELECT nspname FROM pg_namespace WHERE nspname LIKE '${prefix}'`);
  for (const [schema] of left) await asking(url, `DROP SCHEMA "${String(schema)}" CASCADE`);
}

/** Runs a statement beside the store. */
export async function asking(url: string, text: string): Promise<unknown[][]> {
  const client = new Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<unknown[]>({ text, rowMode: "array" });
    return rows;
  } finally {
    await client.end();
  }
}
