// Persistent subscriptions as a whole: created, described, updated and deleted, over a restart, and
// as consumer groups of the log.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../../../src/server.ts";
import { Calls } from "../../../support/calls.ts";
import { configOf, recordingLogger, type TestServer } from "../../../support/running-server.ts";
import { append, named, startKurrent, trailersOf } from "../kurrent-client.ts";
import {
  bySource,
  create,
  infoOf,
  p,
  place,
  Reader,
  texts,
  types,
  usual,
} from "./persistent-client.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

describe("a subscription", () => {
  test("that exists is not created, and one that does not exist is not found", async () => {
    const missing = {
      code: 5,
      details: "Subscription group g on stream s does not exist.",
      exception: "persistent-subscription-does-not-exist",
      "stream-name": "s",
      "group-name": "g",
    };
    expect(await trailersOf(server.calls.unary(p.delete, { options: bySource }))).toEqual(missing);
    expect(await trailersOf(infoOf(server.calls))).toEqual(missing);
    expect(await trailersOf(new Reader(server.calls).next())).toEqual(missing);
    await create(server.calls);
    expect(await trailersOf(create(server.calls))).toEqual({
      ...missing,
      code: 6,
      details: "Subscription group g on stream s exists.",
      exception: "persistent-subscription-exists",
    });
  });

  test("that is deleted drops its consumers, and may be created again", async () => {
    await create(server.calls);
    const reader = await new Reader(server.calls).confirmed();
    await server.calls.unary(p.delete, { options: bySource });
    expect(await trailersOf(reader.next())).toMatchObject({
      code: 1,
      exception: "persistent-subscription-dropped",
    });
    await create(server.calls);
    expect((await infoOf(server.calls))?.status).toBe("Live");
  });

  test("is described by the settings it was given, and by those of an update", async () => {
    await create(server.calls, { resolveLinks: true, liveBufferSize: 7 }, 4n);
    expect(await infoOf(server.calls)).toMatchObject({
      startFrom: "4",
      resolveLinkTos: true,
      liveBufferSize: 7,
      maxRetryCount: 10,
      messageTimeoutMilliseconds: 30_000,
      namedConsumerStrategy: "RoundRobin",
    });
    const settings = { maxRetryCount: 3, namedConsumerStrategy: 2 };
    const value = { streamIdentifier: named("s") };
    await server.calls.unary(p.update, {
      options: { ...place, streamOption: { case: "stream", value }, settings },
    });
    expect(await infoOf(server.calls)).toMatchObject({
      maxRetryCount: 3,
      namedConsumerStrategy: "Pinned",
      startFrom: "4",
    });
    const { subscriptions } = await server.calls.unary(p.list, {
      options: { listOption: { case: "listAllSubscriptions", value: {} } },
    });
    expect(subscriptions.map(({ eventSource, groupName }) => [eventSource, groupName])).toEqual([
      ["s", "g"],
    ]);
  });

  test("with a strategy that there is not is refused by name", async () => {
    const refused = await trailersOf(create(server.calls, { consumerStrategy: "Fair" }));
    expect(refused["details"]).toMatch(/^the consumer strategy Fair is none of RoundRobin, /);
  });

  test("to all streams delivers what its filter wants, and settles the rest", async () => {
    await append(server.calls, "s", types("A", "b", "AB"));
    const filter = { case: "eventType", value: { regex: "^(?!b)[A-Z]+$" } } as const;
    const filterOption = {
      case: "filter",
      // Some clients send no interval of checkpoints: there are none.
      value: { filter },
    } as const;
    const value = { allOption: { case: "start", value: {} }, filterOption } as const;
    await server.calls.unary(p.create, {
      options: { groupName: "g", streamOption: { case: "all", value }, settings: usual },
    });
    const reader = await new Reader(server.calls, 10, "all").confirmed();
    const got = await reader.get(2);
    expect(texts(got)).toEqual(["A 0", "AB 0"]);
    reader.ack(...got);
    const options = { streamOption: { case: "all", value: {} }, groupName: "g" } as const;
    const position = async () =>
      (await server.calls.unary(p.getInfo, { options })).subscriptionInfo
        ?.lastCheckpointedEventPosition;
    await expect.poll(position).toMatch(/^C:[45]\/P:[45]$/);
    reader.cancel();
  });

  test("to all events of a type delivers each once, with its link", async () => {
    const all = Array.from({ length: 30 }, (_, i) => ({ type: i % 3 === 0 ? "other" : "T" }));
    await append(server.calls, "a", all);
    const streamIdentifier = named("$et-T");
    const value = { streamIdentifier, revisionOption: { case: "start", value: {} } } as const;
    const settings = { ...usual, resolveLinks: true };
    await server.calls.unary(p.create, {
      options: { groupName: "g", streamOption: { case: "stream", value }, settings },
    });
    const reader = await new Reader(server.calls, 4, "$et-T").confirmed();
    await append(server.calls, "b", [{ type: "T" }]);
    const ids = new Set<string>();
    while (ids.size < 21) {
      const got = await reader.get(1);
      expect(texts(got)).toEqual(["T 0"]);
      for (const { id } of got) ids.add(id);
      reader.ack(...got);
    }
    const streamOption = { case: "streamIdentifier", value: streamIdentifier } as const;
    const options = { streamOption, groupName: "g" };
    const info = async () => (await server.calls.unary(p.getInfo, { options })).subscriptionInfo;
    await expect.poll(info).toMatchObject({ totalInFlightMessages: 0, totalItems: 21n });
    reader.cancel();
  });

  test.for(["start", 0n, 1n, 2n, 3n, 9n] as const)(
    "from %s on delivers what a policy has left from there on",
    async (start) => {
      await append(server.calls, "s", types("A", "B", "C"));
      await append(server.calls, "$$s", [{ type: "$metadata", data: '{"$maxCount":1}' }]);
      await create(server.calls, {}, start);
      await append(server.calls, "$$s", [{ type: "$metadata", data: '{"$maxCount":9}' }]);
      await append(server.calls, "s", types("D", "E", "F", "G", "H", "I", "J"));
      const reader = await new Reader(server.calls).confirmed();
      const left = ["C 0", "D 0", "E 0", "F 0", "G 0", "H 0", "I 0", "J 0"];
      const expected = left.slice(start === "start" ? 0 : Math.max(0, Number(start) - 2));
      expect(texts(await reader.get(expected.length))).toEqual(expected);
    },
  );

  test("is a consumer group of annals.v1, and its settings are in no read of all streams there", async () => {
    await append(server.calls, "s", types("A"));
    await create(server.calls);
    const { head } = await server.calls.unary(EventStoreService.method.getInfo, {});
    expect(head).toBe(3n);
    const messages = [];
    const read = server.calls.stream(EventStoreService.method.read, {});
    for await (const { message } of read) messages.push(message);
    const batches = messages.flatMap((one) => (one.case === "batch" ? one.value.events : []));
    expect(batches.map(({ type }) => type)).toEqual(["A"]);
  });
});

test("what was settled stays settled over a restart of the server", async () => {
  const folder = mkdtempSync(join(tmpdir(), "annals-"));
  const config = configOf("--data", folder, "--port", "0", "--protocol", "kurrentdb");
  const { logger } = recordingLogger();
  const first = await startServer(config, logger);
  const before = new Calls(first.addresses[0] ?? "");
  await append(before, "s", types("A", "B", "C"));
  await create(before, { maxRetryCount: 5 });
  const reader = await new Reader(before, 2).confirmed();
  const got = await reader.get(2);
  reader.ack(...got.slice(0, 1));
  await expect.poll(async () => (await infoOf(before))?.lastCheckpointedEventPosition).toBe("0");
  await first.stop();
  before.close();
  const second = await startServer(config, logger);
  const after = new Calls(second.addresses[0] ?? "");
  const again = await new Reader(after).confirmed();
  expect(texts(await again.get(2)).map((text) => text[0])).toEqual(["B", "C"]);
  expect(await infoOf(after)).toMatchObject({ maxRetryCount: 5 });
  again.cancel();
  after.close();
  await second.stop();
  rmSync(folder, { recursive: true });
});
