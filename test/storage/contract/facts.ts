// Facts: what `decide` needs, all of it as of one head.
import { expect } from "vitest";
import { scanRecord } from "../../../src/domain/record.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, composeCommit, idOf, newEvent, newEvents } from "../../support/events.ts";
import { expectBytes, contractTest, pick, queryOf, type OpenContract } from "./checks.ts";

export function factsContract(open: OpenContract): void {
  contractTest(open, "an empty store knows nothing of anything", async (storage) => {
    const facts = await storage.facts({
      streams: ["a", "b", "a"],
      ids: [idOf(900_000)],
      conditions: [{ query: { items: [] }, after: 0 }],
    });
    expect(facts.head).toEqual({ position: 0, recordedAt: 0 });
    expect([...facts.versions]).toEqual([
      ["a", 0],
      ["b", 0],
    ]);
    expect([...facts.events]).toEqual([]);
    expect(facts.matches).toEqual([0]);
  });

  contractTest(open, "nothing asked is nothing answered but the head", async (fresh, engine) => {
    const { commit } = await commitEvents(
      fresh,
      newEvents(3, () => ({ stream: "a" })),
    );
    const storage = await engine.settle();
    const facts = await storage.facts({ streams: [], ids: [], conditions: [] });
    expect(facts.head).toEqual({ position: 3, recordedAt: commit.recordedAt });
    expect([facts.versions.size, facts.events.size, facts.matches.length]).toEqual([0, 0, 0]);
  });

  contractTest(
    open,
    "a stream's version counts its own events and nobody else's",
    async (fresh, engine) => {
      const names = ["a", "a-", "a-1", "a-10", "b", "é", "e\u0301", "😀", "a"];
      await commitEvents(
        fresh,
        newEvents(names.length, (i) => ({ stream: names[i] ?? "" })),
      );
      await commitEvents(
        fresh,
        newEvents(2, () => ({ stream: "", type: "a", tags: ["a-"] })),
      );
      await commitEvents(fresh, [newEvent({ stream: "a-1" }), newEvent({ stream: "b" })]);
      const storage = await engine.settle();
      const asked = ["a", "a-", "a-1", "a-10", "b", "é", "e\u0301", "😀", "a-100", "A", "e", "-"];
      const { versions } = await storage.facts({ streams: asked, ids: [], conditions: [] });
      expect([...versions.values()]).toEqual([2, 1, 2, 1, 2, 1, 1, 1, 0, 0, 0, 0]);
    },
  );

  contractTest(open, "versions hold over many commits and events", async (fresh, engine) => {
    for (let round = 1; round <= 30; round++) {
      await commitEvents(
        fresh,
        newEvents(30, (i) => ({ stream: `s-${i % round}` })),
      );
    }
    const storage = await engine.settle();
    const streams = Array.from({ length: 30 }, (_, i) => `s-${i}`);
    const { versions } = await storage.facts({ streams, ids: [], conditions: [] });
    const expected = streams.map((_, i) => {
      let count = 0;
      for (let round = 1; round <= 30; round++) {
        for (let event = 0; event < 30; event++) if (event % round === i) count++;
      }
      return count;
    });
    expect([...versions.values()]).toEqual(expected);
  });

  contractTest(
    open,
    "an event is found by the id its client chose, with its record",
    async (storage) => {
      const { commit: first } = await commitEvents(storage, [
        newEvent({ stream: "a", type: "T", tags: ["x:1", "漢"], data: "one" }),
        newEvent({ type: "Free", data: "x".repeat(40_000) }),
        newEvent({ stream: "a", type: "$sys" }),
      ]);
      const { commit: second } = await commitEvents(storage, [newEvent({ stream: "a-1" })]);
      const commits = [first, second];
      const ids = commits.flatMap((commit) => commit.events.map((event) => event.id));
      const { events } = await storage.facts({ streams: [], ids, conditions: [] });
      expect([...events.keys()].toSorted()).toEqual(ids.toSorted());
      for (const { events: stored, recordedAt } of commits) {
        for (const { frame, idFromClient: _, ...placed } of stored) {
          const { record, ...found } = events.get(placed.id) ?? expect.fail(placed.id);
          expect(found).toEqual({ ...placed, recordedAt });
          expect(scanRecord(record)).toEqual(placed);
          expectBytes(record, frame.subarray(frame.length - record.length), placed.id);
        }
      }
    },
  );

  contractTest(
    open,
    "an id that is not there is absent, however close it is",
    async (fresh, engine) => {
      const event = newEvent({ stream: idOf(800_001), type: idOf(800_002), tags: [idOf(800_003)] });
      await commitEvents(fresh, [event]);
      const storage = await engine.settle();
      const near = [800_001, 800_002, 800_003, 800_004].map(idOf);
      const last = event.id.replace(/.$/, (digit) => (digit === "0" ? "1" : "0"));
      const first = `f${event.id.slice(1)}`;
      const ids = [...near, last, first, event.id];
      const { events } = await storage.facts({ streams: [], ids, conditions: [] });
      expect([...events.keys()]).toEqual([event.id]);
    },
  );

  contractTest(
    open,
    "a condition is answered with a match after `after`, or 0",
    async (fresh, engine) => {
      await commitEvents(fresh, [
        newEvent({ stream: "a-1", type: "Opened", tags: ["k:1", "k:2"] }),
        newEvent({ stream: "a-2", type: "Opened", tags: ["k:1"] }),
        newEvent({ stream: "b", type: "Closed", tags: ["k:2"] }),
      ]);
      await commitEvents(fresh, [newEvent({ type: "Free", tags: ["k:1", "k:10"] })]);
      const storage = await engine.settle();
      const cases: [item: Parameters<typeof queryOf>[number] | undefined, newest: number][] = [
        [undefined, 4],
        [{}, 4],
        [{ streams: ["a-1"] }, 1],
        [{ streams: ["a-1", "a-2", "nobody"] }, 2],
        [{ streams: ["nobody"] }, 0],
        [{ streamPrefixes: ["a"] }, 2],
        [{ streamPrefixes: ["a-1"] }, 1],
        [{ streamPrefixes: ["b-", "nobody"] }, 0],
        [{ types: ["Opened"] }, 2],
        [{ types: ["Open"] }, 0],
        [{ types: ["Opened", "Closed"] }, 3],
        [{ tags: ["k:1"] }, 4],
        [{ tags: ["k:2"] }, 3],
        [{ tags: ["k:1", "k:2"] }, 1],
        [{ tags: ["k:"] }, 0],
        [{ tagsAny: ["k:2", "nothing"] }, 3],
        [{ tagsAny: ["k:2", "k:10"], types: ["Opened"] }, 1],
        [{ streams: ["a-1"], types: ["Closed"] }, 0],
        [{ streamPrefixes: ["a"], types: ["Opened"], tags: ["k:2"] }, 1],
        [{ types: ["Free"], tags: ["k:10"] }, 4],
      ];
      for (const [item, newest] of cases) {
        const query = item === undefined ? { items: [] } : queryOf(item);
        const what = JSON.stringify(item);
        for (let after = 0; after <= 6; after++) {
          const [match = -1] = await matchesOf(storage, [{ query, after }]);
          if (newest <= after) expect(match, `${what} after ${after}`).toBe(0);
          else expect(match, `${what} after ${after}`).toBeGreaterThan(after);
          expect(match, what).toBeLessThanOrEqual(newest);
        }
        if (newest > 0)
          expect(await matchesOf(storage, [{ query, after: newest - 1 }])).toEqual([newest]);
      }
    },
  );

  contractTest(open, "several conditions are answered in their order", async (fresh, engine) => {
    await commitEvents(
      fresh,
      newEvents(5, (i) => ({ stream: `s-${i}` })),
    );
    const storage = await engine.settle();
    const conditions = [3, 9, 0, 4, 1].map((i) => ({
      query: queryOf({ streams: [`s-${i}`] }),
      after: 0,
    }));
    expect(await matchesOf(storage, conditions)).toEqual([4, 0, 1, 5, 2]);
  });

  contractTest(open, "items of a condition are alternatives", async (fresh, engine) => {
    await commitEvents(
      fresh,
      newEvents(5, (i) => ({ stream: `s-${i}`, tags: [`n:${i}`] })),
    );
    const storage = await engine.settle();
    const query = queryOf({ streams: ["s-0"] }, { tags: ["n:3"] }, { types: ["nothing"] });
    expect(await matchesOf(storage, [{ query, after: 3 }])).toEqual([4]);
    expect(await matchesOf(storage, [{ query, after: 4 }])).toEqual([0]);
  });

  contractTest(
    open,
    "system events count in conditions only where they are named",
    async (fresh, engine) => {
      await commitEvents(fresh, [
        newEvent({ stream: "a", type: "T" }),
        newEvent({ stream: "a", type: "$deleted", tags: ["k"] }),
        newEvent({ stream: "$settings", type: "$set" }),
      ]);
      const storage = await engine.settle();
      const after = 0;
      const conditions = [
        { query: { items: [] }, after: 1 },
        { query: queryOf({}), after: 1 },
        { query: queryOf({ streams: ["a"] }), after: 1 },
        { query: queryOf({ streamPrefixes: ["$"] }), after },
        { query: queryOf({ tags: ["k"] }), after },
        { query: queryOf({ types: ["$deleted"] }), after },
        { query: queryOf({ streams: ["a"], types: ["$deleted", "T"] }), after: 1 },
        { query: queryOf({ streams: ["$settings"] }), after },
      ];
      expect(await matchesOf(storage, conditions)).toEqual([0, 0, 0, 0, 0, 2, 2, 3]);
    },
  );

  contractTest(open, "facts asked together are of one head", async (storage) => {
    for (let round = 0; round < 10; round++) {
      const commit = await composeCommit(
        storage,
        newEvents(10, () => ({ stream: "a" })),
      );
      const answers = [];
      const running = storage.commit(commit);
      const ids = pick(commit.events, 0, -1).map((event) => event.id);
      const conditions = [{ query: queryOf({ streams: ["a"] }), after: commit.after.position }];
      for (let ask = 0; ask < 5; ask++) {
        answers.push(storage.facts({ streams: ["a"], ids, conditions }));
        await Promise.resolve();
      }
      await running;
      answers.push(storage.facts({ streams: ["a"], ids, conditions }));
      for (const facts of await Promise.all(answers)) {
        const there = facts.head.position > commit.after.position;
        expect(facts.versions.get("a")).toBe(facts.head.position);
        expect(facts.events.size).toBe(there ? 2 : 0);
        expect((facts.matches[0] ?? 0) > 0).toBe(there);
      }
    }
  });
}

async function matchesOf(
  storage: Storage,
  conditions: Parameters<Storage["facts"]>[0]["conditions"],
): Promise<readonly number[]> {
  return (await storage.facts({ streams: [], ids: [], conditions })).matches;
}
