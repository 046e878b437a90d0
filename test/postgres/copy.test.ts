// `annals copy`: a store with everything in it goes from a folder into a database and back, byte
// for byte; cut off by SIGKILL it goes on; and it never mixes with anything else.
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openPostgres } from "../../src/storage/postgres/open.ts";
import { openLevelStore } from "../../src/storage/leveldb/open.ts";
import { jsonLines, run } from "../cli/captured-terminal.ts";
import { spawnAnnals } from "../cli/running-server.ts";
import { startTestServer } from "../support/running-server.ts";
import {
  clientsOf,
  copiedIn,
  liveOn,
  liveServer,
  removeAll,
  secret,
} from "../support/varied-history.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";
import { asking } from "./postgres-storage.ts";

const programs = postgresPrograms();
let postgres: PostgresServer;
let scratch: string;
let made = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-moved-"));
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterAll(async () => {
  await postgres?.remove();
  await rm(scratch, { recursive: true });
});

const fresh = (name: string): string => join(scratch, `${name}-${made++}`);
const commandInto = (folder: string, schema: string): string[] =>
  ["copy", "--from", folder, "--to", postgres.connectionString, "--to-schema", schema].concat(
    "--json",
  );
const commandBack = (schema: string, folder: string): string[] =>
  ["copy", "--from", postgres.connectionString, "--from-schema", schema].concat(
    "--to",
    folder,
    "--json",
  );

interface Outcome {
  readonly head: number;
  readonly chain: string;
  readonly epoch: string;
}

async function copied(argv: readonly string[]): Promise<Outcome> {
  const { code, errors, output } = await run(argv);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  return jsonLines(output)[0] as unknown as Outcome;
}

async function refusal(argv: readonly string[]): Promise<string> {
  const { code, errors } = await run(argv);
  expect(code).not.toBe(0);
  expect(errors).not.toContain("    at ");
  return errors;
}

/** Chunks as they are; side values without the revisions of their keys and their CRCs. */
async function contentOf(folder: string): Promise<string[]> {
  const lines = await copiedIn(folder);
  return lines.map((line) => {
    const end = line.indexOf("\0");
    return line.startsWith("n") ? `${line.slice(0, end)} ${line.slice(end + 10, -4)}` : line;
  });
}

/** A store that was lived on, with removed events whose space is reclaimed. */
async function livedStore(seed: number): Promise<string> {
  const folder = fresh("store");
  const lived = await liveServer(folder);
  await liveOn(lived.clients, seed, 60);
  await removeAll(lived.clients, seed);
  await lived.reclaim();
  await liveOn(lived.clients, seed + 1, 60);
  await lived.reclaim();
  await lived.stop();
  return folder;
}

describe.skipIf(programs === undefined)("annals copy", () => {
  test("a store goes into a database and back, and has the same bytes and chain", async () => {
    const folder = await livedStore(1);
    const there = await copied(commandInto(folder, "whole"));
    const verified = await run(["verify", folder, "--json"]);
    expect(jsonLines(verified.output)[0]).toMatchObject({ sound: true, headHash: there.chain });
    const back = fresh("back");
    const here = await copied(commandBack("whole", back));
    expect(here).toMatchObject({ head: there.head, chain: there.chain });
    expect(await contentOf(back)).toEqual(await contentOf(folder));
    const { storage } = await openLevelStore({ folder: back, reserveBytes: 0 });
    const [first, ...later] = storage.identity.history;
    expect(first?.id).toBe(storage.identity.storeId.replaceAll("-", "").slice(0, 16));
    expect(later.map(({ id, after }) => [id, after])).toEqual([
      [there.epoch, there.head],
      [here.epoch, here.head],
    ]);
    await storage.close();
  });

  test("a store that went on in a database, and was reclaimed there, comes back", async () => {
    const folder = await livedStore(3);
    await copied(commandInto(folder, "lived"));
    const reclaim = { bytesPerSecond: Infinity, pauseMs: 2 ** 31 - 1 };
    const engine = await openPostgres({
      url: postgres.connectionString,
      schema: "lived",
      reclaim,
    });
    const openStorage = async () => engine.storage();
    const server = await startTestServer([], { openStorage });
    const clients = clientsOf(server.address);
    await liveOn(clients, 7, 40);
    await removeAll(clients, 4);
    await removeAll(clients, 7);
    await engine.reclaimer?.round();
    await engine.reclaimer?.round();
    expect(engine.reclaimer?.status.events).toBeGreaterThan(20);
    clients.close();
    await server.stop();
    const left = await asking(
      postgres.connectionString,
      `SELECT count(*) FROM lived.event WHERE position(decode('${hexOf(`${secret} 7 `)}', 'hex')
        in record) > 0`,
    );
    expect(left).toEqual([["0"]]);
    const back = fresh("back");
    const { chain, head } = await copied(commandBack("lived", back));
    const verified = await run(["verify", back, "--json"]);
    expect(jsonLines(verified.output)[0]).toMatchObject({ sound: true, headHash: chain });
    const level = await openLevelStore({ folder: back, reserveBytes: 0 });
    expect(level.storage.head().position).toBe(head);
    await level.storage.close();
  });

  test("killed in the middle, again and again, it goes on and ends the same", async () => {
    const folder = await livedStore(5);
    const level = await openLevelStore({ folder, reserveBytes: 0 });
    const server = await startTestServer([], { openStorage: async () => level.storage });
    const clients = clientsOf(server.address);
    for (let i = 0; i < 40; i++) {
      const events = Array.from({ length: 500 }, (_, n) => ({
        type: "Many",
        payload: { case: "data" as const, value: Buffer.from(`${i} ${n} `.repeat(30)) },
      }));
      await clients.store.append({ stream: `many-${i % 7}`, events });
    }
    clients.close();
    await server.stop();

    const url = postgres.connectionString;
    const positionThere = async (): Promise<number> => {
      const found = await asking(url, "SELECT position FROM killed.head").catch(() => []);
      return Number(found[0]?.[0] ?? 0);
    };
    const killedInto = await killedAt(commandInto(folder, "killed"), positionThere, 3);
    expect(killedInto).toBeGreaterThan(0);
    const served = spawnAnnals(
      ["serve", "--port", "0", "--storage", url].concat("--storage-schema", "killed"),
    );
    expect(await served.ended).not.toBe(0);
    expect(served.printed()).toContain("a copy into it has not finished: run annals copy again");
    const there = await copied(commandInto(folder, "killed"));

    const back = fresh("back");
    const filesThere = async (): Promise<number> => {
      const names = await readdir(join(back, "log")).catch(() => []);
      return names.filter((name) => /\.(ldb|log)$/.test(name)).length;
    };
    await killedAt(commandBack("killed", back), filesThere, 2);
    const here = await copied(commandBack("killed", back));
    expect(here).toMatchObject({ head: there.head, chain: there.chain });
    expect(await contentOf(back)).toEqual(await contentOf(folder));
  });

  test("a source in use is copied, and finished when its servers have stopped", async () => {
    const folder = fresh("store");
    const lived = await liveServer(folder);
    await liveOn(lived.clients, 9, 20);
    const said = await refusal(commandInto(folder, "used"));
    expect(said).toContain("servers use the store that is copied: everything up to position");
    await liveOn(lived.clients, 10, 20);
    await lived.stop();
    const there = await copied(commandInto(folder, "used"));
    const engine = await openPostgres({ url: postgres.connectionString, schema: "used" });
    expect(engine.storage().head().position).toBe(there.head);
    const back = fresh("back");
    expect(await refusal(commandBack("used", back))).toContain("stop its servers");
    await engine.storage().close();
    expect(await copied(commandBack("used", back))).toMatchObject({ chain: there.chain });
  });

  test("a target that holds anything else is refused, and nothing in it changes", async () => {
    const [one, other] = [await livedStore(11), await livedStore(13)];
    const url = postgres.connectionString;
    await copied(commandInto(one, "taken"));
    const before = await asking(url, "SELECT count(*), max(position) FROM taken.event");
    expect(await refusal(commandInto(one, "taken"))).toContain("a copy needs an empty one");
    expect(await refusal(commandInto(other, "taken"))).toContain("a copy needs an empty one");
    expect(await asking(url, "SELECT count(*), max(position) FROM taken.event")).toEqual(before);
    expect(await refusal(commandBack("taken", other))).toContain("and no copy");
    await asking(url, "CREATE SCHEMA tables; CREATE TABLE tables.event (n int)");
    expect(await refusal(commandInto(one, "tables"))).toContain("already exists");
    await asking(url, "DELETE FROM taken.event WHERE position = 5");
    expect(await refusal(commandBack("taken", fresh("back")))).toMatch(/missing/);
    expect(await refusal(["copy", "--from", one])).toContain("--to");
    expect(await refusal(commandInto(fresh("nowhere"), "none"))).toContain("no such folder");
    expect(
      await refusal(["copy", "--from", one, "--to", "postgres://a:secret@127.0.0.1:1/x"]),
    ).toMatch(/127\.0\.0\.1:1/);
  });
});

function hexOf(text: string): string {
  return Buffer.from(text).toString("hex");
}

/** Runs a command so many times and kills it each time when it has got further. */
async function killedAt(
  argv: readonly string[],
  reached: () => Promise<number>,
  times: number,
): Promise<number> {
  let last = 0;
  for (let i = 0; i < times; i++) {
    const spawned = spawnAnnals(argv);
    const { process } = spawned;
    let now = last;
    while (now <= last && process.exitCode === null) now = await reached();
    spawned.kill();
    await spawned.ended;
    last = now;
  }
  return last;
}
