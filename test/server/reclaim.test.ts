// The space of removed events over a real socket and on a real disk: it is given back while the
// server serves, everything else stays as it was, and what was done can be read.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { status as Code } from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, test } from "vitest";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { View } from "../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { openLevelStorage } from "../../src/storage/leveldb/open.ts";
import { verifyFolder } from "../../src/storage/leveldb/offline/verify-folder.ts";
import { jsonLines, run } from "../cli/captured-terminal.ts";
import { collect, failedOf } from "../support/calls.ts";
import { Consumer, shortly } from "../grpc/services/group-consumer.ts";
import { idOf } from "../support/events.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { filesOf } from "../support/store-folder.ts";

const m = {
  ...EventStoreService.method,
  ...StreamService.method,
  ...ConsumerGroupService.method,
  ...CheckpointService.method,
};

let folder: string;
let server: TestServer;

async function start(): Promise<TestServer> {
  const openStorage = () =>
    openLevelStorage({
      folder,
      reclaim: {
        bytesPerSecond: Number.POSITIVE_INFINITY,
        delayMs: 0,
        pauseMs: 1,
        compactBytesMin: 0,
      },
    });
  return startTestServer([], { openStorage });
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "annals-shrink-"));
  server = await start();
});
afterEach(async () => {
  await server.stop();
  await rm(folder, { recursive: true });
});

function eventOf(number: number, text: string) {
  const data = Buffer.alloc(2_000);
  for (let i = 0; i < data.length; i++) data[i] = (number * 7_919 + i * i * 31) >>> 3;
  data.write(text);
  return { id: idOf(0xbe_0000 + number), type: "T", data, metadata: { who: text } };
}

function append(stream: string, those: readonly number[], text = "first words") {
  const events = those.map((number) => {
    const { data, ...event } = eventOf(number, text);
    return { ...event, payload: { case: "data" as const, value: data } };
  });
  return server.calls.unary(m.append, { stream, events });
}

function upFrom(from: number, count: number): number[] {
  return Array.from({ length: count }, (_, i) => from + i);
}

async function eventsOf(stream: string) {
  const selection = { case: "stream", value: stream } as const;
  const messages = await collect(server.calls.stream(m.read, { selection, view: View.JSON }));
  return messages.flatMap(({ message }) => (message.case === "batch" ? message.value.events : []));
}

async function bytesOnDisk(): Promise<number> {
  return (await filesOf(join(folder, "log"))).reduce((sum, { bytes }) => sum + bytes, 0);
}

async function reclaimed(count: bigint): Promise<void> {
  for (;;) {
    const { reclaiming } = await server.calls.unary(m.getInfo, {});
    if ((reclaiming?.events ?? 0n) >= count) return;
  }
}

test("removed events that a group had read ahead are given to no member, nor waited for", async () => {
  await append("kept", [1]);
  await append("secret", upFrom(10, 200));
  await append("also-kept", [2]);
  await server.calls.unary(m.createGroup, {
    name: "g",
    settings: { lease: { seconds: 3_600n } },
  });
  const first = Consumer.join(server.calls, "g", { permits: 2 });
  const [kept, secret] = await first.next(2);
  if (kept === undefined || secret === undefined) return expect.unreachable();
  const delay = { seconds: 86_400n };
  first.say({ case: "nack", value: { tokens: [secret.token], delay } });
  const [alsoKept] = await first.next();
  if (alsoKept === undefined) return expect.unreachable();
  await server.calls.unary(m.deleteStream, { stream: "secret", permanent: true });
  await reclaimed(200n);
  const second = Consumer.join(server.calls, "g", { permits: 100 });
  first.ack(kept, alsoKept);
  const who = { case: "group", value: "g" } as const;
  await server.calls.unary(m.waitFor, { who, position: 202n });
  const { group } = await server.calls.unary(m.getGroup, { name: "g" });
  expect(group).toMatchObject({ lagEvents: 0n, inFlightCount: 0 });
  expect(shortly([...first.deliveries, ...second.deliveries])).toEqual(["1", "2", "202"]);
  for (const consumer of [first, second]) consumer.pipe.cancel();
});

test("an answer tells removed events from events that never existed", async () => {
  await append("orders", upFrom(0, 6));
  await append("others", upFrom(100, 2));
  const policy = { truncateBefore: 4n };
  await server.calls.unary(m.updateStream, { stream: "orders", policy });
  const told = async (view: View) => {
    const messages = await collect(server.calls.stream(m.read, { withRemoved: true, view }));
    const events = messages.flatMap(({ message }) =>
      message.case === "batch" ? message.value.events : [],
    );
    return events.map(({ position, removed, data, metadata, contentType }) => {
      const bare = data.length === 0 && contentType === "" && Object.keys(metadata).length === 0;
      return [Number(position), Number(removed?.policyPosition ?? 0), bare] as const;
    });
  };
  const expected = [
    ...[1, 2, 3].map((position) => [position, 9, true]),
    ...[4, 5, 6, 7, 8].map((position) => [position, 0, false]),
  ];
  expect(await told(View.FULL)).toEqual(expected);
  await reclaimed(3n);
  expect(await told(View.FULL)).toEqual(expected);
  expect(await told(View.JSON)).toEqual(expected);
  const address = ["--address", server.address];
  const { code, output } = await run(["verify", "--json", ...address]);
  expect([code, jsonLines(output)]).toMatchObject([
    0,
    [{ sound: true, head: Number((await server.calls.unary(m.getInfo, {})).head), events: 5 }],
  ]);
  const lines = await run([
    "read",
    "orders",
    "--with-removed",
    "--limit",
    "4",
    "--json",
    ...address,
  ]);
  expect(jsonLines(lines.output).map(({ removed }) => removed)).toEqual([
    ...[1, 2, 3].map(() => ({
      policyPosition: 9,
      contentSha256: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
    })),
    undefined,
  ]);
  const table = await run(["read", "orders", "--with-removed", "--limit", "1", ...address]);
  expect(table.output).toContain("(removed, by position 9)");
});

test("a server is sound whose streams have no events left", async () => {
  await append("orders", upFrom(0, 3));
  await append("others", upFrom(100, 2));
  await server.calls.unary(m.deleteStream, { stream: "orders" });
  await server.calls.unary(m.deleteStream, { stream: "others", permanent: true });
  const { output } = await run(["verify", "--json", "--address", server.address]);
  expect(jsonLines(output)).toMatchObject([{ events: 0, types: 1, sound: true, findings: [] }]);
  const { eventTypes } = await server.calls.unary(m.listEventTypes, {});
  expect(eventTypes).toMatchObject([
    { type: "T", recordedCount: 5n, firstPosition: 1n, lastPosition: 5n },
  ]);
});

test("a snapshot outlives the space of the events it stands for", async () => {
  await append("orders", upFrom(0, 8));
  const state = { case: "data", value: Buffer.from("five of them") } as const;
  const contentType = "application/octet-stream";
  const saved = { stream: "orders", version: 5n, contentType, state };
  await server.calls.unary(m.saveSnapshot, saved);
  const policy = { truncateBefore: 6n };
  await server.calls.unary(m.updateStream, { stream: "orders", policy });
  await reclaimed(5n);
  for (let restart = 0; restart < 2; restart++) {
    const parts = await collect(server.calls.stream(m.load, { stream: "orders" }));
    const told = parts.map(({ message: { case: kind, value } }) =>
      kind === "batch" ? value.events.map(({ version }) => Number(version)) : [kind],
    );
    expect(told).toEqual([["snapshot"], [6, 7, 8], ["end"]]);
    const { snapshot } = await server.calls.unary(m.getSnapshot, { stream: "orders" });
    expect(snapshot?.version).toBe(5n);
    await server.stop();
    server = await start();
  }
});

test("a truncated stream gives its space back, and all else is as it was", async () => {
  for (let i = 0; i < 20; i++) {
    await append("orders", upFrom(i * 50, 50));
    await append("others", upFrom(10_000 + i * 5, 5));
  }
  await server.stop();
  const before = await bytesOnDisk();
  server = await start();
  const others = await eventsOf("others");
  const policy = { truncateBefore: 996n };
  await server.calls.unary(m.updateStream, { stream: "orders", policy, actor: "ann" });
  const left = await eventsOf("orders");
  expect(left.map(({ version }) => Number(version))).toEqual([996, 997, 998, 999, 1_000]);
  await reclaimed(995n);

  expect(await eventsOf("orders")).toEqual(left);
  expect(await eventsOf("others")).toEqual(others);
  // A retry of what was removed is still known by its ids, and told from other words.
  const again = await append("orders", upFrom(0, 50));
  expect(again).toMatchObject({ deduplicated: true, firstPosition: 1n, lastPosition: 50n });
  const other = await failedOf(append("orders", upFrom(0, 50), "other words"));
  expect(other).toMatchObject({ code: Code.ALREADY_EXISTS, reason: "EVENT_ID_CONFLICT" });
  // The log records who removed what, and when.
  const removals = await eventsOf("$removals");
  expect(removals.length).toBeGreaterThan(0);
  for (const { type, json } of removals) {
    expect(type).toBe("$EventsRemoved");
    expect(json && toJson(ValueSchema, json)).toMatchObject({
      streams: [{ stream: "orders", before: 996, policy: 1_101 }],
    });
  }
  const { reclaiming } = await server.calls.unary(m.getInfo, {});
  expect(reclaiming?.events).toBe(995n);
  expect(reclaiming?.bytesFreed).toBeGreaterThan(995n * 3_800n);

  await server.stop();
  expect(await bytesOnDisk()).toBeLessThan(before / 2);
  expect((await verifyFolder(folder)).findings).toEqual([]);
  server = await start();
  expect(await eventsOf("orders")).toEqual(left);
  expect(await eventsOf("others")).toEqual(others);
});
