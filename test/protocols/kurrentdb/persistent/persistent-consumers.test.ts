// Consumers of persistent subscriptions, over a real socket: what they get, and what becomes of what
// they acknowledge, refuse and leave behind.
import { setTimeout } from "node:timers/promises";
import { Metadata } from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { leaseMsOf } from "../../../../src/protocols/kurrentdb/persistent/settings.ts";
import type { TestServer } from "../../../support/running-server.ts";
import { append, startKurrent, trailersOf } from "../kurrent-client.ts";
import { bySource, create, infoOf, p, Reader, texts, types } from "./persistent-client.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startKurrent();
});
afterEach(() => server.stop());

describe("a consumer", () => {
  test("gets history and then what is new, and what it acknowledges is not delivered again", async () => {
    await append(server.calls, "s", types("A", "B"));
    await create(server.calls);
    const first = await new Reader(server.calls).confirmed();
    const got = await first.get(2);
    expect(texts(got)).toEqual(["A 0", "B 0"]);
    first.ack(...got);
    await append(server.calls, "s", types("C"));
    expect(texts(await first.get(1))).toEqual(["C 0"]);
    first.cancel();
    const second = await new Reader(server.calls).confirmed();
    expect((await second.get(1))[0]?.text).toMatch(/^C /);
    second.cancel();
  });

  test.each<["start" | "end" | bigint, string[]]>([
    ["start", ["A 0", "B 0", "C 0", "D 0"]],
    [1n, ["B 0", "C 0", "D 0"]],
    ["end", ["C 0", "D 0"]],
    [3n, ["D 0"]],
  ])("begins at %s", async (start, wanted) => {
    await append(server.calls, "s", types("A", "B"));
    await create(server.calls, {}, start);
    await append(server.calls, "s", types("C", "D"));
    const reader = await new Reader(server.calls).confirmed();
    expect(texts(await reader.get(wanted.length))).toEqual(wanted);
    reader.cancel();
  });

  test("that has as many events in flight as it asked for gets no more until it answers", async () => {
    await append(server.calls, "s", types("A", "B", "C"));
    await create(server.calls);
    const reader = await new Reader(server.calls, 2).confirmed();
    const got = await reader.get(2);
    expect(await infoOf(server.calls)).toMatchObject({
      totalInFlightMessages: 2,
      connections: [{ availableSlots: 0 }],
    });
    reader.ack(...got.slice(0, 1));
    expect(texts(await reader.get(1))).toEqual(["C 0"]);
    reader.cancel();
  });

  test("gets an event again that it asks to retry, until it is parked and replayed", async () => {
    await append(server.calls, "s", types("A"));
    await create(server.calls, { maxRetryCount: 1 });
    const reader = await new Reader(server.calls).confirmed();
    reader.nack(2, ...(await reader.get(1)));
    const again = await reader.get(1);
    expect(texts(again)).toEqual(["A 1"]);
    reader.nack(2, ...again);
    await expect.poll(async () => (await infoOf(server.calls))?.parkedMessageCount).toBe(1n);
    const stopAtOption = { case: "noLimit", value: {} } as const;
    await server.calls.unary(p.replayParked, { options: { ...bySource, stopAtOption } });
    const replayed = await reader.get(1);
    expect(replayed[0]?.text).toMatch(/^A /);
    reader.ack(...replayed);
    await expect.poll(async () => (await infoOf(server.calls))?.parkedMessageCount).toBe(0n);
    reader.cancel();
  });

  test("gets what it asks to retry before later events", async () => {
    const all = Array.from({ length: 40 }, (_, i) => `E${i}`);
    await append(server.calls, "s", types(...all, "last"));
    await create(server.calls);
    const reader = await new Reader(server.calls, 10).confirmed();
    const seen = new Set<string>();
    const got: string[] = [];
    while (got.at(-1) !== "last 0") {
      const [one] = await reader.get(1);
      if (one === undefined) break;
      got.push(one.text);
      // Of 20 events, each is skipped; of the others, each is asked for once more.
      const isRetried = seen.size >= 20 && !seen.has(one.id);
      if (isRetried && one.text !== "last 0") reader.nack(2, one);
      else reader.ack(one);
      seen.add(one.id);
    }
    expect(got).toHaveLength(61);
    reader.cancel();
  });

  test("is told of by its connection's name, its user and its times", async () => {
    await append(server.calls, "s", types("A", "B", "C"));
    await create(server.calls, { extraStatistics: true });
    const headers = new Metadata();
    headers.set("connection-name", "the shop's");
    headers.set("authorization", `Basic ${Buffer.from("alice:secret").toString("base64")}`);
    const reader = await new Reader(server.calls, 10, "s", "g", headers).confirmed();
    const connection = async () => (await infoOf(server.calls))?.connections[0];
    expect(await connection()).toMatchObject({ observedMeasurements: [], totalItems: 3n });
    reader.ack(...(await reader.get(3)));
    await expect.poll(async () => (await connection())?.inFlightMessages).toBe(0);
    const { username, connectionName, observedMeasurements } = (await connection()) ?? {};
    expect({ username, connectionName }).toEqual({
      username: "alice",
      connectionName: "the shop's",
    });
    const keys = observedMeasurements?.map(({ key }) => key);
    expect(keys).toEqual(expect.arrayContaining(["Mean", "Quintile 3", "99.9%", "Highest"]));
    reader.cancel();
    const plain = await new Reader(server.calls).confirmed();
    await expect.poll(connection).toMatchObject({ username: "", connectionName: "" });
    plain.cancel();
  });

  test("gets a parked link again", async () => {
    await append(server.calls, "s", [{ type: "$>", data: "0@other" }]);
    await create(server.calls);
    const reader = await new Reader(server.calls).confirmed();
    reader.nack(1, ...(await reader.get(1)));
    while ((await infoOf(server.calls))?.parkedMessageCount !== 1n) await setTimeout(20);
    const stopAtOption = { case: "noLimit", value: {} } as const;
    await server.calls.unary(p.replayParked, { options: { ...bySource, stopAtOption } });
    expect(texts(await reader.get(1))).toEqual(["$> 0"]);
    reader.cancel();
  });

  test("parks, and skips", async () => {
    await append(server.calls, "s", types("A", "B", "C"));
    await create(server.calls);
    const reader = await new Reader(server.calls).confirmed();
    const got = await reader.get(3);
    reader.nack(1, ...got.slice(0, 2));
    reader.nack(3, ...got.slice(2));
    await expect.poll(async () => (await infoOf(server.calls))?.parkedMessageCount).toBe(2n);
    const stopAtOption = { case: "stopAt", value: 1n } as const;
    await server.calls.unary(p.replayParked, { options: { ...bySource, stopAtOption } });
    expect((await reader.get(1))[0]?.text).toMatch(/^A /);
    expect(await infoOf(server.calls)).toMatchObject({
      parkedMessageCount: 1n,
      lastCheckpointedEventPosition: "2",
    });
    reader.cancel();
  });

  test("that says nothing loses its events after the timeout, and gets them once more", async () => {
    await append(server.calls, "s", types("A"));
    await create(server.calls, {
      messageTimeout: { case: "messageTimeoutTicks", value: 3_000_000n },
    });
    const reader = await new Reader(server.calls, 1).confirmed();
    expect(texts(await reader.get(2))).toEqual(["A 0", "A 1"]);
    reader.cancel();
  });

  test.each([
    [0, 12 * 3_600_000],
    [1, 1_000],
    [999, 1_000],
    [1_001, 1_001],
    [13 * 3_600_000, 12 * 3_600_000],
  ])("that was given %i ms for an event has %i", (messageTimeoutMs, leaseMs) => {
    expect(leaseMsOf({ messageTimeoutMs })).toBe(leaseMs);
  });

  test("that says nothing gets the next event when one is parked for that", async () => {
    await append(server.calls, "s", types("A", "B"));
    const messageTimeout = { case: "messageTimeoutMs", value: 300 } as const;
    await create(server.calls, { messageTimeout, maxRetryCount: 1 });
    const reader = await new Reader(server.calls, 1).confirmed();
    expect(texts(await reader.get(3))).toEqual(["A 0", "A 1", "B 0"]);
    reader.cancel();
  });

  test("that leaves gives its events to another one", async () => {
    await append(server.calls, "s", types("A", "B"));
    await create(server.calls, { consumerStrategy: "DispatchToSingle" });
    const first = await new Reader(server.calls).confirmed();
    expect(await first.get(2)).toHaveLength(2);
    const second = await new Reader(server.calls).confirmed();
    first.cancel();
    expect(texts(await second.get(2)).map((text) => text[0])).toEqual(["A", "B"]);
    second.cancel();
  });

  test("that stops is told so", async () => {
    await append(server.calls, "s", types("A"));
    await create(server.calls);
    const reader = await new Reader(server.calls).confirmed();
    reader.nack(4, ...(await reader.get(1)));
    expect(await trailersOf(reader.next())).toMatchObject({
      code: 1,
      exception: "persistent-subscription-dropped",
    });
  });
});

describe("several consumers", () => {
  const both = async () => {
    const readers = [
      await new Reader(server.calls).confirmed(),
      await new Reader(server.calls).confirmed(),
    ];
    return readers as [Reader, Reader];
  };

  test("take turns with RoundRobin", async () => {
    await create(server.calls);
    const [a, b] = await both();
    await append(server.calls, "s", types("A", "B", "C", "D"));
    expect([texts(await a.get(2)), texts(await b.get(2))]).toEqual([
      ["A 0", "C 0"],
      ["B 0", "D 0"],
    ]);
    a.cancel();
    b.cancel();
  });

  test("are used one after another with DispatchToSingle", async () => {
    await create(server.calls, { consumerStrategy: "DispatchToSingle" });
    const a = await new Reader(server.calls, 2).confirmed();
    const b = await new Reader(server.calls, 2).confirmed();
    await append(server.calls, "s", types("A", "B", "C"));
    expect([texts(await a.get(2)), texts(await b.get(1))]).toEqual([["A 0", "B 0"], ["C 0"]]);
    a.cancel();
    b.cancel();
  });

  test("with PinnedByCorrelation, one of them gets all events of a correlation", async () => {
    await create(server.calls, { consumerStrategy: "PinnedByCorrelation" });
    const [a, b] = await both();
    const metadata = (id: number) => `{"$correlationId":"c${id}"}`;
    const events = Array.from({ length: 12 }, (_, i) => ({
      type: `C${i % 4}`,
      metadata: metadata(i % 4),
    }));
    await append(server.calls, "s", events);
    const seen = new Map<string, Set<Reader>>();
    await expect.poll(async () => (await infoOf(server.calls))?.totalInFlightMessages).toBe(12);
    const { connections = [] } = (await infoOf(server.calls)) ?? {};
    for (const [i, reader] of [a, b].entries()) {
      for (const text of texts(await reader.get(connections[i]?.inFlightMessages ?? 0))) {
        seen.set(text, (seen.get(text) ?? new Set()).add(reader));
      }
    }
    expect(Object.fromEntries([...seen].map(([text, readers]) => [text, readers.size]))).toEqual({
      "C0 0": 1,
      "C1 0": 1,
      "C2 0": 1,
      "C3 0": 1,
    });
    a.cancel();
    b.cancel();
  });

  test("more than are allowed are refused", async () => {
    await create(server.calls, { maxSubscriberCount: 1 });
    const first = await new Reader(server.calls).confirmed();
    const refused = await trailersOf(new Reader(server.calls).next());
    expect(refused).toMatchObject({
      code: 9,
      exception: "maximum-subscribers-reached",
      "group-name": "g",
    });
    expect(refused["details"]).toMatch(/^Maximum subscriptions reached for /);
    first.cancel();
  });
});
