// While much is held for clients, a call that waits for its client keeps almost nothing in memory.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { selects, type Selection } from "../../../src/domain/query.ts";
import type { SubscribeRequest } from "../../../src/log/event-log.ts";
import { ClientMemory, type Share } from "../../../src/log/scheduling/client-memory.ts";
import { Scheduler } from "../../../src/log/scheduling/scheduler.ts";
import type { Storage, StorageRead } from "../../../src/storage/storage.ts";
import {
  arbitraryEvent,
  arbitrarySelection,
  commitEvents,
  newEvent,
} from "../../support/events.ts";
import { handTimers, settled } from "../../support/hand-timers.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { openLog, positionsIn } from "../harness.ts";

const request = { start: { kind: "after-position", position: 0 }, checkpointIntervalMs: 60_000 };

function counting(reads: Set<StorageRead>): (storage: Storage) => Storage {
  return (storage) => ({
    ...storage,
    async *read(read) {
      reads.add(read);
      try {
        yield* storage.read(read);
      } finally {
        reads.delete(read);
      }
    },
  });
}

test("a subscriber that catches up and stands still keeps no read of the engine open", async () => {
  const reads = new Set<StorageRead>();
  const memory = { isLarge: false, room: () => undefined };
  const limits = { batchBytesMax: 64 };
  const { log, storage } = openLog({ wrap: counting(reads), memory, limits });
  await commitEvents(
    storage,
    Array.from({ length: 50 }, () => newEvent({})),
  );
  const subscribed = { ...request, selection: { kind: "all" } } as SubscribeRequest;
  const signal = new AbortController().signal;
  const messages = log.subscribe(subscribed, signal)[Symbol.asyncIterator]();
  await messages.next();
  expect(reads.size).toBe(1);
  memory.isLarge = true;
  for (let i = 0; i < 10; i++) {
    await messages.next();
    expect(reads.size).toBe(0);
  }
  memory.isLarge = false;
  await messages.next();
  expect(reads.size).toBe(1);
  await messages.return?.();
  expect(reads.size).toBe(0);
});

test("very many that catch up at once do not all keep a read of the engine open", async () => {
  const reads = new Set<StorageRead>();
  const { log, storage } = openLog({ wrap: counting(reads), limits: { batchBytesMax: 512 } });
  await commitEvents(
    storage,
    Array.from({ length: 40 }, () => newEvent({ stream: "s-1", data: Buffer.alloc(500) })),
  );
  const signal = new AbortController().signal;
  let readsMax = 0;
  const follow = async (stream: string): Promise<number> => {
    let count = 0;
    // Each of its own, or they would read together.
    const nothing = { streamPrefixes: [], types: [], tags: [], tagsAny: [] };
    const items = [{ ...nothing, streams: ["s-1", stream] }];
    const subscribed = { ...request, selection: { kind: "query", query: { items } } };
    for await (const message of log.subscribe(subscribed as SubscribeRequest, signal)) {
      readsMax = Math.max(readsMax, reads.size);
      if (message.kind === "batch") count += message.batch.count;
      if (message.kind === "caught-up") break;
    }
    return count;
  };
  const counts = await Promise.all(Array.from({ length: 1_000 }, (_, i) => follow(`other-${i}`)));
  expect(new Set(counts)).toEqual(new Set([40]));
  expect(readsMax).toBeGreaterThan(1);
  expect(readsMax).toBeLessThan(400);
});

test("every matching event comes once and in order, however that changes", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(arbitraryEvent, { minLength: 1, maxLength: 30 }),
      arbitrarySelection,
      fc.array(fc.boolean(), { minLength: 1, maxLength: 20 }),
      fc.integer({ min: 1, max: 400 }),
      async (events, selection, untaken, batchBytesMax) => {
        const memory = { isLarge: false, room: () => undefined };
        const limits = { batchBytesMax };
        const { log, storage } = openLog({ storage: createModelStorage(), memory, limits });
        await commitEvents(storage, events);
        const expected = events.flatMap((event, i) => (selects(selection, event) ? [i + 1] : []));
        const signal = new AbortController().signal;
        const subscribed = { ...request, selection } as SubscribeRequest;
        const found: number[] = [];
        let turn = 0;
        for await (const message of log.subscribe(subscribed, signal)) {
          if (message.kind === "batch") found.push(...positionsIn(message.batch));
          if (message.kind === "caught-up") break;
          memory.isLarge = untaken[turn++ % untaken.length] === true;
        }
        expect(found).toEqual(expected);
      },
    ),
  );
});

/** A connection whose calls keep what they get. */
class Connection {
  readonly share: Share;
  kept = 0;

  constructor(memory: ClientMemory) {
    this.share = memory.open(this);
  }

  keep(bytes: number): void {
    if (this.share.take(bytes)) this.kept += bytes;
  }

  relieve(): void {}
}

const largeBytes = 1_000_000;
/** From half of it on, calls wait. */
const bytesMax = 40_000_000;
const sharedSelection = { kind: "stream", stream: "s" } as const;

describe("of very many clients that take nothing", () => {
  const waitsFor = async (selectionOf: (i: number) => Selection, isSubscribed: boolean) => {
    const memory = new ClientMemory({ bytesMax, sureBytes: 1_000, timers: handTimers() });
    let readBytes = 0;
    const wrap = (storage: Storage): Storage => ({
      ...storage,
      async *read(read) {
        for await (const batch of storage.read(read)) {
          readBytes += batch.bytes;
          yield batch;
        }
      },
    });
    const { log, storage } = openLog({ memory, wrap });
    await commitEvents(storage, [newEvent({ stream: "s", data: Buffer.alloc(largeBytes) })]);
    const connection = new Connection(memory);
    const gate = new Scheduler().gateOf(connection);
    const ended = new AbortController();
    let got = 0;
    const one = async (i: number): Promise<void> => {
      const selection = selectionOf(i);
      const subscribed = { ...request, selection } as SubscribeRequest;
      const messages = isSubscribed
        ? log.subscribe(subscribed, ended.signal, gate)
        : log.read({ selection, direction: "forwards" }, ended.signal, gate);
      for await (const message of messages) {
        if (message.kind !== "batch") continue;
        got++;
        connection.keep(message.batch.bytes);
        await new Promise((resolve) => ended.signal.addEventListener("abort", resolve));
      }
    };
    for (let i = 0; i < 200; i++) void one(i);
    await settled();
    const seen = { got, readBytes, kept: connection.kept };
    // What was kept is given back: another one gets on.
    connection.share.give(connection.kept);
    await settled();
    const later = got;
    ended.abort();
    await log.stop();
    return { ...seen, later };
  };
  const own = (i: number): Selection => ({
    kind: "query",
    query: {
      items: [{ streams: ["s", `t${i}`], streamPrefixes: [], types: [], tags: [], tagsAny: [] }],
    },
  });
  const cases = [
    ["subscriptions, each with events of its own", own, true],
    ["subscriptions to the same stream", () => sharedSelection, true],
    ["reads", own, false],
  ] as const;

  test.each(cases)(
    "%s are read for only as far as the memory goes",
    async (_, of, isSubscribed) => {
      const { got, readBytes, kept, later } = await waitsFor(of, isSubscribed);
      // Half of the budget, and what is read at a time.
      expect(kept).toBeGreaterThan(bytesMax / 2);
      expect(kept).toBeLessThan(bytesMax);
      expect(got * largeBytes).toBeLessThan(bytesMax);
      expect(readBytes).toBeLessThan(bytesMax);
      expect(later).toBeGreaterThan(got);
    },
  );
});
