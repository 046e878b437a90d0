// Reads: of everything and of one stream, in both directions, over every kind of range and cut; and
// what was read does not change. (Queries: see query.ts.)
import { expect } from "vitest";
import { positionMax } from "../../../src/domain/limits.ts";
import type { CommitEvent } from "../../../src/domain/event.ts";
import type { Batch, Storage, StorageRead } from "../../../src/storage/storage.ts";
import { commitEvents, newEvent, newEvents, readRequest } from "../../support/events.ts";
import {
  expectBytes,
  expectRead,
  contractTest,
  pick,
  readBytes,
  readBatches,
  sameBytes,
  selectQuery,
  selectStream,
  type ContractEngine,
  type OpenContract,
} from "./checks.ts";

const mixed = ["a", "b", "a-1", "", "a", "c", "a-1", "b", "a", ""];

/** 60 events in commits of different sizes, of a few streams and none, small and not so small. */
async function fill(engine: ContractEngine): Promise<[Storage, CommitEvent[]]> {
  const events: CommitEvent[] = [];
  for (const size of [1, 9, 3, 20, 1, 1, 25]) {
    const { commit } = await commitEvents(
      engine.storage,
      newEvents(size, (i) => {
        const number = events.length + i;
        return { stream: mixed[number % 10] ?? "", data: "x".repeat((number * 97) % 1_500) };
      }),
    );
    events.push(...commit.events);
  }
  return [await engine.settle(), events];
}

export function readContract(open: OpenContract): void {
  contractTest(
    open,
    "everything is read in the order of positions, or backwards",
    async (_, engine) => {
      const [storage, events] = await fill(engine);
      await expectRead(storage, {}, events);
    },
  );

  contractTest(open, "a range of positions includes both of its ends", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const bounds = [0, 1, 2, 10, 11, 13, 14, 33, 34, 35, 36, 59, 60];
    for (const first of bounds) {
      for (const last of bounds) {
        const expected = first > last ? [] : events.slice(Math.max(0, first - 1), last);
        await expectRead(storage, { positions: { first, last } }, expected);
      }
    }
  });

  contractTest(
    open,
    "a range that is empty or beyond the head reads nothing",
    async (empty, engine) => {
      await expectRead(empty, { positions: { first: 1, last: 0 } }, []);
      const [storage] = await fill(engine);
      const ranges = [
        [1, 0],
        [61, 60],
        [60, 59],
        [5, 3],
        [61, 61],
        [positionMax, 60],
        [positionMax, positionMax],
      ] as const;
      for (const [first, last] of ranges) {
        await expectRead(storage, { positions: { first, last } }, []);
        await expectRead(storage, { positions: { first, last }, selection: selectStream("a") }, []);
        await expectRead(storage, { positions: { first, last }, selection: selectQuery({}) }, []);
      }
    },
  );

  contractTest(open, "a read never claims to be through more than the head", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const selections = [
      { kind: "all" },
      selectStream("a"),
      selectQuery({ types: ["no"] }),
    ] as const;
    for (const selection of selections) {
      for (const direction of ["forwards", "backwards"] as const) {
        const positions = { first: 1, last: positionMax };
        const request = readRequest(storage, { selection, direction, positions });
        const batches = await readBatches(storage, request);
        for (const { through } of batches) expect(through).toBeLessThanOrEqual(events.length);
        const expected = await readBytes(storage, {
          ...request,
          positions: { first: 1, last: 60 },
        });
        expectBytes(Buffer.concat(batches.flatMap((batch) => batch.frames)), expected, direction);
      }
    }
  });

  contractTest(open, "a stream is read by its exact name", async (_, engine) => {
    const [storage, events] = await fill(engine);
    for (const stream of ["a", "b", "a-1", "c", "a-", "A", "nobody"]) {
      const expected = events.filter((event) => event.stream === stream);
      await expectRead(storage, { selection: selectStream(stream) }, expected);
      const positions = { first: 8, last: 41 };
      const inside = expected.filter(({ position }) => position >= 8 && position <= 41);
      await expectRead(storage, { selection: selectStream(stream), positions }, inside);
    }
  });

  contractTest(open, "a range of versions includes both of its ends", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const own = events.filter((event) => event.stream === "a");
    const bounds = [0, 1, 2, 3, 9, own.length - 1, own.length, own.length + 1, positionMax];
    for (const first of bounds) {
      for (const last of bounds) {
        const expected = own.filter(({ version }) => version >= first && version <= last);
        const versions = { first, last };
        await expectRead(storage, { selection: selectStream("a"), versions }, expected);
      }
    }
  });

  contractTest(open, "ranges of versions and positions hold together", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const own = events.filter((event) => event.stream === "a");
    for (const versions of [pair(1, 18), pair(4, 7), pair(6, 6), pair(17, 30), pair(8, 2)]) {
      for (const positions of [
        pair(1, 60),
        pair(9, 21),
        pair(15, 15),
        pair(40, 60),
        pair(30, 20),
      ]) {
        const expected = own
          .filter(({ version }) => version >= versions.first && version <= versions.last)
          .filter(({ position }) => position >= positions.first && position <= positions.last);
        const selection = selectStream("a");
        await expectRead(storage, { selection, versions, positions }, expected);
      }
    }
  });

  contractTest(open, "streams do not mix, whatever their names share", async (fresh, engine) => {
    const names = ["a", "a-", "a-1", "a-1-", "a-11", "a/1", "a\u{10ffff}", "ab", "é", "e\u0301"];
    names.push("😀", "\uffee", "-", "--", " ", "a ", "Opened", "k:1", "漢字", "漢", "%2d", "a%");
    const all: CommitEvent[] = [];
    for (let round = 0; round < 3; round++) {
      const sketch = (i: number) => ({
        stream: names[i] ?? "",
        type: "Opened",
        tags: ["k:1", "a"],
      });
      const { commit } = await commitEvents(fresh, newEvents(names.length, sketch));
      all.push(...commit.events);
    }
    const storage = await engine.settle();
    for (const name of [...names, "a-1-1", "a-2", "", "k", "Open"]) {
      const own = all.filter((event) => event.stream === name);
      const request = readRequest(storage, { selection: selectStream(name) });
      const frames = Buffer.concat(own.map((event) => event.frame));
      expectBytes(await readBytes(storage, request), frames, name);
      expectBytes(
        await readBytes(storage, { ...request, direction: "backwards" }),
        Buffer.concat(own.toReversed().map((event) => event.frame)),
        name,
      );
    }
  });

  contractTest(
    open,
    "events without a stream are in the log and in no stream",
    async (fresh, engine) => {
      const { commit } = await commitEvents(fresh, [
        newEvent({ type: "Free", tags: ["k:1"] }),
        newEvent({ stream: "a", type: "Bound", tags: ["k:1"] }),
        newEvent({ type: "Free" }),
      ]);
      const storage = await engine.settle();
      await expectRead(storage, {}, commit.events);
      await expectRead(
        storage,
        { selection: selectQuery({ tags: ["k:1"] }) },
        pick(commit.events, 0, 1),
      );
      await expectRead(
        storage,
        { selection: selectQuery({ types: ["Free"] }) },
        pick(commit.events, 0, 2),
      );
      await expectRead(
        storage,
        { selection: selectQuery({ streamPrefixes: ["a"] }) },
        pick(commit.events, 1),
      );
      expect(await storage.stream("")).toBeUndefined();
      const streams = await storage.listStreams({ prefix: "", after: "", limit: 10 });
      expect(streams.map(({ stream }) => stream)).toEqual(["a"]);
    },
  );

  contractTest(
    open,
    "system events are hidden unless their type or stream is asked for",
    async (fresh, engine) => {
      const { commit } = await commitEvents(fresh, [
        newEvent({ stream: "a", type: "T" }),
        newEvent({ stream: "a", type: "$deleted" }),
        newEvent({ stream: "$all", type: "$set" }),
        newEvent({ type: "$loose" }),
        newEvent({ stream: "a", type: "T" }),
      ]);
      const { events } = commit;
      const storage = await engine.settle();
      await expectRead(storage, {}, pick(events, 0, 4));
      await expectRead(storage, { selection: selectStream("a") }, pick(events, 0, 4));
      await expectRead(storage, { selection: selectStream("$all") }, pick(events, 2));
      await expectRead(storage, { selection: selectQuery({}) }, pick(events, 0, 4));
      await expectRead(
        storage,
        { selection: selectQuery({ types: ["$deleted"] }) },
        pick(events, 1),
      );
      await expectRead(storage, { selection: selectQuery({ types: ["$loose"] }) }, pick(events, 3));
      const { versions } = await storage.facts({ streams: ["a"], ids: [], conditions: [] });
      expect(versions.get("a")).toBe(3);
    },
  );

  contractTest(
    open,
    "batches are cut near the bytes and at the number of events requested",
    async (fresh, engine) => {
      const sketch = () => ({ stream: "a", data: "x".repeat(900) });
      const { commit } = await commitEvents(fresh, newEvents(2_000, sketch));
      const storage = await engine.settle();
      const chunkBytesMax = 65_536;
      for (const selection of [{ kind: "all" }, selectStream("a"), selectQuery({})] as const) {
        for (const batchBytes of [1, 4_096, 65_536]) {
          const batches = await readBatches(
            storage,
            readRequest(storage, { selection, batchBytes }),
          );
          const largest = Math.max(...batches.map((batch) => batch.bytes));
          expect(largest).toBeLessThanOrEqual(batchBytes + chunkBytesMax);
          expect(batches.reduce((sum, batch) => sum + batch.count, 0)).toBe(commit.events.length);
        }
        for (const batchEvents of [1, 7, 100]) {
          const parts = { selection, batchEvents, positions: pair(101, 900) };
          const batches = await readBatches(storage, readRequest(storage, parts));
          expect(batches.reduce((sum, batch) => sum + batch.count, 0)).toBe(800);
        }
      }
    },
  );

  contractTest(open, "a read that is left early leaves the store as it was", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const parts: Partial<StorageRead>[] = [{}, { selection: selectStream("a") }];
    parts.push({ selection: selectQuery({ streamPrefixes: ["a"] }) });
    for (const part of parts) {
      for (const direction of ["forwards", "backwards"] as const) {
        const request = readRequest(storage, { ...part, direction, batchBytes: 1, batchEvents: 1 });
        for await (const batch of storage.read(request)) {
          expect(batch.count).toBeLessThanOrEqual(1);
          break;
        }
        const unread = storage.read(request)[Symbol.asyncIterator]();
        await unread.return?.();
      }
    }
    const { commit } = await commitEvents(storage, [newEvent({ stream: "a" })]);
    await expectRead(storage, {}, [...events, ...commit.events]);
  });

  contractTest(
    open,
    "a read bounded by a position is the same whatever is committed",
    async (_, engine) => {
      const [storage, events] = await fill(engine);
      const selections = [
        { kind: "all" },
        selectStream("a"),
        selectQuery({ streams: ["a"] }),
      ] as const;
      for (const selection of selections) {
        for (const direction of ["forwards", "backwards"] as const) {
          const positions = pair(1, events.length);
          const request = readRequest(storage, { selection, direction, positions, batchEvents: 5 });
          const expected = await readBytes(storage, request);
          const batches: Batch[] = [];
          for await (const batch of storage.read(request)) {
            batches.push(batch);
            await commitEvents(
              storage,
              newEvents(4, (i) => ({ stream: i < 2 ? "a" : "b" })),
            );
          }
          const frames = Buffer.concat(batches.flatMap((batch) => batch.frames));
          expectBytes(frames, expected, `${selection.kind} ${direction}`);
        }
      }
    },
  );

  contractTest(open, "bytes that were handed out stay as they are", async (_, engine) => {
    const [storage] = await fill(engine);
    const kept = await readBatches(storage, readRequest(storage, { batchBytes: 2_000 }));
    const runs = kept.flatMap((batch) => batch.frames);
    const copies = runs.map((frames) => Buffer.from(frames));
    for (let round = 0; round < 5; round++) {
      await commitEvents(
        storage,
        newEvents(50, () => ({ stream: "a", data: "y".repeat(500) })),
      );
      await readBatches(
        storage,
        readRequest(storage, { batchBytes: 2_000, direction: "backwards" }),
      );
    }
    expect(runs.every((frames, i) => sameBytes(frames, copies[i] ?? Buffer.alloc(0)))).toBe(true);
  });

  contractTest(open, "many reads at once each get their own answer", async (_, engine) => {
    const [storage, events] = await fill(engine);
    const reads = events.map(async (event, i) => {
      const direction = i % 2 === 0 ? "forwards" : "backwards";
      const positions = { first: event.position, last: events.length };
      const request = readRequest(storage, { positions, direction, batchEvents: 1 + (i % 7) });
      const own = events.slice(i);
      if (direction === "backwards") own.reverse();
      const frames = Buffer.concat(own.map(({ frame }) => frame));
      expectBytes(await readBytes(storage, request), frames, `from ${event.position}`);
    });
    await Promise.all(reads);
  });
}

function pair(first: number, last: number): { first: number; last: number } {
  return { first, last };
}
