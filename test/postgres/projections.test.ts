// Projections into a real PostgreSQL: the contract of read models, and killed processes.
import { Pool, type PoolClient } from "pg";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { postgresReadModel } from "../../src/client/projection/postgres-read-model.ts";
import {
  connect,
  defineEvents,
  runProjection,
  type Projection,
  type ProjectionStatus,
} from "../../src/client/sdk.ts";
import { startServer, temporaryFolder } from "../cli/running-server.ts";
import { killedAgainAndAgain } from "../client/projection/killed-projector.ts";
import type { Paid } from "../client/projection/projector.ts";
import { checkpointAt, readModelSuite } from "../client/projection/read-model-suite.ts";
import { startTestServer } from "../support/running-server.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";

const programs = postgresPrograms();
if (programs === undefined) {
  console.error("PostgreSQL: NOT RUN: it is not installed (Debian: apt-get install postgresql)");
}

test("PostgreSQL is there where it is required", () => {
  const required = process.env["REQUIRE_POSTGRES"] !== undefined;
  expect({ required, installed: programs !== undefined }).not.toEqual({
    required: true,
    installed: false,
  });
});

let postgres: PostgresServer;
const pools: Pool[] = [];

function newPool(): Pool {
  const pool = new Pool({ connectionString: postgres.connectionString, max: 4 });
  // Idle connections that break are replaced; without a listener they would end the process.
  pool.on("error", () => {});
  pools.push(pool);
  return pool;
}

/** A database of its own in which every table is new. */
async function emptied(): Promise<Pool> {
  const pool = newPool();
  await pool.query("DROP SCHEMA IF EXISTS annals CASCADE; DROP TABLE IF EXISTS totals, seen");
  return pool;
}

const upsert = `
  INSERT INTO totals AS t VALUES ($1, $2)
  ON CONFLICT (name) DO UPDATE SET total = t.total + $2`;

const setup = async (db: PoolClient) => {
  await db.query("DROP TABLE IF EXISTS totals");
  await db.query("CREATE TABLE totals (name text PRIMARY KEY, total bigint NOT NULL)");
};

async function rowsIn(pool: Pool): Promise<Record<string, number>> {
  const { rows } = await pool.query<{ name: string; total: string }>("SELECT * FROM totals");
  return Object.fromEntries(rows.map(({ name, total }) => [name, Number(total)]));
}

describe.runIf(programs !== undefined)("PostgreSQL", () => {
  beforeAll(async () => {
    postgres = await startPostgres(programs ?? "");
  });
  afterEach(async () => {
    await Promise.all(pools.splice(0).map((pool) => pool.end()));
  });
  afterAll(() => postgres.remove());

  readModelSuite("in PostgreSQL", async () => {
    const pool = await emptied();
    return {
      model: postgresReadModel(pool),
      setup,
      add: async (db, name, by) => void (await db.query(upsert, [name, by])),
      rows: () => rowsIn(pool),
      again: async () => postgresReadModel(newPool()),
      close: async () => {},
    };
  });

  test("tables are made once, however many begin at the same time, where they are wanted", async () => {
    const pool = await emptied();
    const schema = 'odd "schema';
    const models = Array.from({ length: 8 }, () => postgresReadModel(newPool(), { schema }));
    const found = await Promise.all(models.map((model) => model.checkpoint("p")));
    expect(found).toEqual(Array.from({ length: 8 }, () => undefined));
    await pool.query(`DROP SCHEMA "odd ""schema" CASCADE`);
  });

  test("an error text that PostgreSQL has no form for is still parked", async () => {
    const model = postgresReadModel(await emptied());
    const facts = { id: "x", stream: "s", type: "T", outcome: "parked", attempts: 1 } as const;
    const park = { ...facts, position: 1, error: "a\0b", parkedAt: new Date(0) };
    const step = { expected: undefined, next: checkpointAt(1), apply: () => {}, park };
    expect(await model.commit("p", step)).toBe(true);
    expect(await model.parked("p")).toEqual([{ ...park, error: "a\u{FFFD}b" }]);
  });

  test("a handler that swallows a failed statement does not commit half of its work", async () => {
    const pool = await emptied();
    const model = postgresReadModel(pool);
    await model.commit("p", { expected: undefined, next: checkpointAt(0), apply: setup });
    const apply = async (db: PoolClient) => {
      await db.query(upsert, ["a", 1]);
      await db.query("no SQL").catch(() => {});
    };
    const step = { expected: checkpointAt(0), next: checkpointAt(1), apply };
    const failure: unknown = await model.commit("p", step).catch((error: unknown) => error);
    expect(String(failure)).toContain("transaction is aborted");
    expect(model.isTransient(failure)).toBe(false);
    expect(await rowsIn(pool)).toEqual({});
    expect(await model.checkpoint("p")).toEqual(checkpointAt(0));
  });

  test("a constraint that speaks up only at the commit takes everything back", async () => {
    const pool = await emptied();
    const model = postgresReadModel(pool);
    await model.commit("p", {
      expected: undefined,
      next: checkpointAt(0),
      apply: async (db) => {
        await setup(db);
        await db.query(
          "ALTER TABLE totals ADD CONSTRAINT once UNIQUE (total) DEFERRABLE INITIALLY DEFERRED",
        );
      },
    });
    const apply = async (db: PoolClient) => {
      await db.query(upsert, ["a", 1]);
      await db.query(upsert, ["b", 1]);
    };
    const step = { expected: checkpointAt(0), next: checkpointAt(1), apply };
    const failure: unknown = await model.commit("p", step).catch((error: unknown) => error);
    expect(String(failure)).toContain("once");
    expect(model.isTransient(failure)).toBe(false);
    expect(await rowsIn(pool)).toEqual({});
    expect(await model.checkpoint("p")).toEqual(checkpointAt(0));
  });

  test("a backend that is terminated inside a transaction passes, and leaves no trace", async () => {
    const pool = await emptied();
    const model = postgresReadModel(pool);
    await model.commit("p", { expected: undefined, next: checkpointAt(0), apply: setup });
    const step = { expected: checkpointAt(0), next: checkpointAt(1) };
    const apply = async (db: PoolClient) => {
      await db.query(upsert, ["a", 1]);
      const { rows } = await db.query<{ pid: number }>("SELECT pg_backend_pid() AS pid");
      await pool.query("SELECT pg_terminate_backend($1)", [rows[0]?.pid]);
      await db.query(upsert, ["a", 1]);
    };
    const failure: unknown = await model.commit("p", { ...step, apply }).catch((e: unknown) => e);
    expect(model.isTransient(failure)).toBe(true);
    expect(await rowsIn(pool)).toEqual({});
    expect(await model.commit("p", { ...step, apply: () => {} })).toBe(true);
  });

  test("a projection through the crash of its database has every effect once", async () => {
    const pool = await emptied();
    const server = await startTestServer();
    const client = connect({ address: server.address, events: defineEvents<Paid>() });
    const projection: Projection<Paid, PoolClient> = {
      name: "totals",
      version: 1,
      setup,
      when: {
        Paid: async ({ stream, data }, db) => void (await db.query(upsert, [stream, data.cents])),
      },
    };
    const states = new Set<string>();
    const one = runProjection(client, projection, postgresReadModel(pool), {
      batchEventsMax: 10,
      onStatus: ({ state }: ProjectionStatus) => states.add(state),
    });
    const appender = client.appender();
    const pay = async (from: number, to: number) => {
      for (let cents = from; cents < to; cents += 1) {
        await appender.append(`a-${cents % 3}`, { type: "Paid", data: { cents } });
      }
    };
    await pay(0, 300);
    await expect.poll(() => one.status.handledCount).toBeGreaterThan(20);
    await postgres.crash();
    await pay(300, 600);
    await expect.poll(() => states.has("interrupted"), { timeout: 20_000 }).toBe(true);
    await postgres.start();
    await appender.close();
    await one.waitFor(600, { timeoutMs: 25_000 });
    const expected: Record<string, number> = {};
    for (let cents = 0; cents < 600; cents += 1) {
      expected[`a-${cents % 3}`] = (expected[`a-${cents % 3}`] ?? 0) + cents;
    }
    expect(await rowsIn(pool)).toEqual(expected);
    expect(one.status).toMatchObject({ state: "live", parkedCount: 0, error: undefined });
    await one.stop();
    client.close();
    await server.stop();
  }, 60_000);

  test("a projection killed again and again, and its server too, has every effect once", async () => {
    const pool = await emptied();
    const server = await startServer(temporaryFolder());
    try {
      const expected = await killedAgainAndAgain({
        server,
        kind: "postgres",
        where: postgres.connectionString,
        kills: 4,
        paymentCount: 1_500,
        commitsUntilKill: (kill) => 3 + kill * 7,
      });
      const seen = await pool.query<{ position: string }>("SELECT position FROM seen ORDER BY 1");
      expect(seen.rows.map(({ position }) => Number(position))).toEqual(expected.positions);
      const totals = await pool.query<{ stream: string; cents: string }>("SELECT * FROM totals");
      const found = totals.rows.map(({ stream, cents }) => [stream, Number(cents)]);
      expect(Object.fromEntries(found)).toEqual(expected.totals);
    } finally {
      await server.kill();
    }
  }, 180_000);
});
