// `annals serve --storage`: real servers over a real PostgreSQL, together, through its crash, and
// refused where it cannot be used.
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { connect, defineEvents } from "../../src/client/sdk.ts";
import { spawnAnnals, type Spawned } from "../cli/running-server.ts";
import { freePort } from "../clients/live-server.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

const programs = postgresPrograms();
let postgres: PostgresServer;
const spawned: Spawned[] = [];

const events = defineEvents<{ type: "Happened"; data: { n: number } }>();

beforeAll(async () => {
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterEach(async () => {
  for (const each of spawned.splice(0)) {
    each.kill();
    await each.ended;
  }
});
afterAll(() => postgres?.remove());

interface Served {
  readonly address: string;
  readonly server: Spawned;
}

async function serve(schema: string, ...flags: string[]): Promise<Served> {
  const port = await freePort();
  const storage = flags.includes("--storage") ? [] : ["--storage", postgres.connectionString];
  const place = ["--port", `${port}`, ...storage, "--storage-schema", schema];
  const server = spawnAnnals(["serve", ...place, ...flags]);
  spawned.push(server);
  return { address: `127.0.0.1:${port}`, server };
}

/** A client of a server that serves by now. */
async function clientOf({ address }: Served) {
  const client = connect({ address, events });
  await client.ready(60_000);
  return client;
}

/** Why a server does not start. */
async function refused(schema: string, ...flags: string[]): Promise<string> {
  const { server } = await serve(schema, ...flags);
  expect(await server.ended).not.toBe(0);
  const line = server
    .printed()
    .split("\n")
    .find((each) => each.includes("not started"));
  return (JSON.parse(line ?? "{}") as { reason?: string }).reason ?? server.printed();
}

async function command(...argv: string[]): Promise<{ code: number | null; printed: string }> {
  const run = spawnAnnals(argv);
  return { code: await run.ended, printed: run.printed() };
}

describe.skipIf(programs === undefined)("servers over PostgreSQL", () => {
  test("what one server stores, the others deliver, and both decide on it", async () => {
    const [one, other] = await Promise.all([serve("together"), serve("together")]);
    const [first, second] = await Promise.all([clientOf(one), clientOf(other)]);
    const live: number[] = [];
    const delivered = (async () => {
      for await (const { position } of second.subscribe({})) {
        live.push(position);
        if (live.length === 20) return;
      }
    })();
    for (let i = 0; i < 10; i++) {
      await first.append(`a-${i % 3}`, { type: "Happened", data: { n: i } });
      await second.append(`b-${i % 3}`, { type: "Happened", data: { n: i } });
    }
    await delivered;
    expect(live).toEqual(Array.from({ length: 20 }, (_, i) => i + 1));
    await first.append("once", { type: "Happened", data: { n: 1 } }, { expect: "absent" });
    const late = second.append("once", { type: "Happened", data: { n: 2 } }, { expect: "absent" });
    await expect(late).rejects.toMatchObject({ code: "CONFLICT" });
    first.close();
    second.close();
    const url = postgres.connectionString;
    const verified = await command("verify", "--storage", url, "--storage-schema", "together");
    expect(verified).toMatchObject({ code: 0, printed: expect.stringContaining("sound") });
  });

  test("a server is not serving while its database is down, and goes on after it", async () => {
    const served = await serve("crashed");
    const { address } = served;
    const client = await clientOf(served);
    const before = await client.append("a", { type: "Happened", data: { n: 1 } });
    expect((await command("health", "--address", address)).code).toBe(0);
    await postgres.crash();
    const meanwhile = client.append("a", { type: "Happened", data: { n: 2 } });
    await until(async () => (await command("health", "--address", address)).code !== 0);
    await postgres.start();
    expect((await meanwhile).lastPosition).toBe(before.lastPosition + 1);
    await until(async () => (await command("health", "--address", address)).code === 0);
    client.close();
  });

  test("a server that others cannot reach says so, if there may be others elsewhere", async () => {
    const says = async (...flags: string[]): Promise<boolean> => {
      const served = await serve("hidden", ...flags);
      (await clientOf(served)).close();
      return served.server.printed().includes("other servers of this store cannot reach this one");
    };
    const [, socket = ""] = postgres.connectionString.split("host=");
    const several = ["--storage", `postgresql://annals@${socket},db2.invalid:5432/postgres`];
    expect(await says()).toBe(false);
    expect(await says(...several)).toBe(true);
    expect(await says(...several, "--advertise", "db2.invalid:7420")).toBe(false);
  });

  test("a damaged row is DATA_LOSS and found by verify", async () => {
    const client = await clientOf(await serve("damaged"));
    for (let n = 1; n <= 3; n++) await client.append("a", { type: "Happened", data: { n } });
    const url = postgres.connectionString;
    await asking(url, "UPDATE damaged.event SET type = 'Other' WHERE position = 2");
    await asking(
      url,
      "UPDATE damaged.event SET record = record || '\\x00'::bytea WHERE position = 3",
    );
    const verified = await command("verify", "--storage", url, "--storage-schema", "damaged");
    expect(verified.code).toBe(1);
    expect(verified.printed).toContain("position 2: the columns disagree with the record");
    expect(verified.printed).toContain("position 3: a record fails its CRC");
    client.close();
  });

  test("a database that cannot be used is refused in one line", async () => {
    const url = postgres.connectionString;
    expect(await refused("asked", "--storage-durability", "replicated")).toMatch(
      /^--storage .*synchronous_standby_names is empty/,
    );
    await asking(url, "CREATE ROLE reader LOGIN");
    const asReader = ["--storage", url.replace("annals@", "reader@")];
    expect(await refused("fresh", ...asReader)).toMatch(/the role lacks a right on schema fresh/);
    await asking(url, "CREATE SCHEMA owned AUTHORIZATION reader");
    (await clientOf(await serve("owned", ...asReader))).close();
    const none = await command("verify", "--storage", url, "--storage-schema", "none");
    expect(none.code).toBe(1);
    expect(none.printed).toMatch(/^error: .*there is no store in its schema none\n$/);
    const nowhere = ["--storage", url.replace("/postgres", "/nowhere")];
    expect(await refused("fresh", ...nowhere)).toMatch(/database "nowhere" does not exist/);
    (await clientOf(await serve("newer"))).close();
    await asking(url, "INSERT INTO newer.migration (number) VALUES (99)");
    expect(await refused("newer")).toMatch(
      /its schema has version 99; this server knows up to \d+$/,
    );
    const gone = ["--storage", "postgres://annals:secret@127.0.0.1:1/x"];
    const said = await refused("fresh", ...gone);
    expect(said).toMatch(/127\.0\.0\.1:1/);
    expect(said).not.toContain("secret");
  });
});

async function until(holds: () => Promise<boolean>): Promise<void> {
  while (!(await holds()));
}
