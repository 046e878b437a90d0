// Parked events of a group over a real connection, and waiting for a group.
import { toJson } from "@bufbuild/protobuf";
import { describe, expect, test } from "vitest";
import { CheckpointService } from "../../../src/gen/annals/v1/checkpoint_service_pb.js";
import {
  ConsumerGroupService,
  ListParkedResponseSchema,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { View } from "../../../src/gen/annals/v1/event_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { Consumer, shortly } from "./group-consumer.ts";
import { calls, fieldsOf, fresh, get, groupOver, useServer } from "./group-server.ts";

const { append } = EventStoreService.method;
const groups = ConsumerGroupService.method;
const { waitFor } = CheckpointService.method;

useServer();

describe("parked events", () => {
  test("keep reason and attempts, are listed in pages and views, replayed and discarded", async () => {
    const name = fresh();
    const first = await groupOver(name, "aabc", { attemptsMax: 1 });
    const worker = Consumer.join(calls(), name);
    const early = await worker.next(3);
    worker.nack(early.slice(0, 1), "cannot\nparse");
    worker.say({
      case: "park",
      value: { tokens: early.slice(1).map(({ token }) => token), reason: "aside" },
    });
    // The poison event does not block its own key.
    expect(shortly(await worker.next())).toEqual([`${first + 1}`]);
    await worker.until(() => worker.settled.length === 3);
    const page = await calls().unary(groups.listParked, { group: name, pageSize: 2 });
    expect(page.parked).toMatchObject([
      { position: BigInt(first), attempts: 1, reason: "cannot\nparse", event: { type: name } },
      { position: BigInt(first + 2), attempts: 1, reason: "aside" },
    ]);
    const { nextPageToken: pageToken, epoch } = page;
    expect(epoch).toMatch(/^[0-9a-f]{16}$/);
    const rest = await calls().unary(groups.listParked, { group: name, pageToken });
    expect(rest).toMatchObject({ parked: [{ position: BigInt(first + 3) }], nextPageToken: "" });
    const json = toJson(ListParkedResponseSchema, rest) as { parked: object[] };
    expect(json.parked[0]).toMatchObject({ reason: "aside", event: { stream: `${name}-c` } });

    const replayed = await calls().unary(groups.replayParked, {
      group: name,
      positions: [BigInt(first), 1_000_000n],
      epoch,
    });
    expect(replayed.replayedCount).toBe(1n);
    worker.ack(...worker.deliveries.slice(-1));
    expect(shortly(await worker.next())).toEqual([`${first}`]);
    const discarded = await calls().unary(groups.discardParked, {
      group: name,
      positions: [BigInt(first + 2)],
    });
    expect(discarded.discardedCount).toBe(1n);
    const all = await calls().unary(groups.replayParked, { group: name });
    expect(all.replayedCount).toBe(1n);
    expect(shortly(await worker.next())).toEqual([`${first + 3}`]);
    expect((await get(name)).parkedCount).toBe(0n);
    worker.pipe.cancel();
  });

  test("that are large come in pages that fit a client", async () => {
    const name = fresh();
    const payload = { case: "data", value: Buffer.alloc(700_000) } as const;
    for (let i = 0; i < 5; i++) {
      await calls().unary(append, { stream: name, events: [{ type: name, payload }] });
    }
    await groupOver(name, "", { ordering: { key: { case: "none", value: {} } } });
    const worker = Consumer.join(calls(), name);
    const tokens = (await worker.next(5)).map(({ token }) => token);
    worker.say({ case: "park", value: { tokens } });
    await worker.until(() => worker.settled.length === 5);
    worker.pipe.cancel();
    const counts: number[] = [];
    for (let pageToken = ""; ;) {
      const page = await calls().unary(groups.listParked, { group: name, pageToken });
      counts.push(page.parked.length);
      pageToken = page.nextPageToken;
      if (pageToken === "") break;
    }
    expect(counts).toEqual([1, 1, 1, 1, 1]);
    const headers = { group: name, view: View.HEADERS };
    const page = await calls().unary(groups.listParked, headers);
    expect(page.parked.length).toBeGreaterThan(1);
  });

  test.each([
    [{ positions: [0n] }, "positions[0]"],
    [{ positions: [2n ** 60n] }, "positions[0]"],
    [{ positions: Array.from({ length: 1_001 }, (_, i) => BigInt(i + 1)) }, "positions"],
  ])("of impossible positions are refused by field", async (request, field) => {
    const name = fresh();
    await groupOver(name, "");
    const asked = { group: name, ...request };
    const failures = [
      calls().failure(groups.replayParked, asked),
      calls().failure(groups.discardParked, asked),
    ];
    for (const failure of await Promise.all(failures)) expect(fieldsOf(failure)).toEqual([field]);
    const elsewhere = { group: name, positions: [1n], epoch: "0123456789abcdef" };
    const mismatches = [
      calls().failure(groups.replayParked, elsewhere),
      calls().failure(groups.discardParked, elsewhere),
    ];
    for (const failure of await Promise.all(mismatches)) {
      expect(failure).toMatchObject({ code: 9, reason: "EPOCH_MISMATCH" });
    }
    const view = await calls().failure(groups.listParked, { group: name, view: 9 as View });
    expect(fieldsOf(view)).toEqual(["view"]);
  });

  test("stay parked through a reset, and come again where they lie after the new start", async () => {
    const name = fresh();
    const first = await groupOver(name, "ab", { attemptsMax: 1 });
    const worker = Consumer.join(calls(), name);
    const [bad, held] = await worker.next(2);
    if (bad === undefined || held === undefined) return expect.unreachable();
    worker.nack([bad]);
    await worker.until(() => worker.settled.length === 1);
    const start = { case: "afterPosition", value: BigInt(first - 1) } as const;
    const { group } = await calls().unary(groups.resetGroup, { name, start: { start } });
    expect(group).toMatchObject({ parkedCount: 1n, lagEvents: 2n });
    worker.ack(held);
    await worker.until(() => worker.refused.length === 1);
    expect(shortly(await worker.next(2))).toEqual([`${first}`, `${first + 1}`]);
    const beyond = { start: { case: "afterPosition", value: 1_000_000n } as const };
    const failure = await calls().failure(groups.resetGroup, { name, start: beyond });
    expect(failure).toMatchObject({ code: 11, reason: "BEYOND_HEAD" });
    worker.pipe.cancel();
  });
});

test("WaitFor a group answers once everything up to the position is settled", async () => {
  const name = fresh();
  const first = await groupOver(name, "ab");
  const worker = Consumer.join(calls(), name);
  const both = await worker.next(2);
  const who = { case: "group", value: name } as const;
  const position = BigInt(first + 1);
  const brief = { who, position, timeout: { nanos: 20_000_000 } };
  expect(await calls().failure(waitFor, brief)).toMatchObject({ code: 4 });
  const waiting = calls().unary(waitFor, { who, position });
  worker.ack(...both);
  expect((await waiting).position).toBeGreaterThanOrEqual(position);
  worker.pipe.cancel();
});
