// Faults that other event stores shipped, each with its number there, asked of a real server over
// gRPC. What generated interleavings can show of them is in test/log/regressions.test.ts.
import { rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import type { SubscribeResponse } from "../../../src/gen/annals/v1/read_pb.js";
import { Calls, failedOf, nextOf } from "../../support/calls.ts";
import { scratchFolder, ServerProcess } from "../support/server-process.ts";

const method = EventStoreService.method;
const folder = scratchFolder("regressions");
let server: ServerProcess;
let calls: Calls;

async function start(): Promise<void> {
  server = await ServerProcess.start({ folder });
  expect(server.serves, server.log).toBe(true);
  calls = new Calls(`127.0.0.1:${server.port}`);
}

async function killAndStart(): Promise<void> {
  calls.close();
  await server.kill();
  await start();
}

beforeAll(start);
afterAll(async () => {
  calls.close();
  await server.kill();
  rmSync(folder, { recursive: true, force: true });
});

const append = (stream: string, count = 1) =>
  calls.unary(method.append, {
    stream,
    events: Array.from({ length: count }, () => ({ type: "Happened" })),
  });

type Selection = { stream: string } | { after: bigint; stream?: string };

function subscribe(selection: Selection) {
  const { stream } = selection;
  const call = calls.stream(method.subscribe, {
    ...(stream !== undefined && { selection: { case: "stream" as const, value: stream } }),
    ...("after" in selection && {
      start: { case: "afterPosition" as const, value: selection.after },
    }),
    checkpointInterval: { seconds: 0n, nanos: 100_000_000 },
  });
  return { call, messages: call[Symbol.asyncIterator]() };
}

function positionsIn({ message }: SubscribeResponse): bigint[] {
  return message.case === "batch" ? message.value.events.map(({ position }) => position) : [];
}

/** Positions of events until so many have come. */
async function events(
  messages: AsyncIterator<SubscribeResponse>,
  count: number,
): Promise<bigint[]> {
  const positions: bigint[] = [];
  while (positions.length < count) positions.push(...positionsIn(await nextOf(messages)));
  return positions;
}

async function until(
  messages: AsyncIterator<SubscribeResponse>,
  which: "caughtUp" | "checkpoint",
): Promise<bigint> {
  for (;;) {
    const { message } = await nextOf(messages);
    if (message.case === which) return message.value.position;
  }
}

describe("what other stores did, this one does not", () => {
  test("Kurrent #4115: caught-up comes on a stream that is empty", async () => {
    const { call, messages } = subscribe({ stream: "nothing-here" });
    expect(await until(messages, "caughtUp")).toBeGreaterThanOrEqual(0n);
    call.cancel();
  });

  test("Kurrent #4970: resuming after a checkpoint skips no event", async () => {
    await append("other", 5);
    const first = subscribe({ stream: "kept" });
    const checkpoint = await until(first.messages, "checkpoint");
    first.call.cancel();
    const { firstPosition } = await append("kept");
    expect(firstPosition).toBeGreaterThan(checkpoint);
    const resumed = subscribe({ after: checkpoint, stream: "kept" });
    expect(await events(resumed.messages, 1)).toEqual([firstPosition]);
    resumed.call.cancel();
  });

  test("Kurrent #1822: the last event comes by itself, not with the next one", async () => {
    const { call, messages } = subscribe({ stream: "last" });
    await until(messages, "caughtUp");
    for (let i = 0; i < 3; i++) {
      const { firstPosition } = await append("last");
      expect(await events(messages, 1)).toEqual([firstPosition]);
    }
    call.cancel();
  });

  test("Kurrent #1732: a reconnect after a kill brings nothing twice", async () => {
    const { firstPosition, lastPosition } = await append("twice", 4);
    const before = subscribe({ stream: "twice" });
    const seen = await events(before.messages, 4);
    expect([seen[0], seen[3]]).toEqual([firstPosition, lastPosition]);
    await killAndStart();
    const next = await append("twice");
    const after = subscribe({ after: lastPosition, stream: "twice" });
    expect(await events(after.messages, 1)).toEqual([next.firstPosition]);
    after.call.cancel();
  });

  test("commanded #327: nothing is passed over where catching up ends", async () => {
    const { firstPosition } = await append("live", 500);
    const { call, messages } = subscribe({ after: firstPosition - 1n });
    const appends = Promise.all(Array.from({ length: 20 }, () => append("live", 3)));
    const seen = await events(messages, 560);
    await appends;
    expect(seen).toEqual(Array.from({ length: seen.length }, (_, i) => firstPosition + BigInt(i)));
    call.cancel();
  });

  test("Eventuous #222, Marten #1629: concurrent commits leave no gap to be seen", async () => {
    const { head } = await calls.unary(method.getInfo, {});
    const { call, messages } = subscribe({ after: head });
    const answers = Promise.all(Array.from({ length: 60 }, (_, i) => append(`gap-${i}`, 2)));
    const seen = await events(messages, 120);
    await answers;
    expect(seen).toEqual(Array.from({ length: 120 }, (_, i) => head + 1n + BigInt(i)));
    call.cancel();
  });

  test("nats #7564: what was answered is there after a kill at once", async () => {
    const { lastPosition } = await append("at-once", 10);
    await killAndStart();
    const { head } = await calls.unary(method.getInfo, {});
    expect(head).toBeGreaterThanOrEqual(lastPosition);
  });

  test("AxonFramework #4050: the same id is stored once, also over a kill", async () => {
    const id = crypto.randomUUID();
    const request = { stream: "same-id", events: [{ id, type: "Happened" }] };
    const [one, two] = await Promise.all([
      calls.unary(method.append, request),
      calls.unary(method.append, request),
    ]);
    await killAndStart();
    const three = await calls.unary(method.append, request);
    expect([two.firstPosition, three.firstPosition]).toEqual([
      one.firstPosition,
      one.firstPosition,
    ]);
    expect(three.deduplicated).toBe(true);
    const other = { ...request, events: [{ id, type: "Other" }] };
    expect(await failedOf(calls.unary(method.append, other))).toMatchObject({ code: 6 });
  });

  test("etcd #17529: a subscriber that is slow gets everything in the end", async () => {
    const { head } = await calls.unary(method.getInfo, {});
    const { call, messages } = subscribe({ after: head });
    for (let i = 0; i < 30; i++) await append("slow", 100);
    const seen = await events(messages, 3_000);
    expect(seen).toEqual(Array.from({ length: 3_000 }, (_, i) => head + 1n + BigInt(i)));
    call.cancel();
  });
});
