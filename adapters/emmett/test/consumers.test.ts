// Consumers, projections and hooks.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  forwardToMessageBus,
  getInMemoryDatabase,
  getInMemoryMessageBus,
  inMemorySingleStreamProjection,
  MessageProcessor,
  projections,
  reactor,
  type ReadEvent,
} from "@event-driven-io/emmett";
import { newEventId } from "annals-client";
import { InlineProjectionError, type AnnalsEventStore } from "annals-emmett";
import { added, annals, cartId, client, confirmed, until, type CartEvent } from "./shopping.js";

const within = { timeout: 60_000 };
/** A type of its own, so that a processor gets the events of its case only. */
const anyType = () => `Counted-${newEventId()}`;
const counted = (type: string, from: number, to: number) =>
  Array.from({ length: to - from + 1 }, (_, i) => ({ type, data: { n: from + i } }));
const numberIn = (message: any): number => message.data.n;
const upTo = (last: number) => Array.from({ length: last }, (_, i) => i + 1);

async function append(store: AnnalsEventStore, type: string, from: number, to: number) {
  return store.appendToStream(cartId(), counted(type, from, to));
}

describe("a consumer", () => {
  test("hands what is there and what comes to its processor, in order", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 250);
    const seen: number[] = [];
    const consumer = store.consumer();
    consumer.reactor({
      processorId: type,
      canHandle: [type],
      eachMessage: (message, context) => {
        assert.equal(context.eventStore, store);
        seen.push(numberIn(message));
      },
    });
    const running = consumer.start();
    assert.equal(consumer.isRunning, true);
    const { lastEventGlobalPosition } = await append(store, type, 251, 260);
    await client.waitFor({ consumer: type }, Number(lastEventGlobalPosition));
    assert.deepEqual(seen, upTo(260));
    await consumer.close();
    await running;
    assert.equal(consumer.isRunning, false);
  });

  test("goes on after its checkpoint, in a new process too", within, async () => {
    const [store, type] = [annals(), anyType()];
    const seen: number[] = [];
    const made = () => {
      const consumer = store.consumer();
      const eachMessage = (message: any) => void seen.push(numberIn(message));
      consumer.reactor({ processorId: type, canHandle: [type], eachMessage });
      return consumer;
    };
    for (const round of [0, 1, 2]) {
      await append(store, type, 10 * round + 1, 10 * round + 10);
      const consumer = made();
      const running = consumer.start();
      await until(() => seen.length === 10 * round + 10);
      await consumer.stop();
      await running;
    }
    const consumer = made();
    for (const last of [31, 32]) {
      const running = consumer.start();
      await append(store, type, last, last);
      await until(() => seen.length === last);
      await consumer.stop();
      await running;
    }
    assert.deepEqual(seen, upTo(32));
  });

  test("begins where it is told", within, async () => {
    const [store, type] = [annals(), anyType()];
    const { lastEventGlobalPosition: lastCheckpoint } = await append(store, type, 1, 3);
    await append(store, type, 4, 6);
    for (const [startFrom, expected] of [
      ["BEGINNING", [1, 2, 3, 4, 5, 6]],
      [{ lastCheckpoint }, [4, 5, 6]],
      ["CURRENT", []],
      ["END", []],
      ["BEGINNING", [1, 2, 3, 4, 5, 6]],
    ] as const) {
      const seen: number[] = [];
      const consumer = store.consumer();
      consumer.reactor({
        processorId: `${type}-starts`,
        canHandle: [type],
        startFrom,
        eachMessage: (message) => void seen.push(numberIn(message)),
      });
      const running = consumer.start();
      await until(() => seen.length === expected.length);
      await new Promise((next) => setTimeout(next, 100));
      await consumer.stop();
      await running;
      assert.deepEqual(seen, expected);
    }
  });

  test("loses nothing where a handler fails once beside another processor", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 100);
    const seen = { failing: [] as number[], other: [] as number[] };
    const consumer = store.consumer({ batchSize: 30 });
    let failures = 0;
    consumer.reactor({
      processorId: `${type}-failing`,
      canHandle: [type],
      eachMessage: (message) => {
        if (numberIn(message) === 42 && failures++ === 0) throw new Error("once");
        seen.failing.push(numberIn(message));
      },
    });
    consumer.reactor({
      processorId: `${type}-other`,
      canHandle: [type],
      eachMessage: (message) => void seen.other.push(numberIn(message)),
    });
    await assert.rejects(consumer.start(), /^Error: once$/);
    assert.deepEqual(seen.failing, upTo(41));
    const running = consumer.start();
    await until(() => seen.failing.length === 100 && seen.other.length === 100);
    await consumer.close();
    await running;
    assert.deepEqual(seen, { failing: upTo(100), other: upTo(100) });
  });

  test("stops where its processor says so, and goes on behind that", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 9);
    const seen: number[] = [];
    const consumer = store.consumer();
    consumer.reactor({
      processorId: type,
      canHandle: [type],
      stopAfter: (message) => numberIn(message) === 3,
      eachMessage: (message) => {
        seen.push(numberIn(message));
        if (numberIn(message) === 6) return MessageProcessor.result.stop({ reason: "enough" });
        return numberIn(message) === 2 ? MessageProcessor.result.skip() : undefined;
      },
    });
    for (const last of [3, 6]) {
      await consumer.start();
      assert.deepEqual(seen, upTo(last));
    }
  });

  test("passes over what its processor cannot handle, and remembers that", within, async () => {
    const [store, type] = [annals(), anyType()];
    const seen: number[] = [];
    const consumer = store.consumer({ query: { streamPrefixes: [`mine-${type}`] } });
    // Without types, so that everything in the streams arrives, and Emmett's processor chooses.
    const schema = { versioning: { upcast: (event: any) => event } };
    consumer.reactor({
      processorId: type,
      canHandle: [type],
      messageOptions: { schema },
      eachMessage: (message) => void seen.push(numberIn(message)),
    });
    await store.appendToStream(`mine-${type}-1`, counted(type, 1, 2));
    await store.appendToStream(cartId(), counted(type, 90, 99));
    const others = counted(`Other-${type}`, 1, 5);
    const { lastEventGlobalPosition } = await store.appendToStream(`mine-${type}-2`, others);
    const running = consumer.start();
    await client.waitFor({ consumer: type }, Number(lastEventGlobalPosition));
    await consumer.stop();
    await running;
    assert.deepEqual(seen, [1, 2]);
  });

  test("refuses what Emmett would pass over without a word", async () => {
    const consumer = annals().consumer();
    const options = { processorId: "x", eachBatch: () => {} };
    assert.throws(() => consumer.reactor(options), /eachBatch is never called/);
    await assert.rejects(consumer.start(), /needs a processor/);
  });

  test("passes over no message because of metadata named checkpoint", within, async () => {
    const [store, type] = [annals(), anyType()];
    const events = counted(type, 1, 3).map((event) => ({ ...event, metadata: { checkpoint: 1 } }));
    await store.appendToStream(cartId(), events as never);
    const seen: number[] = [];
    const consumer = store.consumer();
    consumer.reactor({
      processorId: type,
      canHandle: [type],
      stopAfter: () => seen.length === 3,
      eachMessage: (message) => void seen.push(numberIn(message)),
    });
    await consumer.start();
    assert.deepEqual(seen, upTo(3));
  });

  test("runs processors that were made elsewhere", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 5);
    const seen: number[] = [];
    const given = reactor<any, any, any>({
      processorId: type,
      canHandle: [type],
      stopAfter: (message) => numberIn(message) === 5,
      eachMessage: (message: any) => void seen.push(numberIn(message)),
    });
    await store.consumer({ processors: [given] }).start();
    assert.deepEqual(seen, upTo(5));
  });

  test("tells the one behind where two processes run one processor", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 3);
    const slow = store.consumer({ batchSize: 1 });
    let go = () => {};
    const gone = new Promise<void>((resolve) => (go = resolve));
    slow.reactor({ processorId: type, canHandle: [type], eachMessage: () => gone });
    const failing = slow.start();
    const fast = store.consumer();
    const stopAfter = (message: any) => numberIn(message) === 3;
    fast.reactor({ processorId: type, canHandle: [type], stopAfter, eachMessage: () => {} });
    await fast.start();
    go();
    await assert.rejects(failing, (error: any) => error.reason === "CHECKPOINT_BACKWARDS");
  });
});

describe("consumers with a group", () => {
  test("share the events, each one once, in order within a stream", within, async () => {
    const [store, type] = [annals(), anyType()];
    const streams = Array.from({ length: 10 }, cartId);
    const seen: { worker: number; stream: string; n: number }[] = [];
    const workers = [0, 1, 2].map((worker) => {
      const consumer = store.consumer({ group: { permits: 4 } });
      consumer.reactor({
        processorId: type,
        canHandle: [type],
        eachMessage: async (message: any) => {
          await new Promise((next) => setTimeout(next, 1));
          seen.push({ worker, stream: message.metadata.streamName, n: numberIn(message) });
        },
      });
      return { consumer, running: consumer.start() };
    });
    for (const stream of streams) await store.appendToStream(stream, counted(type, 1, 20));
    await until(() => seen.length >= 200);
    for (const { consumer } of workers) await consumer.stop();
    await Promise.all(workers.map(({ running }) => running));
    for (const stream of streams) {
      const its = seen.filter((each) => each.stream === stream);
      assert.deepEqual(
        its.map(({ n }) => n),
        upTo(20),
      );
    }
    assert.ok(new Set(seen.map(({ worker }) => worker)).size > 1);
  });

  test("handle an event again that failed, and park it in the end", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 5);
    const seen: number[] = [];
    const consumer = store.consumer({
      group: { attemptsMax: 3, retryDelayMs: 10, ordering: "none" },
    });
    consumer.reactor({
      processorId: type,
      canHandle: [type],
      eachMessage: (message) => {
        seen.push(numberIn(message));
        if (numberIn(message) === 2) throw new Error("never");
      },
    });
    const running = consumer.start();
    await until(async () => (await client.groups.get(type))?.parkedCount === 1);
    await consumer.stop();
    await running;
    assert.deepEqual(seen.toSorted(), [1, 2, 2, 2, 3, 4, 5]);
    for await (const { reason } of client.groups.parked(type)) assert.equal(reason, "never");
  });

  test("leave to others what a stopped processor holds", within, async () => {
    const [store, type] = [annals(), anyType()];
    await append(store, type, 1, 10);
    const seen: number[] = [];
    const worker = (last: number) => {
      const consumer = store.consumer({ group: { ordering: "none", permits: 1 } });
      consumer.reactor({
        processorId: type,
        canHandle: [type],
        stopAfter: () => seen.length === last,
        eachMessage: (message) => void seen.push(numberIn(message)),
      });
      return consumer.start();
    };
    await worker(3);
    assert.ok(seen.length < 10);
    await worker(10);
    assert.deepEqual(
      seen.toSorted((a, b) => a - b),
      upTo(10),
    );
  });
});

interface Total extends Record<string, unknown> {
  readonly total: number;
}
const totals = (collectionName: string) =>
  inMemorySingleStreamProjection<Total, CartEvent>({
    collectionName,
    canHandle: ["ItemAdded"],
    initialState: () => ({ total: 0 }),
    evolve: ({ total }: Total, { type, data }: ReadEvent<CartEvent>) =>
      type === "ItemAdded" ? { total: total + (data as { price: number }).price } : { total },
  });

describe("projections", () => {
  test("run by a consumer, from the first event on", within, async () => {
    const [database, id] = [getInMemoryDatabase(), cartId()];
    const store = annals({ context: { database } });
    await store.appendToStream<CartEvent>(id, [added("a", 1), added("b", 2), confirmed]);
    const consumer = store.consumer({ query: { streams: [id] } });
    const projection = { ...totals(id), name: id };
    consumer.projector({ projection: projection as never });
    const running = consumer.start();
    const { lastEventGlobalPosition } = await store.appendToStream(id, [added("c", 4)]);
    const waited = { consumer: `emt:processor:projector:${id}` };
    await client.waitFor(waited, Number(lastEventGlobalPosition));
    assert.equal((await database.collection<any>(id).findOne())?.total, 7);
    await consumer.close();
    await running;
  });

  test("run inline before the append returns", async () => {
    const [database, id] = [getInMemoryDatabase(), cartId()];
    const inline = projections.inline([totals(id)]) as never;
    const store = annals({ context: { database }, projections: inline });
    const appends = [1, 2, 3, 4].map((n) => store.appendToStream(id, [added("a", n), confirmed]));
    await Promise.all(appends);
    assert.equal((await database.collection<any>(id).findOne())?.total, 10);
  });

  test("that fail inline say that the events are stored, and the next ones run", async () => {
    const id = cartId();
    let calls = 0;
    const failing = {
      canHandle: ["ItemAdded"],
      handle: () => void (calls++ === 0 && assert.fail("no")),
    };
    const store = annals({ projections: projections.inline([failing]) as never });
    await assert.rejects(store.appendToStream(id, [added()]), (error) => {
      assert.ok(error instanceof InlineProjectionError);
      assert.equal(error.appended.nextExpectedStreamVersion, 1n);
      return true;
    });
    await store.appendToStream(id, [added()]);
    assert.equal((await store.readStream(id)).events.length, 2);
  });

  test("and hooks: events are forwarded after the commit, and a failure is no one's", async () => {
    const bus = getInMemoryMessageBus();
    const seen: unknown[] = [];
    bus.subscribe<any>((event: any) => void seen.push(event.metadata.streamPosition), "ItemAdded");
    const store = annals({ hooks: { onAfterCommit: forwardToMessageBus(bus) } });
    await store.appendToStream(cartId(), [added(), added()]);
    assert.deepEqual(seen, [1n, 2n]);
    const broken = annals({ hooks: { onAfterCommit: () => assert.fail("a hook") } });
    assert.equal((await broken.appendToStream(cartId(), [added()])).createdNewStream, true);
  });
});
