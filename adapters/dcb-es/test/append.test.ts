// What an append stores, and which conditions refuse it.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  AppendConditionError,
  buildDecisionModel,
  Query,
  Tags,
  type AppendCondition,
  type EventHandlerWithState,
} from "@dcb-es/event-store";
import { at, dataOf, numbers, placeIn, stores, type Place } from "./stores.js";

const refused = (condition?: AppendCondition, commandIndex?: number) => (error: unknown) => {
  assert.ok(error instanceof AppendConditionError && error instanceof Error);
  assert.equal(error.name, "AppendConditionError");
  if (condition !== undefined) assert.equal(error.appendCondition, condition);
  assert.equal(error.commandIndex, commandIndex);
  return true;
};

for (const [name, store] of stores) {
  const it = (title: string, body: (place: Place) => Promise<void>) =>
    test(title, async () => body(await placeIn(store)));

  describe(`append to ${name}`, () => {
    it("answers with the position of the last event", async ({ store, base, event }) => {
      assert.equal((await store.append({ events: event("A") })).toString(), `${base + 1}`);
      const three = [event("A"), event("B"), event("C")];
      assert.equal((await store.append({ events: three })).toString(), `${base + 4}`);
    });

    it("gives back type, tags, data and metadata", async ({ store, event, tag, all }) => {
      const data = { a: null, b: [null, 1.5, true], c: { 日本: '🎉\t\n\\"' }, d: {} };
      const metadata = { user: "ann", $correlation: "x", nested: { deep: [1, "2"] }, n: 0 };
      const tags = Tags.from([tag, ...Array.from({ length: 50 }, (_, i) => `key${i}=val${i}`)]);
      await store.append({ events: { ...event("A"), tags, data, metadata } });
      const [found] = await all();
      assert.deepEqual(found?.event.data, data);
      assert.deepEqual(found?.event.metadata, metadata);
      assert.ok(found?.event.tags.equals(tags));
      assert.equal(found?.event.type, event("A").type);
    });

    it("keeps data and metadata that are no objects", async ({ store, event, all }) => {
      for (const value of [null, "text", 7, ["a", 1], {}]) {
        await store.append({ events: { ...event("A"), data: value, metadata: value } });
      }
      const events = await all();
      assert.deepEqual(dataOf(events), [null, "text", 7, ["a", 1], {}]);
    });

    it("refuses zero events", async ({ store }) => {
      await assert.rejects(store.append({ events: [] }), /zero events/);
      await assert.rejects(store.append([]), /zero events/);
    });

    it("takes two thousand events at once", async ({ store, event, all }) => {
      const events = Array.from({ length: 2_000 }, (_, i) => ({ ...event("A"), data: i }));
      await store.append({ events });
      assert.deepEqual(
        dataOf(await all()),
        Array.from({ length: 2_000 }, (_, i) => i),
      );
    });
  });

  describe(`conditions in ${name}`, () => {
    it("hold where nothing matches", async ({ store, query, event }) => {
      await store.append({ events: event("A"), condition: { failIfEventsMatch: query(["A"]) } });
    });

    it("hold where what matches is not after the position", async (place) => {
      const { store, query, event } = place;
      const after = await store.append({ events: event("A") });
      await store.append({
        events: event("A"),
        condition: { failIfEventsMatch: query(["A"]), after },
      });
    });

    it("hold where the position is ahead of everything", async ({ store, base, query, event }) => {
      const condition = { failIfEventsMatch: query(["A"]), after: at(base + 1_000_000) };
      await store.append({ events: event("A"), condition });
    });

    it("refuse where an event after the position matches", async ({ store, query, event, all }) => {
      const after = await store.append({ events: event("A") });
      await store.append({ events: event("A") });
      const condition = { failIfEventsMatch: query(["A"]), after };
      await assert.rejects(store.append({ events: event("B"), condition }), refused(condition));
      assert.equal((await all()).length, 2);
    });

    it("count every event where they have no position", async ({ store, query, event }) => {
      await store.append({ events: event("A") });
      const condition = { failIfEventsMatch: query(["A"]) };
      await assert.rejects(store.append({ events: event("A"), condition }), refused(condition));
    });

    it("tell types apart", async ({ store, query, event }) => {
      await store.append({ events: event("A", "x=1") });
      const condition = { failIfEventsMatch: query(["B"], "x=1") };
      await store.append({ events: event("B", "x=1"), condition });
    });

    it("tell tags apart, and need all of an item's tags", async ({ store, query, event }) => {
      await store.append({ events: event("A", "x=1") });
      await store.append({
        events: event("A"),
        condition: { failIfEventsMatch: query(["A"], "x=2") },
      });
      const both = { failIfEventsMatch: query(["A"], "x=1", "y=1") };
      await store.append({ events: event("A", "x=1", "y=1", "z=1"), condition: both });
      await assert.rejects(store.append({ events: event("A"), condition: both }), refused(both));
    });

    it("refuse where any item of theirs matches", async ({ store, tag, event }) => {
      await store.append({ events: event("B") });
      const [{ type: a }, { type: b }] = [event("A"), event("B")];
      const tags = Tags.from([tag]);
      const either = Query.fromItems([
        { types: [a], tags },
        { types: [b], tags },
      ]);
      const condition = { failIfEventsMatch: either };
      await assert.rejects(store.append({ events: event("A"), condition }), refused(condition));
      const neither = Query.fromItems([
        { types: [a], tags },
        { types: ["None"], tags },
      ]);
      await store.append({ events: event("C"), condition: { failIfEventsMatch: neither } });
    });

    it("need a type and a tag in every item", async ({ store, event }) => {
      const all = { failIfEventsMatch: Query.all() };
      await assert.rejects(store.append({ events: event("A"), condition: all }), /scoped/);
      const bare = { failIfEventsMatch: Query.fromItems([{ types: ["A"] }]) };
      await assert.rejects(store.append({ events: event("A"), condition: bare }), /one tag/);
    });
  });

  describe(`several commands in ${name}`, () => {
    it("are stored together, in order", async ({ store, base, event, all }) => {
      const commands = [{ events: [event("A"), event("B")] }, { events: event("C") }];
      assert.equal((await store.append(commands)).toString(), `${base + 3}`);
      assert.deepEqual(dataOf(await all()), [{ type: "A" }, { type: "B" }, { type: "C" }]);
    });

    it("have conditions on what was there before them", async ({ store, event, query, all }) => {
      const condition = { failIfEventsMatch: query(["A"]) };
      await store.append([1, 2, 3].map(() => ({ events: event("A"), condition })));
      assert.equal((await all()).length, 3);
    });

    it("may have conditions in the hundreds", async ({ store, event, query, all }) => {
      const command = (n: number) => {
        return {
          events: event("A", `n=${n}`),
          condition: { failIfEventsMatch: query(["A"], `n=${n}`) },
        };
      };
      const commands = Array.from({ length: 200 }, (_, n) => command(n));
      await store.append(commands);
      const again = [...Array.from({ length: 100 }, (_, n) => command(1_000 + n)), command(150)];
      await assert.rejects(store.append(again), refused(again[100]?.condition, 100));
      assert.equal((await all()).length, 200);
    });

    it("are refused together, and the command is named", async ({ store, event, query, all }) => {
      await store.append({ events: event("B") });
      const held = { failIfEventsMatch: query(["A"]) };
      const broken = { failIfEventsMatch: query(["B"]) };
      const commands = [
        { events: event("C") },
        { events: event("A"), condition: held },
        { events: event("A"), condition: broken },
      ];
      await assert.rejects(store.append(commands), refused(broken, 2));
      assert.equal((await all()).length, 1);
    });
  });

  describe(`writers at once in ${name}`, () => {
    it("without conditions are all stored", async ({ store, event, all }) => {
      await Promise.all(Array.from({ length: 50 }, () => store.append({ events: event("A") })));
      assert.equal(new Set(numbers(await all())).size, 50);
    });

    it("with one condition: exactly one wins", async ({ store, event, query, all }) => {
      const condition = { failIfEventsMatch: query(["A"]) };
      const writers = Array.from({ length: 20 }, () =>
        store.append({ events: event("A"), condition }),
      );
      const outcomes = await Promise.allSettled(writers);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
      for (const each of outcomes) if (each.status === "rejected") refused(condition)(each.reason);
      assert.equal((await all()).length, 1);
    });

    it("with conditions of different tags all win", async ({ store, event, query }) => {
      const writer = async (i: number) => {
        const condition = { failIfEventsMatch: query(["A"], `n=${i}`) };
        await store.append({ events: event("A", `n=${i}`), condition });
      };
      await Promise.all(Array.from({ length: 20 }, (_, i) => writer(i)));
    });
  });

  describe(`decision models on ${name}`, () => {
    it("have their states and a condition that protects them", async ({ store, event, tag }) => {
      const { type } = event("A");
      const counter = (...tags: string[]): EventHandlerWithState<any, number> => ({
        tagFilter: Tags.from([tag, ...tags]),
        init: 0,
        when: { [type]: (_: unknown, count: number) => count + 1 },
      });
      const empty = await buildDecisionModel(store, { all: counter(), x: counter("x=1") });
      assert.deepEqual(empty.state, { all: 0, x: 0 });
      assert.equal(empty.appendCondition.after?.toString(), "0");
      await store.append({ events: event("A", "x=1"), condition: empty.appendCondition });
      await store.append({ events: event("A") });
      const two = await buildDecisionModel(store, { all: counter(), x: counter("x=1") });
      assert.deepEqual(two.state, { all: 2, x: 1 });
      await store.append({ events: event("A"), condition: two.appendCondition });
      const late = store.append({ events: event("A"), condition: two.appendCondition });
      await assert.rejects(late, refused(two.appendCondition));
    });
  });
}
