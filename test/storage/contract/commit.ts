// Commits: dense numbers, all or nothing, visible after and never before, whatever the events hold.
import { expect } from "vitest";
import { setImmediate as nextTurn } from "node:timers/promises";
import { defaultLimits } from "../../../src/domain/limits.ts";
import type { QueryItem } from "../../../src/domain/query.ts";
import { decodeRecord } from "../../../src/domain/record.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import {
  commitEvents,
  composeCommit,
  newEvent,
  newEvents,
  readRequest,
  recordsOf,
} from "../../support/events.ts";
import {
  expectBytes,
  expectRead,
  contractTest,
  pick,
  queryOf,
  readBytes,
  selectQuery,
  selectStream,
  type OpenEngine,
} from "./checks.ts";

export function commitContract(open: OpenEngine): void {
  contractTest(open, "a new store is empty and accepts", async (storage) => {
    expect(storage.head()).toEqual({ position: 0, recordedAt: 0 });
    expect(storage.writeState()).toBe("accepting");
    await expectRead(storage, {}, []);
  });

  contractTest(
    open,
    "positions are dense from 1, versions dense from 1 per stream",
    async (storage) => {
      for (const streams of [["a", "b", "a"], ["b"], ["", "a", "", "c"]]) {
        await commitEvents(
          storage,
          newEvents(streams.length, (i) => ({ stream: streams[i] ?? "" })),
        );
      }
      const events = (await recordsOf(storage)).map(decodeRecord);
      expect(events.map((event) => Number(event.position))).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
      expect(events.map((event) => `${event.stream}@${event.version}`)).toEqual([
        "a@1",
        "b@1",
        "a@2",
        "b@2",
        "@0",
        "a@3",
        "@0",
        "c@1",
      ]);
    },
  );

  contractTest(open, "a commit that resolved is visible to every later call", async (storage) => {
    for (let round = 1; round <= 20; round++) {
      const { commit, result } = await commitEvents(storage, [
        newEvent({ stream: "a" }),
        newEvent({ stream: `s-${round}`, type: `T${round}`, tags: [`t${round}`] }),
      ]);
      expect(result).toBe("committed");
      expect(storage.head()).toEqual({ position: 2 * round, recordedAt: commit.recordedAt });
      await expectRead(
        storage,
        { positions: { first: 2 * round - 1, last: 2 * round } },
        commit.events,
      );
      await expectRead(storage, { selection: selectStream(`s-${round}`) }, commit.events.slice(1));
      const query = queryOf({ types: [`T${round}`], tags: [`t${round}`] });
      const { versions, matches } = await storage.facts({
        streams: ["a"],
        ids: [],
        conditions: [{ query, after: 0 }],
      });
      expect(versions.get("a")).toBe(round);
      expect(matches).toEqual([2 * round]);
      expect((await storage.stream("a"))?.version).toBe(round);
    }
  });

  contractTest(open, "a commit is visible to nobody before it resolves", async (storage) => {
    await commitEvents(
      storage,
      newEvents(3, () => ({ stream: "a" })),
    );
    for (let round = 0; round < 10; round++) {
      const before = storage.head();
      const commit = await composeCommit(
        storage,
        newEvents(200, () => ({ stream: "a" })),
      );
      const state = { resolved: false };
      const running = storage.commit(commit).finally(() => (state.resolved = true));
      while (!state.resolved) {
        expect(storage.head()).toEqual(before);
        await nextTurn();
      }
      expect(await running).toBe("committed");
      expect(storage.head().position).toBe(before.position + 200);
    }
  });

  contractTest(
    open,
    "what is asked during a commit is answered with all or none of it",
    async (storage) => {
      for (let round = 0; round < 10; round++) {
        const seen: Promise<void>[] = [];
        const commit = await composeCommit(
          storage,
          newEvents(50, () => ({ stream: "a" })),
        );
        const running = storage.commit(commit);
        for (let ask = 0; ask < 10; ask++) {
          seen.push(expectWholeCommits(storage, 50));
          await nextTurn();
        }
        await running;
        await Promise.all(seen);
      }
    },
  );

  contractTest(
    open,
    "a commit decided on an older head is stale and stores nothing",
    async (storage) => {
      const late = await composeCommit(storage, [newEvent({ stream: "late" })]);
      const { commit } = await commitEvents(
        storage,
        newEvents(2, () => ({ stream: "first" })),
      );
      expect(await storage.commit(late)).toBe("stale");
      expect(storage.head().position).toBe(2);
      expect(await storage.stream("late")).toBeUndefined();
      await expectRead(storage, {}, commit.events);
      const again = await commitEvents(storage, [newEvent({ stream: "late" })]);
      await expectRead(storage, {}, [...commit.events, ...again.commit.events]);
    },
  );

  contractTest(open, "one commit may hold as many events as the limits allow", async (storage) => {
    const events = newEvents(defaultLimits.commitEventsMax, (i) => ({
      stream: `s-${i % 7}`,
      type: `T${i % 3}`,
      tags: [`n:${i % 11}`],
      data: "x".repeat(i % 90),
    }));
    const small = await commitEvents(storage, [newEvent({ stream: "s-0" })]);
    const { commit } = await commitEvents(storage, events);
    const all = [...small.commit.events, ...commit.events];
    const frames = Buffer.concat(all.map((event) => event.frame));
    expectBytes(await readBytes(storage, readRequest(storage)), frames, "the whole log");
    expect((await storage.stream("s-0"))?.version).toBe(1 + Math.ceil(events.length / 7));
    const ids = pick(all, 1, all.length >> 1, -1).map((event) => event.id);
    const { events: found } = await storage.facts({ streams: [], ids, conditions: [] });
    const positions = ids.map((id) => found.get(id)?.position);
    expect(positions).toEqual([2, (all.length >> 1) + 1, all.length]);
  });

  contractTest(open, "one event may be as large as the limits allow", async (storage) => {
    const data = Buffer.alloc(defaultLimits.eventBytesMax - 200, "annals ");
    for (let i = 0; i < data.length; i += 4_096) data.writeUInt32BE(i, i);
    const { commit } = await commitEvents(storage, [
      newEvent({ stream: "big", data: "before" }),
      newEvent({ stream: "big", data }),
      newEvent({ stream: "big", data: "after" }),
    ]);
    const { commit: next } = await commitEvents(storage, [newEvent({ stream: "big", data })]);
    const all = [...commit.events, ...next.events];
    await expectRead(storage, {}, all);
    await expectRead(storage, { selection: selectStream("big") }, all);
    await expectRead(storage, { positions: { first: 2, last: 2 } }, all.slice(1, 2));
  });

  contractTest(
    open,
    "names and tags may be as long and as many as the limits allow",
    async (storage) => {
      const { streamNameBytesMax, typeBytesMax, tagBytesMax, tagsMax } = defaultLimits;
      const sketch = {
        stream: "s".repeat(streamNameBytesMax),
        type: "t".repeat(typeBytesMax),
        tags: Array.from({ length: tagsMax }, (_, i) => `${i}:`.padEnd(tagBytesMax, "g")),
      };
      const { commit } = await commitEvents(storage, [
        newEvent(sketch),
        newEvent({ ...sketch, stream: "漢".repeat(streamNameBytesMax / 3) }),
        newEvent({ ...sketch, stream: `${"s".repeat(streamNameBytesMax - 1)}t` }),
        newEvent({ ...sketch, tags: sketch.tags.slice(0, tagsMax - 1) }),
      ]);
      const query = (item: Partial<QueryItem>) => ({ selection: selectQuery(item) });
      await expectRead(
        storage,
        { selection: selectStream(sketch.stream) },
        pick(commit.events, 0, 3),
      );
      await expectRead(storage, query({ types: [sketch.type] }), commit.events);
      await expectRead(storage, query({ tags: sketch.tags }), pick(commit.events, 0, 1, 2));
      await expectRead(storage, query({ streamPrefixes: ["漢漢"] }), pick(commit.events, 1));
      for (const tag of sketch.tags.slice(0, -1)) {
        await expectRead(storage, query({ tags: [tag] }), commit.events);
      }
    },
  );

  contractTest(
    open,
    "the bytes of an event come back as they were, whatever they are",
    async (storage) => {
      const bytes = Uint8Array.from({ length: 256 }, (_, i) => i);
      const { commit } = await commitEvents(storage, [
        newEvent({ stream: "a", data: bytes, metadata: { "": "", key: "\u0000\n", __proto: "x" } }),
        newEvent({ stream: "a" }),
        newEvent({ stream: "a", data: Buffer.alloc(100_000) }),
        newEvent({ stream: "a", data: bytes.toReversed() }),
      ]);
      await expectRead(storage, {}, commit.events);
      await expectRead(storage, { selection: selectStream("a") }, commit.events);
    },
  );
}

/** Facts and a read asked now see a whole number of commits of `size` events of stream `a`. */
async function expectWholeCommits(storage: Storage, size: number): Promise<void> {
  const condition = { query: { items: [] }, after: 0 };
  const facts = await storage.facts({ streams: ["a"], ids: [], conditions: [condition] });
  expect(facts.head.position % size).toBe(0);
  expect(facts.versions.get("a")).toBe(facts.head.position);
  expect(facts.matches[0]).toBeLessThanOrEqual(facts.head.position);
  const count = (await recordsOf(storage)).length;
  expect(count % size).toBe(0);
}
