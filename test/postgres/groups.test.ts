// Consumer groups over several servers: one runs them, the others say so, and one goes on with what
// is settled when that one dies.
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect, defineEvents } from "../../src/client/sdk.ts";
import { spawnAnnals, type Spawned } from "../cli/running-server.ts";
import { freePort } from "../clients/live-server.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";

const programs = postgresPrograms();
const events = defineEvents<{ type: "Happened"; data: { n: number } }>();
let postgres: PostgresServer;

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(() => postgres?.remove());

async function served() {
  const port = await freePort();
  const server: Spawned = spawnAnnals(
    ["serve", "--port", `${port}`].concat("--storage", postgres.connectionString),
  );
  const address = `127.0.0.1:${port}`;
  const client = connect({ address, events });
  await client.ready(60_000);
  return { server, address, client };
}

describe.skipIf(programs === undefined)("groups over PostgreSQL", () => {
  test("one server runs them, and another goes on with them when it dies", async () => {
    const [one, other] = [await served(), await served()];
    try {
      for (let n = 1; n <= 6; n++) {
        await other.client.append(`s-${n}`, { type: "Happened", data: { n } });
      }
      await one.client.groups.create("mails");
      const elsewhere = other.client.groups.get("mails", { timeoutMs: 1_000 });
      await expect(elsewhere).rejects.toThrow(`run on ${one.address}`);
      const before = await take(one, 3);
      one.server.kill();
      await one.server.ended;
      const after = await take(other, 3);
      expect([...before, ...after].toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
      const info = await other.client.groups.get("mails", { timeoutMs: 20_000 });
      expect(info?.lagEvents).toBe(0);
    } finally {
      for (const { server, client } of [one, other]) {
        client.close();
        server.kill();
        await server.ended;
      }
    }
  });
});

/** Settles so many events, and answers which. */
async function take({ client }: Awaited<ReturnType<typeof served>>, count: number) {
  const taken: number[] = [];
  for await (const { event, ack } of client.group("mails", { permits: 1 })) {
    await ack();
    taken.push(event.data.n);
    if (taken.length === count) break;
  }
  return taken;
}
