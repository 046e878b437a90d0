// Moving tables of events out of a real PostgreSQL: those of message-db and of Marten, made here with
// the columns that they have, and with numbers that become visible out of order.
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { jsonLines, run, type Situation } from "../cli/captured-terminal.ts";
import { isoTime } from "../../src/cli/arguments/time.ts";
import { collect } from "../support/calls.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";

const programs = postgresPrograms();
let postgres: PostgresServer;
let target: TestServer;
const clients: Client[] = [];

async function newClient(): Promise<Client> {
  const client = new Client({ connectionString: postgres.connectionString });
  client.on("error", () => {});
  await client.connect();
  clients.push(client);
  return client;
}

const annals = (argv: readonly string[], situation: Situation = {}, at = target) =>
  run(argv, { ...situation, environment: { ANNALS_ADDRESS: at.address } });

async function storedOf(type: string, at = target) {
  const items = [{ types: [type] }];
  const selection = { case: "query", value: { items } } as const;
  const messages = await collect(at.calls.stream(EventStoreService.method.read, { selection }));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

const uuid = (n: number): string => `0190a000-0000-7000-8000-${`${n}`.padStart(12, "0")}`;

describe.skipIf(programs === undefined)("tables of events in PostgreSQL", () => {
  beforeAll(async () => {
    postgres = await startPostgres(programs as string);
    target = await startTestServer();
  });
  afterAll(async () => {
    for (const client of clients) await client.end().catch(() => {});
    await target.stop();
    await postgres.remove();
  });

  test("message-db arrives with ids, order, exact numbers, metadata and times", async () => {
    const client = await newClient();
    await client.query(`
      CREATE SCHEMA message_store;
      CREATE TABLE message_store.messages (
        global_position bigserial NOT NULL, position bigint NOT NULL,
        time timestamp without time zone DEFAULT (now() AT TIME ZONE 'utc') NOT NULL,
        stream_name text NOT NULL, type text NOT NULL, data jsonb, metadata jsonb,
        id uuid NOT NULL DEFAULT gen_random_uuid())`);
    const insert = (n: number, stream: string, data: string | null, metadata: string | null) =>
      client.query(
        `INSERT INTO message_store.messages (id, stream_name, type, position, data, metadata, time)
         VALUES ($1, $2, 'Counted', $3, $4, $5, '2026-01-02 03:04:05.678901')`,
        [uuid(n), stream, n, data, metadata],
      );
    await insert(1, "counter-1", `{"n":12345678901234567890}`, `{"correlationStreamName":"x-1"}`);
    await insert(2, "counter-1", null, null);
    // A number that is never used.
    await client.query("SELECT nextval('message_store.messages_global_position_seq')");
    await client.query(`
      INSERT INTO message_store.messages (id, stream_name, type, position, data)
      SELECT ('0190a000-0000-7000-8000-' || lpad(n::text, 12, '0'))::uuid, 'counter-' || n % 3,
        'Counted', n, jsonb_build_object('n', n)
      FROM generate_series(3, 1499) AS n`);

    const url = `message-db:${postgres.connectionString}`;
    const first = await annals(["import", url, "--json"]);
    expect(first.errors).toBe("");
    expect(jsonLines(first.output)[0]).toMatchObject({ eventCount: 1_499, different: [] });
    const events = await storedOf("Counted");
    expect(events.map(({ id }) => id)).toEqual(
      Array.from({ length: 1_499 }, (_, i) => uuid(i + 1)),
    );
    expect(Buffer.from(events[0]?.data ?? []).toString()).toBe(`{"n": 12345678901234567890}`);
    expect(events[0]?.metadata).toMatchObject({
      "import-position": "1",
      "import-recorded-at": "2026-01-02T03:04:05.678901Z",
      "message-db-metadata": `{"correlationStreamName": "x-1"}`,
    });
    const keeping = await startTestServer(["--keep-times"]);
    const kept = await annals(["import", url, "--keep-times", "--json"], {}, keeping);
    expect(jsonLines(kept.output)[0]).toMatchObject({ eventCount: 1_499, different: [] });
    const [earliest] = await storedOf("Counted", keeping);
    expect(isoTime(earliest?.recordedAt)).toBe("2026-01-02T03:04:05.678901Z");
    await keeping.stop();
    await insert(1_500, "counter-1", "{}", null);
    const again = await annals(["import", url, "--json"]);
    expect(jsonLines(again.output)[0]).toMatchObject({ eventCount: 1, different: [] });
  });

  test("a number that becomes visible late is waited for", async () => {
    const client = await newClient();
    await client.query(`
      CREATE TABLE mt_events (
        seq_id bigserial PRIMARY KEY, id uuid NOT NULL, stream_id uuid, version bigint NOT NULL,
        data jsonb NOT NULL, type varchar(500) NOT NULL,
        timestamp timestamptz DEFAULT '2026-01-02 03:04:05.678901+02' NOT NULL,
        tenant_id varchar DEFAULT '*DEFAULT*', mt_dotnet_type varchar, is_archived bool DEFAULT FALSE)`);
    const insert = (by: Client, n: number, tenant = "*DEFAULT*") =>
      by.query(
        `INSERT INTO mt_events (id, stream_id, version, data, type, tenant_id)
         VALUES ($1, $2, $3, '{"n":1}', 'counted', $4)`,
        [uuid(2_000 + n), uuid(9_000), n, tenant],
      );
    await insert(client, 1);
    const late = await newClient();
    await late.query("BEGIN");
    await insert(late, 2);
    await insert(client, 3, "tenant");
    const abort = new AbortController();
    const url = `marten:${postgres.connectionString}`;
    const following = annals(["follow", url], { signal: abort.signal });
    const other = await newClient();
    const waits = `SELECT 1 FROM pg_stat_activity WHERE application_name = 'annals'`;
    while ((await other.query(waits)).rowCount === 0) await new Promise((go) => setTimeout(go, 10));
    // Time enough to pass over the gap, if it did.
    await new Promise((go) => setTimeout(go, 700));
    expect((await storedOf("counted")).map(({ id }) => id)).toEqual([uuid(2_001)]);
    await late.query("COMMIT");
    while ((await storedOf("counted")).length < 3) {
      await new Promise((go) => setTimeout(go, 20));
    }
    abort.abort(new Error("stopped"));
    await following;
    const events = await storedOf("counted");
    expect(events.map(({ id }) => id)).toEqual([2_001, 2_002, 2_003].map(uuid));
    expect(events.map(({ stream }) => stream)).toEqual([
      uuid(9_000),
      uuid(9_000),
      `tenant/${uuid(9_000)}`,
    ]);
    expect(events[0]?.metadata).toMatchObject({
      "import-recorded-at": "2026-01-02T01:04:05.678901Z",
      "marten-metadata": expect.stringContaining(`"tenant_id": "*DEFAULT*"`) as string,
    });
    expect((await annals(["import", url])).code).toBe(0);
    const keeping = await startTestServer(["--keep-times"]);
    expect((await annals(["import", url, "--keep-times"], {}, keeping)).code).toBe(0);
    const times = (await storedOf("counted", keeping)).map(({ recordedAt }) => isoTime(recordedAt));
    expect(times).toEqual(Array.from({ length: 3 }, () => "2026-01-02T01:04:05.678901Z"));
    await keeping.stop();
  });

  test("a database that is not there, or has no such table, is one line", async () => {
    const missing = await annals(["import", `marten:${postgres.connectionString}&schema=none`]);
    expect(missing.errors).toContain(`relation "none.mt_events" does not exist`);
    expect(missing.errors).not.toContain("    at ");
    expect(missing.code).toBe(1);
  });
});
