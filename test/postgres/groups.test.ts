// Consumer groups over several servers: one runs them, members of all servers are served through it,
// and another one goes on with what is settled when that one dies. Who calls is told safely.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { createToken } from "../../src/access/token-file.ts";
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

async function served(schema: string, ...flags: string[]) {
  const port = await freePort();
  const server: Spawned = spawnAnnals(
    ["serve", "--port", `${port}`, "--storage", postgres.connectionString].concat(
      "--storage-schema",
      schema,
      flags,
    ),
  );
  const address = `127.0.0.1:${port}`;
  const client = connect({ address, events });
  await client.ready(60_000);
  return { server, address, client };
}

async function ended(...all: Awaited<ReturnType<typeof served>>[]): Promise<void> {
  for (const { server, client } of all) {
    client.close();
    server.kill();
    await server.ended;
  }
}

describe.skipIf(programs === undefined)("groups over PostgreSQL", () => {
  test("members of any server are served, also when the one that runs them dies", async () => {
    const [one, other] = [await served("groups"), await served("groups")];
    try {
      for (let n = 1; n <= 12; n++) {
        await other.client.append(`s-${n}`, { type: "Happened", data: { n } });
      }
      await one.client.groups.create("mails");
      const info = await other.client.groups.get("mails", { timeoutMs: 10_000 });
      expect(info?.lagEvents).toBe(12);
      const missing = other.client.groups.get("none", { timeoutMs: 10_000 });
      expect(await missing).toBeUndefined();
      const there = await take(other, 3);
      const both = await Promise.all([take(one, 3), take(other, 3)]);
      one.server.kill();
      await one.server.ended;
      const after = await take(other, 3);
      const all = [...there, ...both.flat(), ...after].toSorted((a, b) => a - b);
      expect(all).toEqual(Array.from({ length: 12 }, (_, i) => i + 1));
      const left = await other.client.groups.get("mails", { timeoutMs: 20_000 });
      expect(left?.lagEvents).toBe(0);
    } finally {
      await ended(one, other);
    }
  });

  test("a forwarded call is judged as its caller's, and nobody else can claim one", async () => {
    const folder = mkdtempSync(join(tmpdir(), "annals-groups-"));
    const file = join(folder, "tokens.json");
    writeFileSync(file, '{"tokens":[]}');
    const token = async (name: string, role: string): Promise<string> => {
      const wish = { name, roles: [role], nowMs: Date.now(), expiresMs: Infinity };
      return (await createToken(file, wish)).text;
    };
    const [admin, service, reader] = [
      await token("boss", "admin"),
      await token("worker", "service"),
      await token("eyes", "reader"),
    ];
    const flags = ["--tokens-file", file];
    const [one, other] = [await served("asked", ...flags), await served("asked", ...flags)];
    const as = (address: string, shown: string) => connect({ address, events, token: shown });
    const [first, second, looking] = [
      as(one.address, admin),
      as(other.address, service),
      as(other.address, reader),
    ];
    try {
      await first.append("s", { type: "Happened", data: { n: 1 } });
      await first.groups.create("mails");
      expect(await take({ client: second }, 1)).toEqual([1]);
      const denied = looking.groups.delete("mails", { timeoutMs: 10_000 });
      await expect(denied).rejects.toThrow(`"eyes" lacks manage`);
      for (const header of [
        "",
        "e30.",
        "e30.AAAA",
        `${Buffer.from("{}").toString("base64url")}.x`,
      ]) {
        const answer = await fetch(
          `http://${one.address}/annals.v1.ConsumerGroupService/DeleteGroup`,
          {
            method: "POST",
            body: JSON.stringify({ name: "mails" }),
            headers: { "content-type": "application/json", "annals-forwarded": header },
          },
        );
        expect(answer.status).toBe(401);
      }
      expect(await second.groups.get("mails", { timeoutMs: 10_000 })).toBeDefined();
    } finally {
      for (const client of [first, second, looking]) client.close();
      await ended(one, other);
      rmSync(folder, { recursive: true });
    }
  });
});

/** Settles so many events, and answers which. */
async function take(
  { client }: Pick<Awaited<ReturnType<typeof served>>, "client">,
  count: number,
): Promise<number[]> {
  const taken: number[] = [];
  for await (const { event, ack } of client.group("mails", { permits: 1 })) {
    await ack();
    taken.push(event.data.n);
    if (taken.length === count) break;
  }
  return taken;
}
