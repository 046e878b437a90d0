// Streams: appends, versions, expectations, ranges, states, commands.

import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  assertThatArray,
  CommandHandler,
  ConcurrencyError,
  DeciderCommandHandler,
  ExpectedVersionConflictError,
  isExpectedVersionConflictError,
  JSONParser,
  STREAM_DOES_NOT_EXIST,
  STREAM_EXISTS,
  WrapEventStore,
  type EventStore,
} from "@event-driven-io/emmett";
import { added, annals, cartId, confirmed, discounted } from "./shopping.js";
import { evolve, initialState, stores, type CartEvent } from "./shopping.js";

const three: CartEvent[] = [added("shoes", 10), added("hat", 20), discounted(50)];
const conflict = (current: bigint, expected: unknown) => (error: unknown) => {
  assert.ok(error instanceof ExpectedVersionConflictError && error instanceof ConcurrencyError);
  assert.ok(isExpectedVersionConflictError(error));
  assert.equal(error.errorCode, 412);
  assert.deepEqual([error.current, error.expected], [`${current}`, `${expected}`]);
  return true;
};

for (const [name, store] of stores) {
  const it = (title: string, body: (store: EventStore<any>, id: string) => Promise<void>) =>
    test(title, async () => body(store, cartId()));

  describe(`appends to ${name}`, () => {
    it("give the next version, and say whether the stream is new", async (store, id) => {
      const first = await store.appendToStream<CartEvent>(id, [added()]);
      assert.equal(first.nextExpectedStreamVersion, 1n);
      assert.equal(first.createdNewStream, true);
      const second = await store.appendToStream<CartEvent>(id, [added(), confirmed]);
      assert.equal(second.nextExpectedStreamVersion, 3n);
      assert.equal(second.createdNewStream, false);
    });

    it("give back data, metadata and places", async (store, id) => {
      await store.appendToStream<CartEvent>(id, three);
      const { events, currentStreamVersion, streamExists } = await store.readStream<CartEvent>(id);
      assert.deepEqual([currentStreamVersion, streamExists], [3n, true]);
      assert.deepEqual(
        events.map(({ type, data }) => ({ type, data })),
        three.map(({ type, data }) => ({ type, data })),
      );
      const places = events.map(({ metadata }) => metadata as Record<string, unknown>);
      assert.deepEqual(
        places.map((each) => each["streamPosition"]),
        [1n, 2n, 3n],
      );
      assert.deepEqual(
        places.map((each) => each["streamName"]),
        [id, id, id],
      );
      assert.equal(new Set(places.map((each) => each["messageId"])).size, 3);
      assert.ok(
        (places[1]?.["globalPosition"] as bigint) > (places[0]?.["globalPosition"] as bigint),
      );
      assert.equal(places[2]?.["reason"], "sale");
    });

    for (const [is, expected, holds] of [
      ["absent", STREAM_DOES_NOT_EXIST, true],
      ["absent", 0n, true],
      ["absent", STREAM_EXISTS, false],
      ["absent", 1n, false],
      ["at 3", STREAM_DOES_NOT_EXIST, false],
      ["at 3", STREAM_EXISTS, true],
      ["at 3", 3n, true],
      ["at 3", 2n, false],
      ["at 3", 4n, false],
      ["at 3", "NO_CONCURRENCY_CHECK", true],
    ] as const) {
      it(`expecting ${expected} of a stream that is ${is}: ${holds}`, async (store, id) => {
        if (is !== "absent") await store.appendToStream<CartEvent>(id, three);
        const current = is === "absent" ? 0n : 3n;
        const options = { expectedStreamVersion: expected as never };
        const appending = store.appendToStream<CartEvent>(id, [added()], options);
        if (holds) assert.equal((await appending).nextExpectedStreamVersion, current + 1n);
        else await assert.rejects(appending, conflict(current, expected));
        const { events } = await store.readStream(id);
        assert.equal(BigInt(events.length), holds ? current + 1n : current);
      });

      it(`reading a stream that is ${is}, expecting ${expected}: ${holds}`, async (store, id) => {
        if (is !== "absent") await store.appendToStream<CartEvent>(id, three);
        const current = is === "absent" ? 0n : 3n;
        // Emmett's own store throws at once.
        const expecting = { expectedStreamVersion: expected as never };
        const reading = Promise.resolve().then(() => store.readStream(id, expecting));
        if (holds) assert.equal((await reading).currentStreamVersion, current);
        else await assert.rejects(reading, conflict(current, expected));
      });
    }

    it("of many at once, one with an expected version wins", async (store, id) => {
      await store.appendToStream<CartEvent>(id, [added()]);
      const writers = Array.from({ length: 20 }, () =>
        store.appendToStream<CartEvent>(id, [added()], { expectedStreamVersion: 1n as never }),
      );
      const outcomes = await Promise.allSettled(writers);
      assert.equal(outcomes.filter(({ status }) => status === "fulfilled").length, 1);
      assert.equal((await store.readStream(id)).events.length, 2);
    });
  });

  describe(`streams of ${name}`, () => {
    it("exist once they have an event, whatever else there is", async (store, id) => {
      assert.equal(await store.streamExists(id), false);
      const { events, streamExists, currentStreamVersion } = await store.readStream(id);
      assert.deepEqual([events, streamExists, currentStreamVersion], [[], false, 0n]);
      await store.appendToStream<CartEvent>(cartId(), [added()]);
      assert.equal(await store.streamExists(id), false);
      await store.appendToStream<CartEvent>(id, [added()]);
      assert.equal(await store.streamExists(id), true);
    });

    it("are folded, up to a version too", async (store, id) => {
      const folded = (to?: bigint) =>
        store.aggregateStream(id, { evolve, initialState, ...(to && { read: { to } }) });
      assert.deepEqual((await folded()).state, initialState());
      assert.equal((await folded()).streamExists, false);
      for (const event of three) await store.appendToStream<CartEvent>(id, [event]);
      const states = [await folded(1n), await folded(2n), await folded(3n), await folded()];
      assert.deepEqual(
        states.map(({ state }) => state.total),
        [10, 30, 15, 15],
      );
      assert.deepEqual(
        states.map(({ currentStreamVersion: at }) => at),
        [1n, 2n, 3n, 3n],
      );
    });

    it("are folded with the events' metadata", async (store, id) => {
      await store.appendToStream<CartEvent>(id, three);
      const { state } = await store.aggregateStream<bigint[], CartEvent>(id, {
        evolve: (seen: bigint[], event: any) => [...seen, event.metadata.streamPosition],
        initialState: () => [],
      });
      assert.deepEqual(state, [1n, 2n, 3n]);
    });

    it("have their events upcast and downcast", async (store, id) => {
      const versioning = {
        downcast: ({ type, data }: any) => ({ type, data: { ...data, price: `${data.price}` } }),
        upcast: ({ type, data }: any) => ({ type, data: { ...data, price: Number(data.price) } }),
      };
      await store.appendToStream<CartEvent>(id, [added("hat", 7)], {
        schema: { versioning } as never,
      });
      const [stored] = (await store.readStream<any>(id)).events;
      assert.deepEqual(stored?.data, { item: "hat", price: "7" });
      const [read] = (await store.readStream<any>(id, { schema: { versioning } as never })).events;
      assert.deepEqual(read?.data, { item: "hat", price: 7 });
    });
  });

  describe(`commands on ${name}`, () => {
    const handle = CommandHandler({ evolve, initialState });

    it("decide on the state and append at its version", async (store, id) => {
      const first = await handle(store, id, () => added("shoes", 10));
      assert.deepEqual([first.newState.total, first.nextExpectedStreamVersion], [10, 1n]);
      const second = await handle(store, id, (cart) => [added("hat", cart.total), confirmed]);
      assert.deepEqual(second.newState, { items: ["shoes", "hat"], total: 20, isConfirmed: true });
      const nothing = await handle(store, id, () => []);
      assert.equal(nothing.nextExpectedStreamVersion, 3n);
    });

    it("fail where the stream is in another state than expected", async (store, id) => {
      const expecting = { expectedStreamVersion: STREAM_DOES_NOT_EXIST as never };
      await handle(store, id, () => added(), expecting);
      await assert.rejects(
        handle(store, id, () => added(), expecting),
        conflict(1n, STREAM_DOES_NOT_EXIST),
      );
    });

    it("are tried once, or again where they say so", async (store, id) => {
      const command = async (retry?: object) => {
        let tries = 0;
        const meddle = async () => {
          if (++tries <= 2) await store.appendToStream<CartEvent>(id, [added("other", 1)]);
          return added("mine", 1);
        };
        await handle(store, id, meddle, retry as never).catch((error: unknown) => {
          assert.ok(isExpectedVersionConflictError(error));
          tries = -tries;
        });
        return tries;
      };
      assert.equal(await command(), -1);
      assert.equal(await command({ retry: { onVersionConflict: true } }), 3);
    });

    it("of a decider, several at once", async (store, id) => {
      const decider = DeciderCommandHandler({
        decide: ({ data }: any, cart: any) => added(data.item, cart.items.length),
        evolve,
        initialState,
      });
      const commands = ["a", "b"].map((item) => ({ type: "Add" as const, data: { item } }));
      const { newState } = await decider(store, id, commands as never);
      assert.deepEqual([newState.items, newState.total], [["a", "b"], 1]);
    });

    it("work through Emmett's wrapper for tests", async (store, id) => {
      const wrapped = WrapEventStore(store);
      await wrapped.setup(id, [added()]);
      await handle(wrapped, id, () => confirmed);
      assertThatArray(wrapped.appendedEvents.get(id)?.[1] ?? []).containsExactly(confirmed);
    });
  });
}

describe("Annals, where Emmett's stores disagree", () => {
  const five = Array.from({ length: 5 }, (_, i) => added(`item ${i + 1}`));
  for (const [range, expected] of [
    [{}, [1, 2, 3, 4, 5]],
    [{ from: 0n }, [1, 2, 3, 4, 5]],
    [{ from: 2n }, [2, 3, 4, 5]],
    [{ to: 2n }, [1, 2]],
    [{ from: 2n, to: 4n }, [2, 3, 4]],
    [{ from: 2n, maxCount: 2n }, [2, 3]],
    [{ maxCount: 100n }, [1, 2, 3, 4, 5]],
    [{ to: 3n, maxCount: 2n }, [1, 2]],
    [{ from: 6n }, []],
    [{ to: 0n }, []],
    [{ from: 4n, to: 3n }, []],
    [{ to: 99n }, [1, 2, 3, 4, 5]],
  ] as const) {
    const title = JSONParser.stringify(range);
    test(`reads ${title}: both inclusive, and no more than asked for`, async () => {
      const [store, id] = [annals(), cartId()];
      await store.appendToStream(id, five);
      const { events, currentStreamVersion } = await store.readStream(id, range);
      assert.deepEqual(
        events.map(({ metadata }) => Number(metadata.streamPosition)),
        expected,
      );
      assert.equal(currentStreamVersion, 5n);
    });
  }

  test("metadata of any kind comes back, and a read message can be appended elsewhere", async () => {
    const [store, one, other] = [annals(), cartId(), cartId()];
    const metadata = { $user: "ann", tags: ["a", "b"], n: 1, "": "x", text: "t" };
    await store.appendToStream(one, [{ ...added(), metadata } as never]);
    const read = async (id: string) => {
      const [event] = (await store.readStream<any>(id)).events;
      const { messageId, streamName, streamPosition, globalPosition, ...own } = event!
        .metadata as any;
      assert.equal(streamName, id);
      return { event: event!, own };
    };
    const { event, own } = await read(one);
    assert.deepEqual(own, metadata);
    await store.appendToStream(other, [event as never]);
    assert.deepEqual((await read(other)).own, metadata);
  });

  test("data that JSON would lose is refused, or converted as Emmett does", async () => {
    const id = cartId();
    const odd = { type: "Odd", data: { big: 12n } } as const;
    await assert.rejects(annals().appendToStream(id, [odd]), /data\.big is a bigint/);
    const lenient = annals({
      json: { parse: JSON.parse, stringify: (data) => JSONParser.stringify(data) },
    });
    await lenient.appendToStream(id, [odd]);
    assert.deepEqual((await lenient.readStream<any>(id)).events[0]?.data, { big: "12" });
  });
});
