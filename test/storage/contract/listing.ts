// Listings and times: streams and types by UTF-8 name, page by page, and positions by time.
import { expect } from "vitest";
import type { NamePage, Storage } from "../../../src/storage/storage.ts";
import { scanRecordedAt } from "../../../src/domain/record.ts";
import {
  commitEvents,
  composeTimed,
  newEvent,
  newEvents,
  recordsOf,
} from "../../support/events.ts";
import { compareUtf8 } from "../../support/model-beside.ts";
import { contractTest, type ContractEngine, type OpenContract } from "./checks.ts";

/** In UTF-16 units the astral names sort before U+FFEE; in UTF-8 bytes they sort behind it. */
const names = ["b", "a", "a-", "a-1", "a-10", "a-2", "ab", "A", "é", "z", "\uffee", "😀", "𐀀-1"];

export function listingContract(open: OpenContract): void {
  contractTest(open, "an empty store lists nothing", async (storage) => {
    const page = { prefix: "", after: "", limit: 10 };
    expect(await storage.listStreams(page)).toEqual([]);
    expect(await storage.listEventTypes(page)).toEqual([]);
    expect(await storage.stream("a")).toBeUndefined();
    expect(await storage.positionAt(0)).toBe(1);
    expect(await storage.positionAt(9_999_999)).toBe(1);
  });

  contractTest(open, "a stream is told by its numbers", async (fresh, engine) => {
    await commitEvents(
      fresh,
      newEvents(3, (i) => ({ stream: i === 1 ? "b" : "a" })),
      100,
    );
    await commitEvents(fresh, [newEvent({ stream: "a-1" })], 200);
    await commitEvents(
      fresh,
      newEvents(2, () => ({ stream: "a" })),
      300,
    );
    const storage = await engine.settle();
    expect(await storage.stream("a")).toEqual({
      stream: "a",
      version: 4,
      eventCount: 4,
      firstVersion: 1,
      firstPosition: 1,
      lastPosition: 6,
      firstRecordedAt: 100,
      lastRecordedAt: 300,
      lifecycle: undefined,
    });
    expect(await storage.stream("b")).toEqual({
      stream: "b",
      version: 1,
      eventCount: 1,
      firstVersion: 1,
      firstPosition: 2,
      lastPosition: 2,
      firstRecordedAt: 100,
      lastRecordedAt: 100,
      lifecycle: undefined,
    });
    expect(await storage.stream("a-")).toBeUndefined();
    const [first] = await storage.listStreams({ prefix: "", after: "", limit: 1 });
    expect(first).toEqual(await storage.stream("a"));
  });

  contractTest(open, "a type is told by its numbers", async (fresh, engine) => {
    const types = ["T", "U", "T", "T"];
    await commitEvents(
      fresh,
      newEvents(4, (i) => ({ type: types[i] ?? "" })),
    );
    await commitEvents(fresh, [newEvent({ stream: "T", type: "U", tags: ["T"] })]);
    const storage = await engine.settle();
    expect(await storage.listEventTypes({ prefix: "", after: "", limit: 10 })).toEqual([
      { type: "T", recordedCount: 3, firstPosition: 1, lastPosition: 4 },
      { type: "U", recordedCount: 2, firstPosition: 2, lastPosition: 5 },
    ]);
  });

  contractTest(
    open,
    "names come in the order of their UTF-8 bytes, page by page",
    async (_, engine) => {
      const storage = await fill(engine);
      const sorted = names.toSorted(compareUtf8);
      for (const limit of [1, 2, 5, names.length, names.length + 1]) {
        expect(await pagesOf(storage, "", limit, "streams")).toEqual(sorted);
        expect(await pagesOf(storage, "", limit, "types")).toEqual(sorted);
      }
    },
  );

  contractTest(open, "a prefix keeps the names it begins", async (_, engine) => {
    const storage = await fill(engine);
    const sorted = names.toSorted(compareUtf8);
    for (const prefix of ["a", "a-", "a-1", "A", "é", "😀", "𐀀", "\uffee", "zz", "b-"]) {
      const expected = sorted.filter((name) => name.startsWith(prefix));
      for (const limit of [1, 3, 100]) {
        expect(await pagesOf(storage, prefix, limit, "streams")).toEqual(expected);
        expect(await pagesOf(storage, prefix, limit, "types")).toEqual(expected);
      }
    }
  });

  contractTest(open, "a page goes on after any name, there or not", async (_, engine) => {
    const storage = await fill(engine);
    const sorted = names.toSorted(compareUtf8);
    for (const after of ["a", "a-1", "a-11", "A", "0", "zzz", "😀", "\u{10ffff}", "\uffef"]) {
      for (const prefix of ["", "a", "😀"]) {
        const expected = sorted
          .filter((name) => name.startsWith(prefix))
          .filter((name) => compareUtf8(name, after) > 0);
        const page = { prefix, after, limit: 100 };
        const streams = await storage.listStreams(page);
        expect(streams.map(({ stream }) => stream)).toEqual(expected);
        const types = await storage.listEventTypes(page);
        expect(types.map(({ type }) => type)).toEqual(expected);
      }
    }
  });

  contractTest(
    open,
    "system names are listed only by a prefix that names them",
    async (_, engine) => {
      const storage = await fill(engine);
      const system = ["$a", "$a-1", "$b"];
      await commitEvents(
        storage,
        newEvents(3, (i) => ({ stream: system[i] ?? "", type: system[i] ?? "" })),
      );
      for (const kind of ["streams", "types"] as const) {
        expect(await pagesOf(storage, "", 2, kind)).toEqual(names.toSorted(compareUtf8));
        expect(await pagesOf(storage, "$", 2, kind)).toEqual(system);
        expect(await pagesOf(storage, "$a", 1, kind)).toEqual(["$a", "$a-1"]);
      }
    },
  );

  contractTest(open, "hundreds of streams are listed once each", async (fresh, engine) => {
    for (let round = 0; round < 3; round++) {
      const sketch = (i: number) => ({ stream: `s-${(i * 7 + round) % 400}`, type: `T${i % 40}` });
      await commitEvents(fresh, newEvents(400, sketch));
    }
    const storage = await engine.settle();
    const expected = Array.from({ length: 400 }, (_, i) => `s-${i}`).toSorted(compareUtf8);
    expect(await pagesOf(storage, "", 33, "streams")).toEqual(expected);
    const types = await storage.listEventTypes({ prefix: "T", after: "", limit: 100 });
    expect(types).toHaveLength(40);
    expect(types.reduce((sum, { recordedCount }) => sum + recordedCount, 0)).toBe(1_200);
  });

  contractTest(
    open,
    "a time finds the first position recorded at or after it",
    async (fresh, engine) => {
      const times = [100, 100, 250, 250, 250, 400, 1_000_000_000_000_000];
      for (const time of times)
        await commitEvents(
          fresh,
          newEvents(3, () => ({ stream: "a" })),
          time,
        );
      const storage = await engine.settle();
      const cases: [time: number, position: number][] = [
        [-1, 1],
        [0, 1],
        [99, 1],
        [100, 1],
        [101, 7],
        [249, 7],
        [250, 7],
        [251, 16],
        [400, 16],
        [401, 19],
        [999_999_999_999_999, 19],
        [1_000_000_000_000_000, 19],
        [1_000_000_000_000_001, 22],
        [Number.MAX_SAFE_INTEGER, 22],
      ];
      for (const [time, position] of cases) expect(await storage.positionAt(time)).toBe(position);
    },
  );

  contractTest(open, "events of one commit may have times of their own", async (fresh, engine) => {
    const times = [5, 5, 7, 7, 7, 9, 20];
    const timed = newEvents(7, (i) => ({ stream: i % 2 === 0 ? "a" : "b" }));
    expect(await fresh.commit(await composeTimed(fresh, timed, times))).toBe("committed");
    expect(fresh.head()).toEqual({ position: 7, recordedAt: 20 });
    const { commit } = await commitEvents(fresh, [newEvent({ stream: "a" })], 30);
    expect(commit.after).toEqual({ position: 7, recordedAt: 20 });
    const storage = await engine.settle();
    expect((await recordsOf(storage)).map(scanRecordedAt)).toEqual([...times, 30]);
    const found = await Promise.all([1, 5, 6, 7, 8, 9, 10, 21].map((at) => storage.positionAt(at)));
    expect(found).toEqual([1, 1, 3, 3, 6, 6, 7, 8]);
    expect(await storage.stream("b")).toMatchObject({ firstRecordedAt: 5, lastRecordedAt: 9 });
  });

  contractTest(
    open,
    "a time is found across many commits and a large one",
    async (fresh, engine) => {
      await commitEvents(
        fresh,
        newEvents(3_000, () => ({ stream: "a" })),
        10,
      );
      for (let time = 20; time <= 60; time++) await commitEvents(fresh, [newEvent()], time);
      const storage = await engine.settle();
      expect(await storage.positionAt(10)).toBe(1);
      for (let time = 11; time <= 20; time++) expect(await storage.positionAt(time)).toBe(3_001);
      for (let time = 20; time <= 60; time++) {
        expect(await storage.positionAt(time)).toBe(3_001 + time - 20);
      }
      expect(await storage.positionAt(61)).toBe(3_042);
    },
  );
}

async function fill(engine: ContractEngine): Promise<Storage> {
  const sketch = (i: number) => ({ stream: names[i] ?? "", type: names[i] ?? "" });
  await commitEvents(engine.storage, newEvents(names.length, sketch));
  await commitEvents(engine.storage, newEvents(names.length, sketch));
  return engine.settle();
}

/** All names with the prefix, gathered in pages of `limit`. */
async function pagesOf(
  storage: Storage,
  prefix: string,
  limit: number,
  kind: "streams" | "types",
): Promise<string[]> {
  const found: string[] = [];
  while (found.length <= 5_000) {
    const next: NamePage = { prefix, after: found.at(-1) ?? "", limit };
    const page =
      kind === "streams"
        ? (await storage.listStreams(next)).map(({ stream }) => stream)
        : (await storage.listEventTypes(next)).map(({ type }) => type);
    expect(page.length).toBeLessThanOrEqual(limit);
    found.push(...page);
    if (page.length < limit) return found;
  }
  return expect.fail("pages without end");
}
