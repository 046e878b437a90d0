// `--keep-times`: events of another system are recorded with the time at which it recorded them, in a
// store that is new. Time never goes back, through restarts, backups and reads by time.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { DCB } from "../../../src/gen/umadb/v1/umadb_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import { isoTime, timestampOf } from "../../../src/cli/arguments/time.ts";
import { append, events, m, named, ofAll } from "../../protocols/kurrentdb/kurrent-client.ts";
import { collect, failedOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";
import { temporaryFolder } from "../running-server.ts";

const folder = temporaryFolder();
const running = new Set<TestServer>();
async function server(...flags: string[]): Promise<TestServer> {
  const protocols = ["--protocol", "kurrentdb", "--protocol", "umadb"];
  const started = await startTestServer([...protocols, ...flags]);
  running.add(started);
  return started;
}
afterAll(async () => {
  for (const each of running) await each.stop();
});
async function stop(each: TestServer): Promise<void> {
  running.delete(each);
  await each.stop();
}

const annals = (at: TestServer, ...argv: string[]) =>
  run(argv, { environment: { ANNALS_ADDRESS: at.address } });
const kurrent = (of: TestServer): string => `kurrentdb://${of.address}?tls=false`;

async function stored(at: TestServer): Promise<RecordedEvent[]> {
  const messages = await collect(at.calls.stream(EventStoreService.method.read, {}));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}
const timesIn = async (at: TestServer) =>
  (await stored(at)).map(({ recordedAt }) => isoTime(recordedAt));

let files = 0;
function fileOf(lines: readonly object[]): string {
  const path = join(folder, `lines-${++files}.ndjson`);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
}
const idOf = (n: number): string => `0190a000-0000-7000-8000-${`${n}`.padStart(12, "0")}`;
const line = (n: number, recordedAt: string, stream = "order-1") => {
  return { id: idOf(n), stream, type: "Placed", recordedAt, json: { n } };
};
const day = (n: number): string => `2021-03-${`${n}`.padStart(2, "0")}T10:00:00.000001Z`;
const days = (...all: number[]): string[] => all.map(day);

test("a file's times are those of the records, over restart, backup, restore and reads by time", async () => {
  const data = join(folder, "store");
  const first = await server("--keep-times", "--data", data);
  const lines = [1, 2, 2, 5, 4, 7].map((at, i) => line(i + 1, day(at)));
  const path = fileOf(lines);
  const imported = await annals(first, "import", path, "--keep-times");
  expect(imported.errors).toContain("6 stored");
  expect(imported.errors).toContain("1 time moved to that of the event before");
  expect(await timesIn(first)).toEqual(days(1, 2, 2, 5, 5, 7));
  // A second run finds everything there, and goes on behind it.
  writeFileSync(path, `${JSON.stringify(line(7, day(8)))}\n`, { flag: "a" });
  const again = await annals(first, "import", path, "--keep-times", "--json");
  expect(jsonLines(again.output)[0]).toMatchObject({ storedCount: 1, movedTimeCount: 1 });
  await stop(first);

  const verified = await run(["verify", data]);
  expect(verified.code).toBe(0);
  const backup = join(folder, "backup");
  expect((await run(["backup", data, backup])).code).toBe(0);
  const restored = join(folder, "restored");
  expect((await run(["restore", backup, restored, "--to-time", day(5)])).code).toBe(0);

  const second = await server("--data", data);
  expect(await timesIn(second)).toEqual(days(1, 2, 2, 5, 5, 7, 8));
  const between = await annals(
    second,
    "read",
    "--from-time",
    day(2),
    "--to-time",
    day(6),
    "--json",
  );
  expect(jsonLines(between.output).map(({ id }) => id)).toEqual([2, 3, 4, 5].map(idOf));
  // Its clock is that of the present again.
  const now = await annals(second, "append", "order-1", "Paid");
  expect(now.code).toBe(0);
  expect((await timesIn(second)).at(-1)).toMatch(new RegExp(`^${new Date().getUTCFullYear()}`));
  const refused = await annals(second, "import", fileOf([line(9, day(9))]), "--keep-times");
  expect(refused.errors).toContain("only by a server that was started with --keep-times");
  await stop(second);

  const third = await server("--data", restored);
  expect(await timesIn(third)).toEqual(days(1, 2, 2, 5, 5));
  await stop(third);
});

test("a KurrentDB log keeps the times of events, policies and deletions, run by run", async () => {
  const source = await server("--keep-times");
  await annals(
    source,
    "import",
    fileOf([1, 2, 3, 4].map((n) => line(n, day(n), `order-${n % 2}`))),
    "--keep-times",
  );
  const target = await server("--keep-times");
  const first = await annals(target, "import", kurrent(source), "--keep-times", "--json");
  expect(first.errors).toBe("");
  expect(jsonLines(first.output)[0]).toMatchObject({ eventCount: 4, movedTimeCount: 0 });
  expect(await timesIn(target)).toEqual(days(1, 2, 3, 4));

  const before = Date.now() - 1;
  await append(source.calls, "$$order-1", [{ type: "$metadata", data: `{"$maxCount":1}` }]);
  await append(source.calls, "order-2", [{}]);
  await source.calls.unary(m.delete, {
    options: {
      streamIdentifier: named("order-2"),
      expectedStreamRevision: { case: "any", value: {} },
    },
  });
  await append(source.calls, "order-2", [{ id: idOf(20) }]);
  const second = await annals(target, "import", kurrent(source), "--keep-times");
  expect(second.code).toBe(0);
  const created = async (of: TestServer) =>
    new Map(
      (await events(of.calls, { streamOption: ofAll() })).map((event) => [
        `${Buffer.from(event.streamIdentifier?.streamName ?? []).toString()} ${event.metadata["type"]}`,
        event.metadata["created"],
      ]),
    );
  const [there, here] = [await created(source), await created(target)];
  expect([...here.keys()]).toContain("$$order-1 $metadata");
  for (const [what, time] of here) expect(there.get(what), what).toBe(time);
  expect(Number(here.get("order-2 T")) / 10_000).toBeGreaterThan(before);
});

test("only a new store that nothing else writes to takes old times", async () => {
  const target = await server("--keep-times");
  expect((await annals(target, "append", "order-1", "Paid")).code).toBe(0);
  const path = fileOf([line(1, day(1))]);
  const late = await annals(target, "import", path, "--keep-times");
  expect(late.code).toBe(1);
  expect(late.errors).toContain("line 1: recorded_at: is before the time of the last event");
  expect(late.errors).toContain("--keep-times is for a new store");
  expect(await stored(target)).toHaveLength(1);
  // Without it, the events come with the time of the present.
  expect((await annals(target, "import", path)).code).toBe(0);
});

test("CloudEvents have their time; what has none, or none that a store can keep, is refused", async () => {
  const target = await server("--keep-times");
  const cloud = { specversion: "1.0", source: "/shop", type: "Paid", stream: "order-9" };
  const both = [
    { ...cloud, id: idOf(1), time: day(1) },
    { ...cloud, id: idOf(2), time: day(3), recordedtime: day(2) },
  ];
  const taken = await annals(target, "import", fileOf(both), "--keep-times");
  expect(taken.errors).toContain("2 stored");
  expect(await timesIn(target)).toEqual(days(1, 2));

  const said = async (item: object) =>
    (await annals(target, "import", fileOf([item]), "--keep-times")).errors;
  expect(await said({ ...line(3, day(3)), recordedAt: undefined })).toContain(
    "line 1: has no time: leave out --keep-times",
  );
  expect(await said(line(3, "yesterday"))).toContain(`line 1: "yesterday" is not a time`);
  expect(await said(line(3, "1969-12-31T23:59:59Z"))).toContain("recorded_at: is before 1970");
  // What is ahead of the clock was recorded now.
  await said(line(3, "2199-01-01T00:00:00Z"));
  expect((await timesIn(target)).at(-1)).toMatch(new RegExp(`^${new Date().getUTCFullYear()}`));

  const source = await server();
  await source.calls.unary(DCB.method.append, { events: [{ eventType: "T", tags: ["a"] }] });
  const timeless = await annals(target, "import", `umadb://${source.address}`, "--keep-times");
  expect(timeless.code).toBe(1);
  expect(timeless.errors).toContain("has no time: leave out --keep-times");
});

test("events that are too old for their stream's age limit are removed from the start", async () => {
  const { calls, ...target } = await server("--keep-times");
  const at = (n: number) => timestampOf(day(n), "");
  const limit = { policy: { maxAge: { seconds: 86_400n } }, recordedAt: at(1) };
  await calls.unary(StreamService.method.updateStream, { stream: "order-1", ...limit });
  const event = { stream: "order-1", type: "Placed" };
  await calls.unary(EventStoreService.method.append, {
    events: [
      { ...event, recordedAt: at(2) },
      { ...event, stream: "order-2", recordedAt: at(3) },
    ],
  });
  await calls.unary(EventStoreService.method.append, { events: [event] });
  const left = await stored({ calls, ...target });
  expect(left.map(({ stream, version }) => [stream, version])).toEqual([
    ["order-2", 1n],
    ["order-1", 2n],
  ]);
  const early = calls.unary(StreamService.method.deleteStream, {
    stream: "order-2",
    recordedAt: at(4),
  });
  expect(await failedOf(early)).toMatchObject({ code: 3 });
});
