// Read: what it returns and how it ends, by example and against a filter over a list; the gate that
// all reads share; slabs cut in two.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { selects, type Selection } from "../../../src/domain/query.ts";
import { sliceBatch, batchesOf } from "../../../src/log/read/cursor.ts";
import type { Bound, EventLog, ReadRequest } from "../../../src/log/event-log.ts";
import { quantumBytes, ReadGate } from "../../../src/log/read/read-gate.ts";
import type { Batch, Storage, StorageRead } from "../../../src/storage/storage.ts";
import {
  arbitraryEvent,
  arbitrarySelection,
  commitEvents,
  newEvent,
} from "../../support/events.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { appendAll, openLog, positionsIn, readAll, settled, type Opened } from "../harness.ts";

const streamA: Selection = { kind: "stream", stream: "a" };
const forwards = { selection: { kind: "all" }, direction: "forwards" } as const;

/** Events of two streams, two at each time: positions 1 to 6 at times 10 10 20 20 30 30. */
async function openSix(): Promise<Opened> {
  const opened = openLog();
  for (const time of [10, 20, 30]) {
    const events = [newEvent({ stream: "a" }), newEvent({ stream: "b" })];
    await commitEvents(opened.storage, events, time);
  }
  return opened;
}

function readOf(log: EventLog, request: Partial<ReadRequest>) {
  return readAll(log.read({ ...forwards, ...request }));
}

describe("a read", () => {
  test("of an empty store is an end at 0", async () => {
    const { log } = openLog();
    const end = { head: 0, after: 0, eventCount: 0, streamVersion: undefined };
    expect(await readOf(log, {})).toEqual({ positions: [], end, batchCount: 0 });
    expect((await readOf(log, { selection: streamA })).end).toEqual({ ...end, streamVersion: 0 });
  });

  test.each<[string, Partial<ReadRequest>, number[], number]>([
    ["from a time that several share", { from: { kind: "time", time: 20 } }, [3, 4, 5, 6], 6],
    ["from a time between", { from: { kind: "time", time: 11 } }, [3, 4, 5, 6], 6],
    ["from a time to come", { from: { kind: "time", time: 31 } }, [], 6],
    ["to a time that several share", { to: { kind: "time", time: 20 } }, [1, 2, 3, 4], 4],
    ["to a time between", { to: { kind: "time", time: 29 } }, [1, 2, 3, 4], 4],
    ["to a time before all", { to: { kind: "time", time: 9 } }, [], 0],
    ["to a time to come", { to: { kind: "time", time: 99 } }, [1, 2, 3, 4, 5, 6], 6],
    ["to a position", { to: { kind: "position", position: 3 } }, [1, 2, 3], 3],
    ["to a position to come", { to: { kind: "position", position: 9 } }, [1, 2, 3, 4, 5, 6], 6],
    ["from a position to come", { from: { kind: "position", position: 9 } }, [], 6],
    ["with a limit", { limit: 2 }, [1, 2], 2],
    ["to a version", { selection: streamA, to: { kind: "version", version: 2 } }, [1, 3], 3],
    [
      "to the newest version",
      { selection: streamA, to: { kind: "version", version: 3 } },
      [1, 3, 5],
      6,
    ],
    ["from a version", { selection: streamA, from: { kind: "version", version: 2 } }, [3, 5], 6],
    [
      "of contradictory positions",
      { from: { kind: "position", position: 4 }, to: { kind: "position", position: 2 } },
      [],
      2,
    ],
    [
      "of contradictory versions",
      {
        selection: streamA,
        from: { kind: "version", version: 3 },
        to: { kind: "version", version: 2 },
      },
      [],
      3,
    ],
  ])("forwards %s ends where a decision may begin", async (_, request, positions, after) => {
    const { log } = await openSix();
    const answer = await readOf(log, request);
    expect(answer.positions).toEqual(positions);
    expect(answer.end).toMatchObject({ head: 6, after, eventCount: positions.length });
  });

  test.each<[string, Partial<ReadRequest>, number[]]>([
    ["whole", {}, [6, 5, 4, 3, 2, 1]],
    ["from a time that several share", { from: { kind: "time", time: 20 } }, [4, 3, 2, 1]],
    ["from a time before all", { from: { kind: "time", time: 9 } }, []],
    ["to a time that several share", { to: { kind: "time", time: 20 } }, [6, 5, 4, 3]],
    ["with a limit", { limit: 2 }, [6, 5]],
    ["to a version", { selection: streamA, to: { kind: "version", version: 2 } }, [5, 3]],
    ["from a version", { selection: streamA, from: { kind: "version", version: 2 } }, [3, 1]],
  ])("backwards, %s, is of the head", async (_, request, positions) => {
    const { log } = await openSix();
    const answer = await readOf(log, { direction: "backwards", ...request });
    expect(answer.positions).toEqual(positions);
    expect(answer.end).toMatchObject({ head: 6, after: 6, eventCount: positions.length });
  });

  test("says the stream's version at its head, whatever it returned", async () => {
    const { log } = await openSix();
    for (const part of [{}, { limit: 1 }, { from: { kind: "version", version: 9 } as const }]) {
      const answer = await readOf(log, { selection: streamA, ...part });
      expect(answer.end?.streamVersion).toBe(3);
    }
  });

  test("is a view of the head it began with: later events are not in it", async () => {
    const { log, storage } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, { stream: "a" }, { stream: "a" });
    const reading = log.read({ ...forwards, selection: streamA });
    await appendAll(log, { stream: "a" });
    storage.control.beforeBatch = () => appendAll(log, { stream: "a" });
    const { positions, end } = await readAll(reading);
    expect(positions).toEqual([1, 2]);
    expect(end).toEqual({ head: 2, after: 2, eventCount: 2, streamVersion: 2 });
  });

  test("sees what was acknowledged before it began", async () => {
    const { log } = openLog();
    for (let n = 1; n <= 5; n++) {
      await appendAll(log, {});
      expect((await readOf(log, {})).end?.head).toBe(n);
    }
  });

  test("ends without an end when its signal aborts", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, {}, {}, {});
    const controller = new AbortController();
    const kinds: string[] = [];
    for await (const message of log.read(forwards, controller.signal)) {
      kinds.push(message.kind);
      if (kinds.length === 2) controller.abort();
    }
    expect(kinds).toEqual(["batch", "batch"]);
  });

  test("ends the engine's read when it is left early or cut by its limit", async () => {
    const open = new Set<object>();
    const { log } = openLog({
      limits: { batchBytesMax: 1 },
      wrap: (storage) => ({
        ...storage,
        async *read(request) {
          open.add(request);
          try {
            yield* storage.read(request);
          } finally {
            open.delete(request);
          }
        },
      }),
    });
    await appendAll(log, {}, {}, {});
    for await (const message of log.read(forwards)) if (message.kind === "batch") break;
    await readOf(log, { limit: 1 });
    expect(open.size).toBe(0);
  });

  test("throws what the engine throws", async () => {
    const { log, storage } = await openSix();
    storage.control.beforeBatch = () => Promise.reject(new Error("unreadable"));
    await expect(readOf(log, {})).rejects.toThrow("unreadable");
  });
});

describe("generated reads", () => {
  const arbitraryBound = (versions: boolean): fc.Arbitrary<Bound> =>
    fc.oneof(
      fc.integer({ min: 1, max: 14 }).map((position) => ({ kind: "position" as const, position })),
      fc.integer({ min: 0, max: 8 }).map((time) => ({ kind: "time" as const, time })),
      ...(versions
        ? [fc.integer({ min: 1, max: 6 }).map((version) => ({ kind: "version" as const, version }))]
        : []),
    );
  const arbitraryRequest: fc.Arbitrary<ReadRequest> = arbitrarySelection.chain((selection) =>
    fc.record({
      selection: fc.constant(selection),
      direction: fc.constantFrom("forwards", "backwards"),
      from: fc.option(arbitraryBound(selection.kind === "stream"), { nil: undefined }),
      to: fc.option(arbitraryBound(selection.kind === "stream"), { nil: undefined }),
      limit: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
    }),
  );

  test("are a filter over the list, and their end is true", async () => {
    const groups = fc.array(fc.array(arbitraryEvent, { minLength: 1, maxLength: 4 }), {
      maxLength: 5,
    });
    await fc.assert(
      fc.asyncProperty(
        groups,
        arbitraryRequest,
        fc.integer({ min: 1, max: 600 }),
        async (all, asked, bytes) => {
          const storage = createModelStorage({ batchScanMax: 3 });
          const { log } = openLog({ storage, limits: { batchBytesMax: bytes } });
          for (const [i, events] of all.entries()) await commitEvents(storage, events, 1 + i * 2);
          const { positions, end } = await readAll(log.read(asked));
          const matching = matchingOf(storage, asked);
          expect(positions).toEqual(matching.slice(0, asked.limit));
          const head = storage.head().position;
          expect(end).toMatchObject({ head, eventCount: positions.length });
          if (asked.selection.kind === "stream") {
            const own = storage.data.events.filter((event) => selects(asked.selection, event));
            expect(end?.streamVersion).toBe(own.at(-1)?.version ?? 0);
          } else expect(end?.streamVersion).toBeUndefined();
          const after = end?.after ?? -1;
          const missed = matching.filter((each) => each <= after && !positions.includes(each));
          const isCut = positions.length === asked.limit || asked.to !== undefined;
          if (asked.direction === "backwards" || !isCut) expect(after).toBe(head);
          else {
            expect(missed).toEqual([]);
            expect(after).toBeGreaterThanOrEqual(positions.at(-1) ?? 0);
            expect(after).toBeLessThanOrEqual(head);
          }
        },
      ),
      { numRuns: 400 },
    );
  });

  function matchingOf({ data }: ModelStorage, asked: ReadRequest): number[] {
    const sign = asked.direction === "forwards" ? 1 : -1;
    const matching = data.events.filter((event) => {
      const distance = (bound: Bound | undefined): number => {
        if (bound === undefined) return 0;
        if (bound.kind === "version") return (event.version - bound.version) * sign;
        if (bound.kind === "time") return (event.recordedAt - bound.time) * sign;
        return (event.position - bound.position) * sign;
      };
      const inBounds = distance(asked.from) >= 0 && distance(asked.to) <= 0;
      return inBounds && selects(asked.selection, event);
    });
    const positions = matching.map(({ position }) => position);
    return sign > 0 ? positions : positions.toReversed();
  }
});

describe("a slab", () => {
  test("cut anywhere gives its records in order, whole, and says how far it goes", async () => {
    const { storage } = openLog();
    const { commit } = await commitEvents(
      storage,
      [1, 2, 3, 4, 5].map(() => newEvent()),
    );
    const [a, b, c, d, e] = commit.events.map(({ frame }) => frame) as Uint8Array<ArrayBuffer>[];
    const join = (...parts: (Uint8Array | undefined)[]) =>
      Buffer.concat(parts.flatMap((p) => p ?? []));
    const frames = [join(a, b), join(c), join(d, e)];
    const bytes = frames.reduce((sum, run) => sum + run.length, 0);
    const batch: Batch = { frames, count: 5, bytes, through: 9 };
    for (let from = 0; from <= 5; from++) {
      for (let to = from; to <= 6; to++) {
        const cut = sliceBatch(batch, from, to);
        const expected = [1, 2, 3, 4, 5].slice(from, to);
        expect(positionsIn(cut)).toEqual(expected);
        expect(cut.count).toBe(expected.length);
        expect(cut.bytes).toBe(cut.frames.reduce((sum, run) => sum + run.length, 0));
        if (expected.length > 0) expect(cut.through).toBe(to >= 5 ? 9 : expected.at(-1));
      }
    }
  });
});

describe("the read gate", () => {
  test("lets reads of little pass at once, up to a quantum in a turn", async () => {
    const gate = new ReadGate();
    const small = quantumBytes / 8;
    for (let i = 0; i < 8; i++) expect(gate.enter(small)).toBeUndefined();
    expect(gate.enter(small)).toBeInstanceOf(Promise);
    for (let i = 0; i < 8; i++) gate.leave(small, 400);
    await settled();
    expect(gate.waitingCount).toBe(0);
  });

  test("lets one full slab in at a time, and the next one in a later turn", async () => {
    const gate = new ReadGate();
    const log: string[] = [];
    const reader = async (name: string) => {
      await gate.enter(quantumBytes);
      log.push(name);
      gate.leave(quantumBytes, quantumBytes);
    };
    const readers = ["a", "b", "c"].map(reader);
    const turns = (async () => {
      for (let i = 1; i <= 3; i++) {
        await new Promise((resolve) => setImmediate(resolve));
        log.push(`turn ${i}`);
      }
    })();
    await Promise.all([...readers, turns]);
    expect(log).toEqual(["a", "turn 1", "b", "turn 2", "c", "turn 3"]);
  });

  test("a full slab in line is not passed by for ever by reads of little", async () => {
    const gate = new ReadGate();
    const small = quantumBytes / 8;
    let entered = false;
    expect(gate.enter(small)).toBeUndefined();
    const large = gate.enter(quantumBytes)?.then(() => (entered = true));
    const after = gate.enter(small);
    gate.leave(small, small);
    await large;
    expect([entered, gate.waitingCount]).toEqual([true, 1]);
    gate.leave(quantumBytes, quantumBytes);
    await after;
  });

  test.each(["forwards", "backwards"] as const)(
    "a small read %s asks the engine once; four of them pass at a time",
    async (direction) => {
      const { storage } = await openSix();
      let asked = 0;
      const counted: Storage = {
        ...storage,
        read: (read) => {
          const batches = storage.read(read)[Symbol.asyncIterator]();
          const next = () => {
            asked++;
            return batches.next();
          };
          return { [Symbol.asyncIterator]: () => ({ next }) };
        },
      };
      const positions = { first: 1, last: 6 };
      const view: StorageRead = {
        selection: streamA,
        direction,
        positions,
        asOf: 6,
        batchBytes: 64 * 1024,
      };
      const source = { storage: counted, gate: new ReadGate() };
      const reads = Array.from({ length: 5 }, () => batchesOf(source, view));
      const batches = reads.map((read) => read.next());
      expect([asked, source.gate.waitingCount]).toEqual([4, 1]);
      for (const batch of await Promise.all(batches))
        expect(batch.value).toMatchObject({ count: 3 });
      for (const read of reads) expect((await read.next()).done).toBe(true);
      expect(asked).toBe(5);
    },
  );

  test("eight readers at full speed let appends through in every turn", async () => {
    const { log } = openLog({ limits: { batchBytesMax: 1 } });
    await appendAll(log, ...Array.from({ length: 20 }, () => ({})));
    let readCount = 0;
    const controller = new AbortController();
    const readers = Array.from({ length: 8 }, async () => {
      while (!controller.signal.aborted) {
        for await (const message of log.read(forwards, controller.signal)) {
          if (message.kind === "batch") readCount++;
        }
      }
    });
    const before = readCount;
    await appendAll(log, {}, {}, {});
    expect(readCount).toBeGreaterThan(before);
    controller.abort();
    await Promise.all(readers);
    expect((await readOf(log, {})).end?.head).toBe(23);
  });
});
