// What operators and their tools meet: payloads in SQL, a database that was restored, a password
// that is wrong, and the contract test against a database of theirs.
import { spawnSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, defineEvents } from "../../src/client/sdk.ts";
import { openPostgres } from "../../src/storage/postgres/open.ts";
import { run } from "../cli/captured-terminal.ts";
import { spawnAnnals } from "../cli/running-server.ts";
import { startTestServer } from "../support/running-server.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

const programs = postgresPrograms();
const events = defineEvents<{ type: "Paid"; data: { amount: number; to?: string } }>();
let postgres: PostgresServer;

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(() => postgres?.remove());

async function served(schema: string) {
  const engine = await openPostgres({ url: postgres.connectionString, schema });
  const server = await startTestServer([], { openStorage: async () => engine.storage() });
  const client = connect({ address: server.address, events });
  const stop = async (): Promise<void> => {
    client.close();
    await server.stop();
  };
  return { client, server, stop };
}

describe.skipIf(programs === undefined)("operators of a store in PostgreSQL", () => {
  test("see payloads and metadata as JSON", async () => {
    const { client, stop } = await served("shown");
    const metadata = { who: "me", größe: "7 µm" };
    const paid = { type: "Paid", data: { amount: 12, to: "Zoë" } } as const;
    await client.append("bills-1", { ...paid, metadata, tags: ["a", "b"] });
    await client.append("bills-1", { type: "Paid", data: { amount: 3, to: "\0" } });
    const [first, second] = await asking(
      postgres.connectionString,
      `SELECT stream, version, data->>'to', data->'amount', metadata->>'größe', metadata->>'who',
        content_type, array_to_string(tags, ','), recorded_at > now() - interval '1 hour',
        is_removed, principal FROM shown.event_json ORDER BY position`,
    );
    const rest = ["7 µm", "me", "application/json", "a,b", true, false, null];
    expect(first).toEqual(["bills-1", "1", "Zoë", 12, ...rest]);
    expect(second?.slice(0, 4)).toEqual(["bills-1", "2", null, null]);
    await stop();
  });

  test("begin a new epoch after a restore, so that nobody skips anything", async () => {
    const first = await served("restored");
    for (let i = 1; i <= 3; i++) {
      await first.client.append("a", { type: "Paid", data: { amount: i } });
    }
    const url = postgres.connectionString;
    const promote = ["promote", url, "--storage-schema", "restored"];
    expect((await run(promote)).errors).toContain("servers use the store: stop them first");
    const { epoch } = await first.client.info();
    await first.stop();
    // As a database that was restored to before the third event.
    await asking(
      url,
      `DELETE FROM restored.event WHERE position = 3; DELETE FROM restored.batch WHERE last = 3;
      UPDATE restored.stream SET version = 2, last_position = 2;
      UPDATE restored.type SET count = 2, last_position = 2;
      UPDATE restored.head SET position = 2, chain = (SELECT chain FROM restored.batch
        WHERE last = 2), recorded_at = (SELECT recorded_at FROM restored.event WHERE position = 2)`,
    );
    expect(await run(promote)).toMatchObject({
      code: 0,
      output: expect.stringMatching(/^promoted; head 2; epoch [0-9a-f]{16} begins\n$/) as string,
    });
    const second = await served("restored");
    await second.client.append("a", { type: "Paid", data: { amount: 4 } });
    const skipping = (async () => {
      for await (const _ of second.client.subscribe({ after: 3, epoch })) break;
    })();
    await expect(skipping).rejects.toThrow(/epoch/);
    await second.stop();
    const verified = await run(["verify", "--storage", url, "--storage-schema", "restored"]);
    expect(verified).toMatchObject({ code: 0 });
  });

  test("get one line where the password is wrong", async () => {
    const url = postgres.connectionString;
    await asking(url, "CREATE ROLE locked LOGIN PASSWORD 'right'");
    const folder = new URLSearchParams(url.split("?")[1]).get("host") ?? "";
    const rules = join(folder, "data/pg_hba.conf");
    const before = readFileSync(rules, "utf8");
    writeFileSync(rules, `local all locked scram-sha-256\n${before}`);
    await asking(url, "SELECT pg_reload_conf()");
    const wrong = url.replace("annals@", "locked:wr0ng@");
    const server = spawnAnnals(["serve", "--port", "0", "--storage", wrong]);
    expect(await server.ended).toBe(1);
    const lines = server.printed().trim().split("\n");
    const { reason } = JSON.parse(lines.at(-1) ?? "") as { reason: string };
    expect(reason).toMatch(
      /^--storage .*it does not let this server in: password authentication failed/,
    );
    expect(server.printed()).not.toContain("wr0ng");
  });

  test("get one line where the contract test may not create schemas, or not connect", async () => {
    const url = postgres.connectionString;
    await asking(url, "CREATE ROLE guest LOGIN");
    const needs = "--storage needs a role that may create schemas in the database: ";
    for (const [storage, why] of [
      [url.replace("annals@", "guest@"), "permission denied for database postgres"],
      [url.replace("/postgres", "/nowhere"), 'database "nowhere" does not exist'],
    ] as const) {
      const script = join(import.meta.dirname, "conformance.ts");
      const argv = [script, "--storage", storage];
      const tried = spawnSync(process.execPath, argv, { encoding: "utf8" });
      expect(tried).toMatchObject({ status: 1, stdout: "", stderr: `${needs}${why}\n` });
    }
  });
});
