// Moving the log of another system into a store: from a server of the KurrentDB protocol and from one
// of UmaDB's. Each event arrives once and in order, however often the command is stopped.
import { afterAll, beforeAll, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../../src/gen/annals/v1/stream_service_pb.js";
import type { RecordedEvent } from "../../../src/gen/annals/v1/event_pb.js";
import { DCB } from "../../../src/gen/umadb/v1/umadb_pb.js";
import {
  append,
  events,
  m,
  nameOf,
  named,
  ofAll,
} from "../../protocols/kurrentdb/kurrent-client.ts";
import { collect, failedOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";

const both = ["--protocol", "kurrentdb", "--protocol", "umadb"];
const servers: TestServer[] = [];
async function server(): Promise<TestServer> {
  const started = await startTestServer(both);
  servers.push(started);
  return started;
}
let source: TestServer;
let target: TestServer;
beforeAll(async () => {
  [source, target] = [await server(), await server()];
});
afterAll(async () => {
  for (const started of servers) await started.stop();
});

const kurrent = (of: TestServer): string => `kurrentdb://${of.address}?tls=false`;
const annals = (to: TestServer, argv: readonly string[], situation: Situation = {}) =>
  run(argv, { ...situation, environment: { ANNALS_ADDRESS: to.address } });

const { read, append: appendTo, getInfo } = EventStoreService.method;
async function stored(of: TestServer): Promise<RecordedEvent[]> {
  const messages = await collect(of.calls.stream(read, {}));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

const uuid = (n: number): string => `0190a000-0000-7000-8000-${`${n}`.padStart(12, "0")}`;

test("a KurrentDB log arrives with its ids, order, metadata, times, policies and deletions", async () => {
  const { calls } = source;
  await append(calls, "order-1", [
    { id: uuid(1), type: "Placed", data: `{"big":12345678901234567890}`, metadata: `{"by":"é"}` },
    { id: uuid(2), type: "Paid", contentType: "application/octet-stream", data: Buffer.of(0, 255) },
  ]);
  await append(calls, "order-2", [{ id: uuid(3), metadata: Buffer.of(0xff), data: "" }]);
  const policy = `{"$maxCount":100,"owner":"team"}`;
  await append(calls, "$$order-1", [{ type: "$metadata", data: policy }]);
  await append(calls, "gone-1", [{ id: uuid(4) }]);
  await calls.unary(m.tombstone, {
    options: {
      streamIdentifier: named("gone-1"),
      expectedStreamRevision: { case: "any", value: {} },
    },
  });
  await append(calls, "back-1", [{ id: uuid(5) }]);
  await calls.unary(m.delete, {
    options: {
      streamIdentifier: named("back-1"),
      expectedStreamRevision: { case: "any", value: {} },
    },
  });
  await append(calls, "back-1", [{ id: uuid(6) }]);

  const first = await annals(target, ["import", kurrent(source), "--json"]);
  expect(first.errors).toBe("");
  expect(jsonLines(first.output)[0]).toMatchObject({
    // Those that were deleted are not in the log any more.
    eventCount: 4,
    changeCount: 3,
    renamedCount: 0,
    different: [],
    streamCount: 3,
  });
  expect(first.code).toBe(0);
  const there = await events(calls, { streamOption: ofAll() });
  const here = await events(target.calls, { streamOption: ofAll() });
  const content = ({ id, data, customMetadata }: (typeof here)[number]) => [
    id,
    data,
    customMetadata,
  ];
  const users = (all: typeof here) => all.filter((event) => !/^\$|^gone/.test(nameOf(event)));
  expect(users(here).map(content)).toEqual(users(there).map(content));
  // Policies are there too.
  const kinds = (all: typeof here) =>
    all
      .filter((event) => nameOf(event) !== "$$back-1")
      .map((event) => [nameOf(event), event.metadata["type"]]);
  expect(kinds(here)).toEqual(kinds(there));
  // Nobody can append to what was deleted for ever, although none of its events came.
  expect(await failedOf(append(target.calls, "gone-1", [{}]))).toMatchObject({ code: 9 });
  const paid = (await stored(target)).find(({ id }) => id === uuid(2));
  expect(paid).toMatchObject({ stream: "order-1", version: 2n, type: "Paid" });
  expect(paid?.metadata).toMatchObject({
    "import-source": `kurrentdb://${source.address}`,
    "import-revision": "1",
    "import-position": String(there.find(({ data }) => data[1] === 255)?.commitPosition),
  });
  expect(paid?.metadata["import-recorded-at"]).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{7}Z$/);

  const again = await annals(target, ["import", kurrent(source)]);
  expect(again.code).toBe(0);
  expect(again.errors).toContain("0 events stored");
  expect(again.errors).toContain("3 streams compared: 3 equal");
  expect(kinds(await events(target.calls, { streamOption: ofAll() }))).toEqual(kinds(there));
});

test("an import that is stopped, or whose events were there, stores each event once", async () => {
  const [from, to] = [await server(), await server()];
  for (let batch = 0; batch < 12; batch += 1) {
    const many = Array.from({ length: 400 }, (_, i) => ({ id: uuid(10_000 + batch * 400 + i) }));
    await append(from.calls, `many-${batch % 5}`, many);
  }
  for (let stops = 0; stops < 3; stops += 1) {
    const abort = new AbortController();
    setImmediate(() => setTimeout(() => abort.abort(new Error("stopped")), 30 + stops * 40));
    await annals(to, ["import", kurrent(from)], { signal: abort.signal });
  }
  const whole = await annals(to, ["import", kurrent(from), "--json"]);
  expect(whole.code).toBe(0);
  expect(jsonLines(whole.output)[0]).toMatchObject({ different: [], equalCount: 5 });
  const ids = (await stored(to)).map(({ id }) => id);
  expect(ids).toHaveLength(4_800);
  expect(ids).toEqual((await stored(from)).map(({ id }) => id));
  // A checkpoint that is lost costs nothing but time.
  await to.calls.unary(CheckpointService.method.deleteCheckpoint, {
    consumer: `import:kurrentdb://${from.address}`,
  });
  const anew = await annals(to, ["import", kurrent(from), "--json"]);
  expect(jsonLines(anew.output)[0]).toMatchObject({ eventCount: 0, alreadyCount: 4_800 });
  expect(await stored(to)).toHaveLength(4_800);
});

test("a run that begins anew removes nothing of what came after a deletion or a policy", async () => {
  const [from, to] = [await server(), await server()];
  await append(from.calls, "a", [{ id: uuid(70) }]);
  await append(from.calls, "b", [{ id: uuid(71) }]);
  await annals(to, ["import", kurrent(from), "--no-compare"]);
  await append(from.calls, "$$a", [{ type: "$metadata", data: `{"$tb":9223372036854775807}` }]);
  await append(from.calls, "$$b", [{ type: "$metadata", data: `{"$maxCount":1}` }]);
  await annals(to, ["import", kurrent(from), "--no-compare"]);
  // The stream comes back here, and the policy is loosened here.
  await to.calls.unary(appendTo, { stream: "a", events: [{ id: uuid(72), type: "Own" }] });
  const loosened = { stream: "b", policy: { maxCount: 100n } };
  await to.calls.unary(StreamService.method.updateStream, loosened);
  await to.calls.unary(appendTo, { stream: "b", events: [{ id: uuid(73), type: "Own" }] });
  await to.calls.unary(CheckpointService.method.deleteCheckpoint, {
    consumer: `import:kurrentdb://${from.address}`,
  });
  const { errors } = await annals(to, ["import", kurrent(from), "--no-compare"]);
  expect(errors).toContain("2 changes left out, as their streams went on");
  expect((await stored(to)).map(({ id }) => id)).toEqual([71, 72, 73].map(uuid));
});

test("an id that the store has for another event is replaced, and kept for KurrentDB's clients", async () => {
  const [from, to] = [await server(), await server()];
  await to.calls.unary(appendTo, { stream: "own", events: [{ id: uuid(7), type: "Own" }] });
  await append(from.calls, "a", [{ id: uuid(7), type: "Theirs" }]);
  const { output, code } = await annals(to, ["import", kurrent(from), "--json"]);
  expect(jsonLines(output)[0]).toMatchObject({ eventCount: 1, renamedCount: 1, different: [] });
  expect(code).toBe(0);
  const [, moved] = await stored(to);
  expect(moved).toMatchObject({ type: "Theirs", metadata: { "kurrentdb-id": uuid(7) } });
  expect(moved?.id).not.toBe(uuid(7));
});

test("what is different is named, with exit code 1", async () => {
  const [from, to] = [await server(), await server()];
  await append(from.calls, "a", [{ id: uuid(20) }, { id: uuid(21) }]);
  expect((await annals(to, ["import", kurrent(from)])).code).toBe(0);
  // Somebody copies an event's origin into another one.
  const metadata = { "import-source": `kurrentdb://${from.address}`, "import-position": "1" };
  await to.calls.unary(appendTo, { stream: "a", events: [{ type: "Forged", metadata }] });
  const { code, errors } = await annals(to, ["import", kurrent(from)]);
  expect(errors).toContain("different: stream a: 2 in the source, 3 in the store");
  expect(code).toBe(1);
});

test("a followed log arrives as it grows, through a restart of nothing but the command", async () => {
  const [from, to] = [await server(), await server()];
  const follow = async (until: (count: number) => boolean) => {
    const abort = new AbortController();
    const done = annals(to, ["follow", kurrent(from)], { signal: abort.signal });
    while (!until((await stored(to)).length)) await new Promise((go) => setTimeout(go, 20));
    abort.abort(new Error("stopped"));
    return done;
  };
  await append(from.calls, "a", [{ id: uuid(30) }]);
  const first = follow((count) => count === 3);
  await append(from.calls, "a", [{ id: uuid(31) }]);
  await append(from.calls, "b", [{ id: uuid(32) }]);
  expect((await first).errors).toMatch(/stored up to position \d+ of .*run the same command again/);
  await append(from.calls, "b", [{ id: uuid(33) }]);
  await follow((count) => count === 4);
  expect((await stored(to)).map(({ id }) => id)).toEqual([30, 31, 32, 33].map(uuid));
  expect((await annals(to, ["import", kurrent(from), "--json"])).code).toBe(0);
});

test("an UmaDB log arrives with its tags, ids, metadata and tracking", async () => {
  const [from, to] = [await server(), await server()];
  const { calls } = from;
  const metadata = [{ key: "by", value: "é" }];
  await calls.unary(DCB.method.append, {
    events: [
      { eventType: "A", tags: ["x", "y"], data: Buffer.of(0, 1), uuid: uuid(40), metadata },
      { eventType: "B", tags: [] },
    ],
    trackingInfo: { source: "upstream", position: 2n ** 60n },
  });
  // The same id again is another event there.
  await calls.unary(DCB.method.append, { events: [{ eventType: "A", uuid: uuid(40) }] });
  const { code, output } = await annals(to, ["import", `umadb://${from.address}`, "--json"]);
  expect(jsonLines(output)[0]).toMatchObject({ eventCount: 3, renamedCount: 1, different: [] });
  expect(code).toBe(0);
  const messages = (of: TestServer) => collect(of.calls.stream(DCB.method.read, {}));
  const plain = async (of: TestServer) =>
    (await messages(of)).flatMap((message) => message.events.map(({ event }) => event));
  const [there, here] = [await plain(from), await plain(to)];
  expect(here.map((event) => event?.data)).toEqual(there.map((event) => event?.data));
  expect(here.map((event) => event?.uuid)).toEqual(there.map((event) => event?.uuid));
  expect(here[0]?.tags).toEqual(["x", "y"]);
  expect(here[0]?.metadata.find(({ key }) => key === "by")?.value).toBe("é");
  const tracked = await to.calls.unary(DCB.method.getTrackingInfo, { source: "upstream" });
  expect(tracked.position).toBe(2n ** 60n);
});

test("a stream whose first events are gone keeps the right ones truncated", async () => {
  const [from, to] = [await server(), await server()];
  const five = Array.from({ length: 5 }, (_, i) => ({ id: uuid(50 + i) }));
  await append(from.calls, "a", five);
  const all = await events(from.calls, { streamOption: ofAll() });
  const second = all.find((event) => nameOf(event) === "a" && event.streamRevision === 1n);
  // Its first two events were never moved: the store counts from the third.
  await to.calls.unary(CheckpointService.method.saveCheckpoint, {
    consumer: `import:kurrentdb://${from.address}`,
    source: "kurrentdb",
    position: second?.commitPosition ?? 0n,
  });
  await annals(to, ["import", kurrent(from), "--no-compare"]);
  await append(from.calls, "$$a", [{ type: "$metadata", data: `{"$tb":3}` }]);
  await annals(to, ["import", kurrent(from), "--no-compare"]);
  const { stream } = await to.calls.unary(EventStoreService.method.getStream, { stream: "a" });
  expect(stream).toMatchObject({ version: 3n, eventCount: 2n });
  expect((await stored(to)).map(({ id }) => id)).toEqual([53, 54].map(uuid));
});

test.each([
  ["a source without a host", ["import", "kurrentdb://"], "names no host", 2],
  ["a source that is none", ["follow", "events.ndjson"], "names no source", 2],
  ["a certificate that is not checked", ["import", "esdb://h?tlsVerifyCert=false"], "tlsCAFile", 2],
  ["an authority that is not there", ["import", "esdb://h?tlsCAFile=/none"], "tlsCAFile", 1],
])("%s is refused in a sentence", async (_, argv, words, code) => {
  const answer = await annals(target, argv);
  expect(answer.errors).toContain(words);
  expect(answer.code).toBe(code);
});

test("a second import of a source that is under way is refused", async () => {
  const [from, to] = [await server(), await server()];
  await append(from.calls, "a", [{ id: uuid(60) }]);
  const abort = new AbortController();
  const running = annals(to, ["follow", kurrent(from)], { signal: abort.signal });
  while ((await to.calls.unary(getInfo, {})).head === 0n)
    await new Promise((go) => setTimeout(go, 10));
  // The other one has moved the checkpoint since this one began: it cannot go back.
  await to.calls.unary(CheckpointService.method.saveCheckpoint, {
    consumer: `import:kurrentdb://${from.address}`,
    source: "kurrentdb",
    position: 1_000_000n,
  });
  await append(from.calls, "a", [{ id: uuid(61) }]);
  const { code, errors } = await running;
  expect(errors).toContain(`another import of kurrentdb://${from.address} is under way`);
  expect(code).toBe(1);
});
