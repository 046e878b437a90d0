// The order of the append queue: fair by client, and by itself for each of them.
import fc from "fast-check";
import { expect, test } from "vitest";
import { freshBytes, QueueOrder } from "../../../src/log/append/queue-order.ts";

interface Entry {
  readonly client: object;
  readonly bytes: number;
  readonly work: number;
}

function takeAll(order: QueueOrder<Entry>): Entry[] {
  const taken: Entry[] = [];
  for (let next; (next = order.next()) !== undefined;) {
    order.delete(next, next.bytes);
    taken.push(next);
  }
  return taken;
}

test("a small append of a client with nothing in the queue comes before all that fill it", () => {
  const order = new QueueOrder<Entry>();
  const greedy = Array.from({ length: 100 }, () => ({}));
  for (const client of greedy) {
    for (let i = 0; i < 5; i++) order.add({ client, bytes: 1024 * 1024, work: 1 });
  }
  for (let i = 0; i < 50; i++) {
    const next = order.next() as Entry;
    order.delete(next, next.bytes);
  }
  const healthy = { client: {}, bytes: 200, work: 1 };
  order.add(healthy);
  expect(order.next()).toBe(healthy);
});

test("a client with many appends gets no more than others with as many", () => {
  const order = new QueueOrder<Entry>();
  const [a, b] = [{}, {}];
  for (let i = 0; i < 100; i++) order.add({ client: a, bytes: freshBytes, work: 1 });
  for (let i = 0; i < 100; i++) order.add({ client: b, bytes: freshBytes, work: 1 });
  const first = Array.from({ length: 40 }, () => {
    const entry = order.next() as Entry;
    order.delete(entry, entry.bytes);
    return entry.client;
  });
  const ofA = first.filter((client) => client === a).length;
  expect(ofA).toBeGreaterThanOrEqual(15);
  expect(ofA).toBeLessThanOrEqual(25);
});

test("every entry comes once, each client's in order, and what was deleted never", () => {
  const arbitrary = fc.array(
    fc.record({ who: fc.nat({ max: 3 }), bytes: fc.nat({ max: 200_000 }), cut: fc.boolean() }),
    { maxLength: 60 },
  );
  fc.assert(
    fc.property(arbitrary, (steps) => {
      const order = new QueueOrder<Entry>();
      const clients = [{}, {}, {}, {}];
      const entries = steps.map(({ who, bytes }, i) => {
        return { client: clients[who] as object, bytes, work: i / 2 };
      });
      for (const entry of entries) order.add(entry);
      const left = entries.filter((_, i) => steps[i]?.cut !== true);
      for (const entry of entries) if (!left.includes(entry)) order.delete(entry);
      expect(order.size).toBe(left.length);
      expect(order.work).toBe(left.reduce((sum, { work }) => sum + work, 0));
      const taken = takeAll(order);
      expect([order.size, order.work]).toEqual([0, 0]);
      for (const client of clients) {
        const of = (list: readonly Entry[]) => list.filter((each) => each.client === client);
        expect(of(taken)).toEqual(of(left));
        expect(order.has(client)).toBe(false);
      }
    }),
  );
});
