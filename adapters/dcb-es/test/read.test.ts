// Reads, subscriptions, and what only Annals has.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Query, Tags } from "@dcb-es/event-store";
import { AnnalsEventStore } from "annals-dcb-es";
import { annals, at, client, collect, dataOf, numbers, placeIn, stores } from "./stores.js";
import type { Place } from "./stores.js";

for (const [name, store] of stores) {
  const it = (title: string, body: (place: Place) => Promise<void>) =>
    test(title, { timeout: 60_000 }, async () => body(await placeIn(store)));
  const three = async ({ store, event }: Place) => {
    await store.append({ events: [event("A", "x=1"), event("B", "x=1"), event("B", "y=1")] });
  };

  describe(`reads of ${name}`, () => {
    it("go forwards and backwards through everything", async (place) => {
      const { store, base } = place;
      await three(place);
      const forwards = await collect(store.read(Query.all(), { after: at(base) }));
      assert.deepEqual(numbers(forwards), [base + 1, base + 2, base + 3]);
      const backwards = await collect(store.read(Query.all(), { backwards: true, limit: 3 }));
      assert.deepEqual(numbers(backwards), [base + 3, base + 2, base + 1]);
    });

    it("find types and tags, and any of several items, each event once", async (place) => {
      const { store, query, tag, event } = place;
      await three(place);
      const found = async (of: Query) => dataOf(await collect(store.read(of)));
      assert.deepEqual(await found(query(["A"])), [{ type: "A" }]);
      assert.deepEqual(await found(query(["B"])), [{ type: "B" }, { type: "B" }]);
      assert.deepEqual(await found(query(["A", "B"], "x=1")), [{ type: "A" }, { type: "B" }]);
      assert.deepEqual(await found(query(["A"], "y=1")), []);
      assert.deepEqual(await found(query(["C"])), []);
      const either = Query.fromItems([
        { types: [event("A").type, event("B").type], tags: Tags.from([tag]) },
        { types: [event("B").type] },
      ]);
      assert.equal((await found(either)).length, 3);
    });

    it("begin after a position, exclusive, in both directions", async (place) => {
      const { store, base, query } = place;
      await three(place);
      const read = async (after: number, backwards = false, limit = 0) => {
        const of = query(["A", "B"]);
        return numbers(await collect(store.read(of, { after: at(after), backwards, limit })));
      };
      assert.deepEqual(await read(base), [base + 1, base + 2, base + 3]);
      assert.deepEqual(await read(base + 2), [base + 3]);
      assert.deepEqual(await read(base + 3), []);
      assert.deepEqual(await read(base + 999), []);
      assert.deepEqual(await read(base + 2, true), [base + 1]);
      assert.deepEqual(await read(base + 1, true), []);
      assert.deepEqual(await read(base, false, 2), [base + 1, base + 2]);
      assert.deepEqual(await read(base + 3, true, 1), [base + 2]);
      assert.deepEqual(await read(base + 999, true, 1), [base + 3]);
      assert.deepEqual(
        numbers(await collect(store.read(Query.all(), { after: at(1), backwards: true }))),
        [],
      );
    });

    it("have a limit", async (place) => {
      const { store, query, base } = place;
      await three(place);
      assert.deepEqual(numbers(await collect(store.read(query(["B"]), { limit: 1 }))), [base + 2]);
      assert.equal((await collect(store.read(query(["A", "B"]), { limit: 99 }))).length, 3);
    });

    it("can be left at any event, and repeated", async (place) => {
      await three(place);
      const { store, query } = place;
      for (let i = 0; i < 50; i++) await collect(store.read(query(["A", "B"])), 1);
      assert.equal((await collect(store.read(query(["A", "B"])))).length, 3);
    });
  });

  describe(`subscriptions to ${name}`, () => {
    it("deliver what is there, and then what comes", async (place) => {
      const { store, query, event } = place;
      await three(place);
      const five = collect(store.subscribe(query(["A", "B"])), 5);
      await store.append({ events: event("A") });
      await store.append({ events: [event("C"), event("B")] });
      const types = (await five).map(({ event: { data } }) => (data as { type: string }).type);
      assert.deepEqual(types, ["A", "B", "B", "A", "B"]);
    });

    it("begin after a position", async (place) => {
      const { store, query, base } = place;
      await three(place);
      const one = collect(store.subscribe(query(["A", "B"]), { after: at(base + 2) }), 1);
      assert.deepEqual(numbers(await one), [base + 3]);
    });

    it("wait where nothing is there, several at once", async ({ store, query, event }) => {
      const waiting = [1, 2, 3].map(() => collect(store.subscribe(query(["A"])), 2));
      for (const _ of [1, 2]) await store.append({ events: event("A") });
      for (const events of await Promise.all(waiting)) assert.equal(events.length, 2);
    });

    it("end without an error where their signal aborts", async ({ store, query, event }) => {
      const stop = new AbortController();
      const found: unknown[] = [];
      await store.append({ events: event("A") });
      for await (const each of store.subscribe(query(["A"]), { signal: stop.signal })) {
        found.push(each);
        setTimeout(() => stop.abort(), 10);
      }
      assert.equal(found.length, 1);
      const over = store.subscribe(query(["A"]), { signal: AbortSignal.abort() });
      assert.deepEqual(await collect(over), []);
    });
  });
}

describe("Annals", () => {
  test("finds tags whatever else an event has, unlike stores that match any tag", async () => {
    const { event, query } = await placeIn(annals);
    await annals.append({ events: [event("A", "x=1"), event("A", "y=1")] });
    assert.deepEqual(await collect(annals.read(query(["A"], "x=1", "y=1"))), []);
  });

  test("stores events in streams for those who load them", async () => {
    const { event, tag } = await placeIn(annals);
    const store = new AnnalsEventStore(client, { streamOf: ({ tags }) => tags.values[0] ?? "" });
    await store.append({ events: [event("A"), event("B")] });
    const events = await client.read({ stream: tag }).toArray();
    assert.deepEqual(
      events.map(({ version }) => version),
      [1, 2],
    );
  });

  test("reads what others have stored, whatever tags and metadata it has", async () => {
    const { event, tag, query } = await placeIn(annals);
    const { type } = event("A");
    const tags = [tag, "white space"];
    await client.append([{ type, data: { by: "sdk" }, tags, metadata: { a: "b" } }]);
    const [found] = await collect(annals.read(query(["A"])));
    assert.deepEqual(found?.event.data, { by: "sdk" });
    assert.deepEqual(found?.event.tags.values, [tag]);
    assert.deepEqual(found?.event.metadata, { a: "b" });
  });

  test("refuses data that JSON would lose, by its path", async () => {
    const { event } = await placeIn(annals);
    const lossy = { ...event("A"), data: { list: [1, Number.NaN] } };
    await assert.rejects(annals.append({ events: lossy }), /data\.list\[1\] is NaN/);
  });
});
