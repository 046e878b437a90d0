// Read: what it returns and how it ends, by example (read-end.test.ts has generated reads); batches
// cut in two.
import { describe, expect, test } from "vitest";
import type { Selection } from "../../../src/domain/query.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { sliceBatch } from "../../../src/log/read/records.ts";
import { createEventLog, type EventLog, type ReadRequest } from "../../../src/log/event-log.ts";
import type { Batch } from "../../../src/storage/storage.ts";
import { openMemoryStorage } from "../../../src/storage/leveldb/open.ts";
import { commitEvents, newEvent } from "../../support/events.ts";
import { appendAll, appendOf, openLog, positionsIn, readAll, type Opened } from "../harness.ts";

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

  test.each<[string, Partial<ReadRequest>, number[], number]>([
    ["whole", {}, [6, 5, 4, 3, 2, 1], 6],
    ["from a time that several share", { from: { kind: "time", time: 20 } }, [4, 3, 2, 1], 4],
    ["from a time before all", { from: { kind: "time", time: 9 } }, [], 0],
    ["from a position to come", { from: { kind: "position", position: 9 }, limit: 1 }, [6], 6],
    ["to a time that several share", { to: { kind: "time", time: 20 } }, [6, 5, 4, 3], 6],
    ["with a limit", { limit: 2 }, [6, 5], 6],
    [
      "from a position, with a limit",
      { from: { kind: "position", position: 4 }, limit: 1 },
      [4],
      4,
    ],
    ["to a version", { selection: streamA, to: { kind: "version", version: 2 } }, [5, 3], 6],
    ["from a version", { selection: streamA, from: { kind: "version", version: 2 } }, [3, 1], 3],
    [
      "from the newest version",
      { selection: streamA, from: { kind: "version", version: 3 } },
      [5, 3, 1],
      6,
    ],
  ])("backwards %s ends where a decision may begin", async (_, request, positions, after) => {
    const { log } = await openSix();
    const answer = await readOf(log, { direction: "backwards", ...request });
    expect(answer.positions).toEqual(positions);
    expect(answer.end).toMatchObject({ head: 6, after, eventCount: positions.length });
  });

  test("to a version and limited to as many events has not seen the next one", async () => {
    const storage = await openMemoryStorage();
    const log = createEventLog({ storage, limits: defaultLimits, clock: () => 1 });
    await log.append(appendOf({ stream: "a" }, { stream: "a" }, { stream: "a" }));
    const to = { kind: "version", version: 2 } as const;
    for (const limit of [2, 3, undefined]) {
      const { positions, end } = await readOf(log, { selection: streamA, to, limit });
      expect(positions).toEqual([1, 2]);
      expect(end).toEqual({ head: 3, after: 2, eventCount: 2, streamVersion: 3 });
    }
    await storage.close();
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

describe("a batch", () => {
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
