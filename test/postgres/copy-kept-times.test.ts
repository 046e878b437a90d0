// A store whose events kept the times of another system (`--keep-times`) goes from a folder into a
// database and back: every time stays, and an import that is half done goes on in either place.
import { writeFileSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { isoTime } from "../../src/cli/arguments/time.ts";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { jsonLines, run } from "../cli/captured-terminal.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { clientsOf, copiedIn } from "../support/varied-history.ts";
import { postgresPrograms, startPostgres, type PostgresServer } from "./postgres-server.ts";

const programs = postgresPrograms();
let postgres: PostgresServer;
let scratch: string;
let running: TestServer | undefined;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-kept-moved-"));
  if (programs !== undefined) postgres = await startPostgres(programs);
});
afterEach(() => running?.stop());
afterAll(async () => {
  await postgres?.remove();
  await rm(scratch, { recursive: true });
});

const day = (n: number): string => `2021-03-${`${n}`.padStart(2, "0")}T10:00:00.000001Z`;

/** Does something with a server over a place, and stops it. */
async function at<T>(place: readonly string[], use: (server: TestServer) => Promise<T>) {
  running = await startTestServer(place);
  const done = await use(running);
  await running.stop();
  running = undefined;
  return done;
}

/** Imports the file again, whose lines have grown to those of so many days. */
const imported = (days: number) => async (server: TestServer) => {
  const path = join(scratch, "lines.ndjson");
  const lines = Array.from({ length: days }, (_, i) =>
    JSON.stringify({
      id: `0190a000-0000-7000-8000-${`${i + 1}`.padStart(12, "0")}`,
      stream: `order-${i % 3}`,
      type: "Placed",
      recordedAt: day(i + 1),
      json: { day: i + 1 },
    }),
  );
  writeFileSync(path, `${lines.join("\n")}\n`);
  const argv = ["import", path, "--keep-times", "--json", "--address", server.address];
  const { code, errors } = await run(argv);
  expect({ code, errors }).toMatchObject({ code: 0 });
};

async function timesIn(server: TestServer): Promise<string[]> {
  const clients = clientsOf(server.address);
  const times: string[] = [];
  for await (const { message } of clients.store.read({})) {
    if (message.case !== "batch") continue;
    times.push(...message.value.events.map(({ recordedAt }) => isoTime(recordedAt)));
  }
  clients.close();
  return times;
}

async function copied(from: readonly string[], to: readonly string[]): Promise<unknown> {
  const { code, errors, output } = await run(["copy", ...from, ...to, "--json"]);
  expect({ code, errors }).toEqual({ code: 0, errors: "" });
  return jsonLines(output)[0];
}

describe.skipIf(programs === undefined)("a store with kept times", () => {
  test("goes into a database and back in the middle of its import, and keeps them", async () => {
    const url = postgres.connectionString;
    const [first, back] = [join(scratch, "first"), join(scratch, "back")];
    const inDatabase = ["--storage", url, "--storage-schema", "kept"];
    const days = Array.from({ length: 9 }, (_, i) => day(i + 1));
    await at(["--data", first, "--keep-times"], imported(3));
    await copied(["--from", first], ["--to", url, "--to-schema", "kept"]);
    await at([...inDatabase, "--keep-times"], async (server) => {
      expect(await timesIn(server)).toEqual(days.slice(0, 3));
      await imported(6)(server);
      expect(await timesIn(server)).toEqual(days.slice(0, 6));
    });
    const here = await copied(["--from", url, "--from-schema", "kept"], ["--to", back]);
    expect(await verifyFolder(back)).toMatchObject({ findings: [] });
    await at(["--data", back, "--keep-times"], imported(9));

    // The import is done: the same store, without --keep-times.
    const all = await at(["--data", back], async (server) => {
      const address = ["--address", server.address];
      const paid = await run(["append", "order-1", "Paid", "{}", ...address]);
      expect(paid).toMatchObject({ code: 0 });
      const until = await run(["read", "--to-time", day(5), "--json", ...address]);
      expect(jsonLines(until.output)).toHaveLength(5);
      return timesIn(server);
    });
    expect(all.slice(0, 9)).toEqual(days);
    expect(Date.parse(all[9] ?? "")).toBeGreaterThan(Date.parse(day(31)));

    const again = ["--storage", url, "--storage-schema", "again"];
    const there = await copied(["--from", back], ["--to", url, "--to-schema", "again"]);
    expect(there).not.toEqual(here);
    expect(await at(again, timesIn)).toEqual(all);
    const last = join(scratch, "last");
    await copied(["--from", url, "--from-schema", "again"], ["--to", last]);
    const chunks = async (folder: string) =>
      (await copiedIn(folder)).filter((line) => !line.startsWith("n"));
    expect(await chunks(last)).toEqual(await chunks(back));
    expect(await verifyFolder(last)).toMatchObject({ findings: [] });
  });
});
