// Reads and subscriptions by the SDK: what they answer, and that they go on where they were cut
// off.
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import type { sendUnaryData, ServerWritableStream } from "@grpc/grpc-js";
import fc from "fast-check";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import {
  connect,
  type AnnalsClient,
  type JsonEvent,
  type RecordedEvent,
  type SubscriptionMessage,
} from "../../../src/client/sdk.ts";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import {
  Direction,
  ReadResponseSchema,
  SubscribeResponseSchema,
  type ReadRequest,
  type SubscribeRequest,
} from "../../../src/gen/annals/v1/read_pb.js";
import { errorInfo, failureWith, scripted, type Scripted } from "../rpc/scripted-server.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

type Message = SubscriptionMessage<RecordedEvent<JsonEvent>>;
const positions = (events: Iterable<RecordedEvent<JsonEvent>>) =>
  [...events].map(({ position }) => position);
const upTo = (last: number, from = 1) =>
  Array.from({ length: Math.max(0, last - from + 1) }, (_, index) => from + index);

describe("against a store of a hundred events", () => {
  let server: TestServer;
  let client: AnnalsClient<JsonEvent>;
  const stop = new AbortController();
  beforeAll(async () => {
    server = await startTestServer();
    client = connect({ address: server.address });
    for (let index = 1; index <= 100; index += 1) {
      const tags = index % 10 === 0 ? ["tenth"] : [];
      await client.append(`s-${index % 2}`, { type: `T${index % 3}`, data: index, tags });
    }
  });
  afterAll(async () => {
    stop.abort();
    client.close();
    await server.stop();
  });

  test("an event is found by its id, in its stream if one is named", async () => {
    const [fifth] = await client.read({ from: { position: 5 }, limit: 1 }).toArray();
    const { id = "" } = fifth ?? {};
    expect(await client.event(id)).toEqual(fifth);
    expect(await client.event(id, { stream: "s-1" })).toEqual(fifth);
    expect(await client.event(id, { stream: "s-0" })).toBeUndefined();
    expect(await client.event("3f2504e0-4f89-41d3-9a0c-0305e82c3301")).toBeUndefined();
  });

  test("a reading is iterated, taken in batches, or all at once; then it knows its end", async () => {
    const reading = client.read({ stream: "s-1" });
    expect(() => reading.end).toThrow(/once the events have been read/);
    const seen: number[] = [];
    for await (const event of reading) seen.push(event.version);
    expect(seen).toEqual(upTo(50));
    const { epoch } = await client.info();
    expect(reading.end).toEqual({ head: 100, after: 100, eventCount: 50, version: 50, epoch });
    const batched: number[] = [];
    for await (const batch of client.read().batches()) batched.push(...positions(batch));
    expect(batched).toEqual(upTo(100));
  });

  test("ranges and directions are the contract's", async () => {
    const read = async (options: Parameters<typeof client.read>[0]) =>
      positions(await client.read(options).toArray());
    expect(await read({ from: { position: 98 } })).toEqual([98, 99, 100]);
    expect(await read({ to: { position: 3 } })).toEqual([1, 2, 3]);
    expect(await read({ backwards: true, limit: 2 })).toEqual([100, 99]);
    expect(await read({ stream: "s-1", from: { version: 49 } })).toEqual([97, 99]);
    expect(await read({ query: { tags: ["tenth"] }, limit: 2 })).toEqual([10, 20]);
    expect(await read({ query: [{ tags: ["tenth"] }, { streams: ["s-0"] }], limit: 3 })).toEqual([
      2, 4, 6,
    ]);
    expect(await read({ query: { streamPrefixes: ["s-"], types: ["T0"] }, limit: 1 })).toEqual([3]);
    const [fifth] = await client.read({ from: { position: 5 }, limit: 1 }).toArray();
    const at = fifth?.recordedAt ?? new Date(0);
    expect(await read({ from: at })).toContain(5);
    expect(await read({ to: new Date(at.getTime() + 1) })).toContain(5);
  });

  test("a reading cut by its limit says where to go on", async () => {
    const reading = client.read({ limit: 30 });
    await reading.toArray();
    expect(reading.end).toMatchObject({ head: 100, after: 30 });
    const next = client.read({ from: { position: reading.end.after + 1 }, limit: 30 });
    expect(positions(await next.toArray())).toEqual(upTo(60, 31));
  });

  async function firstOf(options: Parameters<typeof client.subscribe>[0], count: number) {
    const seen: Message[] = [];
    for await (const message of client.subscribe(options).messages()) {
      seen.push(message);
      if (seen.length === count) return seen;
    }
    return seen;
  }

  test("a subscription delivers what there is, says that it is live, and goes on", async () => {
    const [events, live] = await firstOf({ after: 97 }, 2);
    expect(events).toMatchObject({ kind: "events", position: 100 });
    expect(live).toMatchObject({ kind: "caught-up", position: 100, time: expect.any(Date) });
    expect(await firstOf({ after: "end" }, 1)).toMatchObject([
      { kind: "caught-up", position: 100 },
    ]);
    const byVersion = await firstOf({ stream: "s-1", after: { version: 48 } }, 1);
    expect(byVersion).toMatchObject([{ events: [{ version: 49 }, { version: 50 }] }]);
    const late = await firstOf({ fromTime: new Date(Date.now() + 60_000) }, 1);
    expect(late).toMatchObject([{ kind: "caught-up", position: 100 }]);
  });

  test("an idle subscription gives signs of life", async () => {
    const [, sign] = await firstOf({ after: "end", checkpointIntervalMs: 100 }, 2);
    expect(sign).toMatchObject({ kind: "checkpoint", position: 100 });
  });

  test("events alone are iterated, and a signal ends it with its reason", async () => {
    const reason = new Error("enough");
    const ending = new AbortController();
    const seen: number[] = [];
    const following = (async () => {
      for await (const { position } of client.subscribe({ signal: ending.signal })) {
        if (seen.push(position) === 100) ending.abort(reason);
      }
    })();
    await expect(following).rejects.toBe(reason);
    expect(seen).toEqual(upTo(100));
  });

  test("a position of another store is refused at once", async () => {
    const beyond = firstOf({ after: 101 }, 1);
    await expect(beyond).rejects.toMatchObject({ code: "BEYOND_HEAD" });
    const storeId = "00000000-0000-4000-8000-000000000000";
    const other = firstOf({ after: 5, storeId }, 1);
    await expect(other).rejects.toMatchObject({ code: "STORE_REPLACED", expectedStoreId: storeId });
  });
});

// ---- what only happens when something goes wrong ------------------------------------------------

let broken: Scripted | undefined;
const clients: { close(): void }[] = [];
afterEach(() => {
  for (const client of clients.splice(0)) client.close();
  broken?.stop();
  broken = undefined;
});

const eventAt = (position: number) => ({
  id: "x",
  stream: "s",
  type: "T",
  version: BigInt(position),
  position: BigInt(position),
});

type ReadMessage = NonNullable<MessageInitShape<typeof ReadResponseSchema>["message"]>;

/** A store of events 1 to `last` whose calls break off after the given numbers of messages. */
async function breaking(last: number, batchMax: number, breaks: number[], ids: string[] = ["a"]) {
  const requests: { from: bigint; limit: bigint }[] = [];
  let infos = 0;
  const answer = (
    call: ServerWritableStream<unknown, unknown>,
    messages: readonly unknown[],
  ): void => {
    const after = breaks.shift();
    for (const message of messages.slice(0, after)) call.write(message);
    if (after === undefined) return;
    // At the end of the loop's turn: what was written before is on its way then.
    setImmediate(() => call.emit("error", failureWith(14, "gone", [errorInfo("STOPPING")])));
  };
  const batches = (from: number, to: number, backwards = false) => {
    const found: number[][] = [];
    for (let first = from; first <= to; first += batchMax) {
      found.push(upTo(Math.min(to, first + batchMax - 1), first));
    }
    return backwards ? found.map((batch) => batch.toReversed()).toReversed() : found;
  };
  broken = await scripted({
    read: (call: ServerWritableStream<ReadRequest, unknown>) => {
      const { from, limit, direction } = call.request;
      const first = from.case === undefined ? 1n : (from.value as bigint);
      requests.push({ from: first, limit });
      const to = limit === 0n ? last : Math.min(last, Number(first + limit) - 1);
      const backwards = direction === Direction.BACKWARDS;
      const parts: ReadMessage[] = batches(Number(first), to, backwards).map((batch) => ({
        case: "batch",
        value: { events: batch.map(eventAt) },
      }));
      parts.push({ case: "end", value: { head: BigInt(last), after: BigInt(to) } });
      const messages = parts.map((message) => create(ReadResponseSchema, { message }));
      answer(call, messages);
      if (breaks.length === 0) call.end();
    },
    subscribe: (call: ServerWritableStream<SubscribeRequest, unknown>) => {
      const { start } = call.request;
      const after = start.case === "afterPosition" ? Number(start.value) : 0;
      requests.push({ from: BigInt(after), limit: 0n });
      const messages = batches(after + 1, last).map((batch) =>
        create(SubscribeResponseSchema, {
          message: { case: "batch", value: { events: batch.map(eventAt) } },
        }),
      );
      const live = { case: "caughtUp", value: { position: BigInt(last) } } as const;
      answer(call, [...messages, create(SubscribeResponseSchema, { message: live })]);
    },
    getInfo: (_call: unknown, done: sendUnaryData<unknown>) => {
      const storeId = ids[Math.min(infos, ids.length - 1)] ?? "";
      infos += 1;
      done(null, create(GetInfoResponseSchema, { storeId, head: BigInt(last) }));
    },
  });
  const client = connect({
    address: broken.connect().address,
    retry: { delayMinMs: 1, delayMaxMs: 2, attemptsMax: 6 },
  });
  clients.push(client);
  return { client, requests };
}

describe("a reading that is cut off", () => {
  test("goes on behind the last event it got, anywhere, with nothing lost and nothing twice", async () => {
    const scenario = fc.record({
      last: fc.integer({ min: 1, max: 40 }),
      batchMax: fc.integer({ min: 1, max: 7 }),
      breaks: fc.array(fc.nat(4), { maxLength: 5 }),
      limit: fc.nat(45),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ last, batchMax, breaks, limit }) => {
        const { client } = await breaking(last, batchMax, [...breaks, 99]);
        const reading = client.read({ limit });
        const expected = limit === 0 ? last : Math.min(limit, last);
        const got = await reading.toArray().catch((error: unknown) => error);
        client.close();
        broken?.stop();
        // All that a limit asked for had come, but not the end: nobody can say where to go on.
        if (got instanceof Error) expect(limit).toBeGreaterThan(0);
        else {
          expect(positions(got as RecordedEvent<JsonEvent>[])).toEqual(upTo(expected));
          expect(reading.end).toEqual({
            head: last,
            after: expected,
            eventCount: expected,
            epoch: expect.any(String),
            version: 0,
          });
        }
      }),
      { numRuns: 40 },
    );
  });

  test("asks only for what it lacks", async () => {
    const { client, requests } = await breaking(10, 2, [2, 1, 99]);
    await client.read({ limit: 9 }).toArray();
    expect(requests).toEqual([
      { from: 1n, limit: 9n },
      { from: 5n, limit: 5n },
      { from: 7n, limit: 3n },
    ]);
  });

  test("backwards is not continued: its view could not be had again", async () => {
    const { client } = await breaking(10, 2, [1, 99]);
    await expect(client.read({ backwards: true }).toArray()).rejects.toMatchObject({
      code: "UNAVAILABLE",
      reason: "STOPPING",
    });
  });

  test("is not continued in another store", async () => {
    const { client } = await breaking(10, 2, [2, 99], ["a", "b"]);
    await expect(client.read().toArray()).rejects.toMatchObject({
      code: "STORE_REPLACED",
      expectedStoreId: "a",
      actualStoreId: "b",
    });
  });

  test("gives up after as many attempts in a row as it may", async () => {
    const { client, requests } = await breaking(10, 2, [0, 0, 0, 0, 0, 0, 0, 0]);
    await expect(client.read().toArray()).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(requests).toHaveLength(6);
  });
});

describe("a subscription that is cut off", () => {
  test("goes on behind the last position it got, for as long as it takes", async () => {
    const scenario = fc.record({
      last: fc.integer({ min: 1, max: 30 }),
      batchMax: fc.integer({ min: 1, max: 5 }),
      breaks: fc.array(fc.nat(4), { maxLength: 8 }),
    });
    await fc.assert(
      fc.asyncProperty(scenario, async ({ last, batchMax, breaks }) => {
        const { client, requests } = await breaking(last, batchMax, [1, ...breaks]);
        const seen: number[] = [];
        let lives = 0;
        for await (const message of client.subscribe().messages()) {
          if (message.kind === "events") seen.push(...positions(message.events));
          if (message.kind === "caught-up") lives += 1;
          if (message.kind === "fell-behind") lives -= 1;
          expect([0, 1]).toContain(lives);
          if (lives === 1 && requests.length > breaks.length + 1) break;
        }
        client.close();
        broken?.stop();
        expect(seen).toEqual(upTo(last));
      }),
      { numRuns: 30 },
    );
  });

  test("tells who watches, and is not live while it waits", async () => {
    const { client } = await breaking(2, 5, [2]);
    const told: string[] = [];
    const onInterruption = ({ failures, error }: { failures: number; error: unknown }) =>
      told.push(`failure ${failures}: ${(error as Error).message}`);
    const kinds: string[] = [];
    for await (const { kind } of client.subscribe({ onInterruption }).messages()) {
      if (kinds.push(kind) === 4) break;
    }
    expect(kinds).toEqual(["events", "caught-up", "fell-behind", "caught-up"]);
    expect(told).toEqual(["failure 1: gone"]);
  });

  test("ends where behind the address there is another store", async () => {
    const { client } = await breaking(4, 2, [1], ["a", "b"]);
    const seen: number[] = [];
    const following = (async () => {
      for await (const { position } of client.subscribe()) seen.push(position);
    })();
    await expect(following).rejects.toMatchObject({ code: "STORE_REPLACED" });
    expect(seen).toEqual([1, 2]);
  });

  test("that never had a connection gives up", async () => {
    const { client, requests } = await breaking(4, 2, [0, 0, 0, 0, 0, 0, 0, 0]);
    const first = client.subscribe()[Symbol.asyncIterator]().next();
    await expect(first).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(requests).toHaveLength(6);
  });

  test("believes no server that repeats itself", async () => {
    broken = await scripted({
      subscribe: (call: ServerWritableStream<SubscribeRequest, unknown>) => {
        const events = [eventAt(1), eventAt(1)];
        const message = { case: "batch", value: { events } } as const;
        call.write(create(SubscribeResponseSchema, { message }));
      },
      getInfo: (_call: unknown, done: sendUnaryData<unknown>) =>
        done(null, create(GetInfoResponseSchema, { storeId: "a" })),
    });
    const client = connect({ address: broken.connect().address });
    clients.push(client);
    const first = client.subscribe()[Symbol.asyncIterator]().next();
    await expect(first).rejects.toThrow("position 1 came again");
  });
});
