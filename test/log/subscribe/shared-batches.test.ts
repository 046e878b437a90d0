// Subscriptions of one selection that read together: each still gets every event once and in order,
// whatever the others do, and what many are given was read from the storage once.
import fc from "fast-check";
import { expect, test } from "vitest";
import { selectAll, type Selection } from "../../../src/domain/query.ts";
import type { SubscribeMessage } from "../../../src/log/event-log.ts";
import { Scheduler } from "../../../src/log/scheduling/scheduler.ts";
import { SharedBatches } from "../../../src/log/subscribe/shared-batches.ts";
import type { Storage, StorageRead } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent } from "../../support/events.ts";
import { deleteStream, noChange } from "../../support/lifecycles.ts";
import {
  appendAll,
  appendOf,
  openLog,
  positionsIn,
  settled,
  Subscriber,
  subscriptionFaults,
} from "../harness.ts";

/** An open log that counts the reads of its storage. */
function countingLog(limits: { batchBytesMax?: number } = {}) {
  const reads: StorageRead[] = [];
  const opened = openLog({
    limits,
    wrap: (own): Storage => ({
      ...own,
      read(request) {
        reads.push(request);
        return own.read(request);
      },
    }),
  });
  return { ...opened, reads };
}

const drained = (subscribers: readonly Subscriber[]) =>
  Promise.all(subscribers.map((subscriber) => subscriber.drain()));

const batchOf = (message: SubscribeMessage | undefined) =>
  message?.kind === "batch" ? message.batch : undefined;

test("what a hundred are given is read once, and is one object", async () => {
  const { log, reads } = countingLog();
  const subscribers = Array.from({ length: 100 }, () => new Subscriber(log));
  await drained(subscribers);
  reads.length = 0;
  await log.append(appendOf({}, {}, {}));
  for (const news of await drained(subscribers)) expect(news).toEqual(["1 2 3"]);
  expect(reads).toHaveLength(1);
  const given = subscribers.map(({ messages }) => batchOf(messages.at(-1)));
  const origins = given.map((batch) =>
    batch !== undefined && "origin" in batch ? batch.origin : batch,
  );
  expect(new Set(origins).size).toBe(1);
});

test("those that stand at different places each get what they lack", async () => {
  const { log } = openLog();
  await appendAll(log, {}, {}, {});
  const starts = [0, 1, 2, 3, 1];
  const subscribers = starts.map(
    (position) => new Subscriber(log, { start: { kind: "after-position", position } }),
  );
  await drained(subscribers);
  await appendAll(log, {}, {});
  await drained(subscribers);
  starts.forEach((start, i) => {
    const expected = [1, 2, 3, 4, 5].filter((position) => position > start);
    expect(subscribers[i]?.positions).toEqual(expected);
  });
});

test("those that came apart meet again at a boundary", async () => {
  const { log, timers, reads } = countingLog();
  const some = (count: number) =>
    log.append(appendOf(...Array.from({ length: count }, () => ({}))));
  const subscribers = [new Subscriber(log), new Subscriber(log)];
  await drained(subscribers);
  for (const count of [300, 500, 400, 200]) {
    // Each of them comes when what the one before it read is not kept any more.
    for (const subscriber of subscribers) {
      await some(count / 2);
      await timers.pass(1_000);
      await subscriber.drain();
    }
  }
  await some(400);
  await drained(subscribers);
  const ends = subscribers.map(({ messages }) =>
    messages.flatMap((message) => batchOf(message)?.through ?? []),
  );
  for (const through of ends) expect(through).toEqual(expect.arrayContaining([512, 1_024, 1_536]));
  for (const { positions } of subscribers) expect(positions).toHaveLength(1_800);
  // Both are at the head now: what comes next they read together again.
  reads.length = 0;
  await some(10);
  await drained(subscribers);
  expect(reads).toHaveLength(1);
});

test("what a policy removed in between is not given to those that come later", async () => {
  const { log } = openLog();
  await log.append(appendOf({ stream: "a" }, { stream: "b" }));
  const early = [new Subscriber(log), new Subscriber(log)];
  await drained(early);
  const asked = { stream: "a", actor: "ann", reason: "tidy", expected: undefined };
  await log.streams.update({ ...asked, change: { ...noChange, truncateBefore: 2 } });
  const late = [new Subscriber(log), new Subscriber(log)];
  await drained(late);
  for (const { positions } of early) expect(positions).toEqual([1, 2]);
  for (const { positions } of late) expect(positions).toEqual([2]);
});

test("what a policy removed is not given to one that waited for its turn meanwhile", async () => {
  const { storage, timers } = openLog();
  const gate = new Scheduler().gateOf({});
  const shared = new SharedBatches({ storage, gate, timers });
  await commitEvents(storage, [newEvent({ stream: "a" }), newEvent({ stream: "b" })]);
  const [first, second] = [shared.follow(selectAll), shared.follow(selectAll)];
  const positions = { first: 1, last: 2 };
  const read = { selection: selectAll, direction: "forwards", positions, batchBytes: 999 } as const;
  expect(positionsIn(await first.take(read))).toEqual([1, 2]);
  await settled();
  expect(gate.enter(1_000_000)).toBeUndefined();
  const waiting = second.take(read);
  await settled();
  const removal = await deleteStream(storage, "a");
  const head = { recordedAt: 0 };
  shared.advanced({
    from: { position: 2, ...head },
    to: { position: 3, ...head },
    events: [removal],
  });
  gate.leave(1_000_000, 0);
  expect(positionsIn(await waiting)).toEqual([2]);
});

test("a read that fails is everybody's who asked for it, and nobody's who asks again", async () => {
  let failures = 0;
  const { log } = openLog({
    wrap: (own): Storage => ({
      ...own,
      read: (request) => {
        if (failures === 0) return own.read(request);
        failures--;
        return own.read({
          ...request,
          get asOf(): number {
            throw new Error("the disk is gone");
          },
        });
      },
    }),
  });
  const subscribers = [new Subscriber(log), new Subscriber(log)];
  await drained(subscribers);
  failures = 1;
  await appendAll(log, {});
  await drained(subscribers);
  const again = [new Subscriber(log), new Subscriber(log)];
  await drained(again);
  for (const { positions } of again) expect(positions).toEqual([1]);
  expect(subscribers.every(({ ended, positions }) => ended || positions.length === 1)).toBe(true);
});

test("with any selections, paces and starts, each gets every event once and in order", async () => {
  const selections: readonly Selection[] = [
    { kind: "all" },
    { kind: "stream", stream: "a" },
    {
      kind: "query",
      query: { items: [{ streams: [], streamPrefixes: [], types: ["T"], tags: [], tagsAny: [] }] },
    },
  ];
  const step = fc.oneof(
    {
      weight: 3,
      arbitrary: fc.record({ append: fc.array(fc.constantFrom("a", "b"), { maxLength: 6 }) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({ pull: fc.nat({ max: 9 }), count: fc.integer({ min: 1, max: 4 }) }),
    },
    { weight: 1, arbitrary: fc.record({ open: fc.nat({ max: 2 }) }) },
    { weight: 1, arbitrary: fc.record({ close: fc.nat({ max: 9 }) }) },
    { weight: 1, arbitrary: fc.record({ passMs: fc.constantFrom(50, 300) }) },
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60, size: "max" }), async (steps) => {
      const { log, timers } = openLog({ limits: { batchBytesMax: 200 } });
      const types: string[] = [];
      const streams: string[] = [];
      let open: { subscriber: Subscriber; selection: Selection }[] = [];
      for (const each of steps) {
        if ("append" in each) {
          for (const stream of each.append) {
            const type = streams.length % 3 === 0 ? "U" : "T";
            await appendAll(log, { stream, type });
            streams.push(stream);
            types.push(type);
          }
        } else if ("open" in each) {
          const selection = selections[each.open] as Selection;
          open.push({ subscriber: new Subscriber(log, { selection }), selection });
        } else if ("close" in each) {
          const closed = open[each.close % Math.max(1, open.length)];
          await closed?.subscriber.cancel();
          open = open.filter((other) => other !== closed);
        } else if ("passMs" in each) await timers.pass(each.passMs);
        else {
          const one = open[each.pull % Math.max(1, open.length)];
          for (let i = 0; i < each.count; i++) void one?.subscriber.pull();
          await settled();
        }
      }
      await drained(open.map(({ subscriber }) => subscriber));
      for (const { subscriber, selection } of open) {
        const matching = streams
          .map((stream, i) => ({ stream, type: types[i], position: i + 1 }))
          .filter(({ stream, type }) => {
            if (selection.kind === "all") return true;
            return selection.kind === "stream" ? stream === "a" : type === "T";
          })
          .map(({ position }) => position);
        expect(subscriptionFaults(subscriber.messages, matching)).toEqual([]);
        expect(subscriber.positions).toEqual(matching);
      }
      await log.stop();
    }),
    { numRuns: 100 },
  );
});
