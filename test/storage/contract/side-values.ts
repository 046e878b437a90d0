// Side values: one value under a name, all or nothing with the events they come with, listed by name.
import { expect } from "vitest";
import { setImmediate as nextTurn } from "node:timers/promises";
import type {
  SideValue,
  SideValueChange,
  SideValueSpace,
  Storage,
} from "../../../src/storage/storage.ts";
import { commitEvents, composeCommit, newEvent, newEvents } from "../../support/events.ts";
import { compareUtf8 } from "../../support/model-beside.ts";
import { expectBytes, contractTest, type ContractEngine, type OpenContract } from "./checks.ts";

export const sideValueSpaces = [
  "checkpoint",
  "group",
  "group-progress",
  "group-parked",
  "group-gone",
  "snapshot",
] as const satisfies readonly SideValueSpace[];

/** A change to a value from a text; undefined deletes it. */
export function change(
  space: SideValueSpace,
  name: string,
  text: string | undefined,
): SideValueChange {
  return { space, name, value: text === undefined ? undefined : Buffer.from(text) };
}

/** Commits side values at the head, with events or without. */
export async function commitSideValues(
  storage: Storage,
  sideValues: readonly SideValueChange[],
  eventCount = 0,
): Promise<void> {
  const events = newEvents(eventCount, () => ({ stream: "a" }));
  const commit = await composeCommit(storage, events);
  expect(await storage.commit({ ...commit, sideValues })).toBe("committed");
}

/** Every side value of a space as text, in its order, gathered in pages of `limit`. */
export async function sideValuesIn(
  storage: Storage,
  space: SideValueSpace,
  { prefix = "", after = "", limit = 7 } = {},
): Promise<[name: string, text: string][]> {
  const found: SideValue[] = [];
  let last = after;
  for (;;) {
    const page = await storage.sideValues.list({ space, prefix, after: last, limit });
    expect(page.length).toBeLessThanOrEqual(limit);
    found.push(...page);
    if (page.length < limit) break;
    last = page.at(-1)?.name ?? "";
  }
  expect(found.every((sideValue) => sideValue.space === space)).toBe(true);
  return found.map(({ name, value }) => [name, Buffer.from(value).toString()]);
}

async function textOf(storage: Storage, space: SideValueSpace, name: string) {
  const value = (await storage.sideValues.get(space, [name])).get(name);
  return value === undefined ? undefined : Buffer.from(value).toString();
}

const names = [
  "a",
  "a-",
  "a-1",
  "a/0001",
  "ab",
  "A",
  "é",
  "\uffee",
  "😀",
  "𐀀",
  " ",
  "b".repeat(500),
  "a\u0001",
  "a\u0001\u00017",
  "a\u0001k\u00017",
  "a\u0001k-\u00016",
  "a\u007f",
];

export function sideValuesContract(open: OpenContract): void {
  contractTest(open, "a store without side values gets and lists none", async (storage) => {
    for (const space of sideValueSpaces) {
      expect(await storage.sideValues.get(space, ["a", "b"])).toEqual(new Map());
      expect(await sideValuesIn(storage, space)).toEqual([]);
    }
    expect(await storage.sideValues.get("group", [])).toEqual(new Map());
  });

  contractTest(
    open,
    "the last value counts, and a deleted one is not there",
    async (fresh, engine) => {
      for (const text of ["first", "second", "", "x".repeat(200_000), "last"]) {
        await commitSideValues(fresh, [
          change("checkpoint", "a", text),
          change("group", "a", `${text}!`),
        ]);
        expect(await textOf(fresh, "checkpoint", "a")).toBe(text);
        expect(await textOf(fresh, "group", "a")).toBe(`${text}!`);
      }
      await commitSideValues(fresh, [change("checkpoint", "a", undefined)]);
      await commitSideValues(fresh, [change("checkpoint", "never", undefined)]);
      expect(await textOf(fresh, "checkpoint", "a")).toBeUndefined();
      const storage = await engine.settle();
      expect(await sideValuesIn(storage, "checkpoint")).toEqual([]);
      expect(await sideValuesIn(storage, "group")).toEqual([["a", "last!"]]);
      await commitSideValues(storage, [change("checkpoint", "a", "again")]);
      expect(await sideValuesIn(storage, "checkpoint")).toEqual([["a", "again"]]);
    },
  );

  contractTest(
    open,
    "names come in the order of their UTF-8 bytes, page by page",
    async (_, engine) => {
      const storage = await fill(engine);
      const sorted = names.toSorted(compareUtf8);
      for (const space of sideValueSpaces) {
        const all = sorted.map((name) => [name, `${space} ${name}`]);
        for (const limit of [1, 2, 5, names.length, 1_000]) {
          expect(await sideValuesIn(storage, space, { limit })).toEqual(all);
        }
        for (const prefix of ["a", "a-", "a/", "a\u0001", "a\u0001k\u0001", "é", "😀", "zz", " "]) {
          const begun = all.filter(([name]) => name?.startsWith(prefix));
          expect(await sideValuesIn(storage, space, { prefix })).toEqual(begun);
        }
        for (const after of ["a", "a\u0001k", "a-0", "0", "zzz", "\u{10ffff}", "b".repeat(499)]) {
          const later = all.filter(([name = ""]) => compareUtf8(name, after) > 0);
          expect(await sideValuesIn(storage, space, { after })).toEqual(later);
          const both = later.filter(([name]) => name?.startsWith("a"));
          expect(await sideValuesIn(storage, space, { after, prefix: "a" })).toEqual(both);
        }
      }
    },
  );

  contractTest(open, "many are got at once, those that are there", async (_, engine) => {
    const storage = await fill(engine);
    const asked = [...names, ...names, "nowhere", "a-11"];
    const found = await storage.sideValues.get("group-parked", asked);
    expect([...found.keys()].toSorted()).toEqual([...names].toSorted());
    for (const [name, value] of found) {
      expect(Buffer.from(value).toString()).toBe(`group-parked ${name}`);
    }
  });

  contractTest(open, "side values without events move nothing", async (fresh, engine) => {
    await commitEvents(fresh, [newEvent({ stream: "a" })], 50);
    const head = fresh.head();
    let told = 0;
    const unwatch = fresh.watch({ advanced: () => told++, writeStateChanged: () => told++ });
    await commitSideValues(fresh, [change("checkpoint", "a", "1")]);
    unwatch();
    expect(told).toBe(0);
    expect(fresh.head()).toEqual(head);
    const storage = await engine.settle();
    expect(storage.head()).toEqual(head);
    expect(await storage.listStreams({ prefix: "", after: "", limit: 9 })).toHaveLength(1);
    const { commit } = await commitEvents(storage, [newEvent({ stream: "a" })]);
    expect(commit.events[0]?.position).toBe(2);
  });

  contractTest(open, "a stale commit changes no side value", async (storage) => {
    const late = await composeCommit(storage, [newEvent()]);
    await commitSideValues(storage, [change("checkpoint", "a", "1")], 3);
    const sideValues = [change("checkpoint", "a", "2"), change("group", "b", "2")];
    expect(await storage.commit({ ...late, sideValues })).toBe("stale");
    expect(await storage.commit({ ...late, events: [], sideValues })).toBe("stale");
    expect(await sideValuesIn(storage, "checkpoint")).toEqual([["a", "1"]]);
    expect(await sideValuesIn(storage, "group")).toEqual([]);
  });

  contractTest(
    open,
    "side values and events of a commit are seen together or not at all",
    async (storage) => {
      for (let round = 1; round <= 10; round++) {
        const asked: Promise<void>[] = [];
        const running = commitSideValues(storage, [change("checkpoint", "a", `${round * 20}`)], 20);
        const watch = async () => {
          const got = await textOf(storage, "checkpoint", "a");
          expect(Number(got ?? 0)).toBeLessThanOrEqual(storage.head().position);
          const [listed] = await sideValuesIn(storage, "checkpoint");
          expect(Number(listed?.[1] ?? 0)).toBeLessThanOrEqual(storage.head().position);
        };
        for (let ask = 0; ask < 8; ask++) {
          asked.push(watch());
          await nextTurn();
        }
        await running;
        await Promise.all(asked);
        expect(await textOf(storage, "checkpoint", "a")).toBe(`${storage.head().position}`);
      }
    },
  );

  contractTest(
    open,
    "a side value that changed hundreds of times reads as its last",
    async (fresh, engine) => {
      for (let i = 1; i <= 500; i++)
        await commitSideValues(fresh, [change("group-progress", "b", `${i}`)]);
      await commitSideValues(fresh, [
        change("group-progress", "a", "first"),
        change("group-progress", "c", "last"),
      ]);
      const storage = await engine.settle();
      expect(await sideValuesIn(storage, "group-progress")).toEqual([
        ["a", "first"],
        ["b", "500"],
        ["c", "last"],
      ]);
    },
  );

  contractTest(
    open,
    "a value may be as large as a snapshot, and as small as nothing",
    async (fresh, engine) => {
      const large = Buffer.alloc(3 * 1_024 * 1_024 + 20_000, "state ");
      const commit = await composeCommit(fresh, []);
      const sideValues = [
        { space: "snapshot", name: "large", value: large },
        { space: "snapshot", name: "nothing", value: new Uint8Array() },
      ] as const;
      expect(await fresh.commit({ ...commit, sideValues })).toBe("committed");
      const storage = await engine.settle();
      const found = await storage.sideValues.get("snapshot", ["large", "nothing"]);
      expectBytes(found.get("large") ?? new Uint8Array(), large, "the large value");
      expect(found.get("nothing")).toHaveLength(0);
      const page = { space: "snapshot", prefix: "", after: "", limit: 9 } as const;
      const [listed] = await storage.sideValues.list(page);
      expectBytes(listed?.value ?? new Uint8Array(), large, "the large value, listed");
    },
  );

  contractTest(
    open,
    "names are listed without values, if they alone are wanted",
    async (_, engine) => {
      const storage = await fill(engine);
      for (const space of sideValueSpaces) {
        const page = { space, prefix: "a", after: "a", limit: 1_000 };
        const whole = await storage.sideValues.list(page);
        expect(whole.length).toBeGreaterThan(5);
        const bare = whole.map((each) => ({ ...each, value: new Uint8Array() }));
        expect(await storage.sideValues.list({ ...page, namesOnly: true })).toEqual(bare);
      }
    },
  );

  contractTest(
    open,
    "a commit changes a side value once, and names it properly",
    async (storage) => {
      const commit = await composeCommit(storage, []);
      const faults = [
        [change("group", "a", "1"), change("group", "a", "2")],
        [change("group", "a", "1"), change("group", "a", undefined)],
        [change("group", "", "1")],
        [change("group", "a\u0000b", "1")],
      ];
      for (const sideValues of faults) {
        await expect(storage.commit({ ...commit, sideValues })).rejects.toThrow("invariant");
      }
      await commitSideValues(storage, [change("group", "a", "1"), change("group-gone", "a", "2")]);
      expect(await sideValuesIn(storage, "group")).toEqual([["a", "1"]]);
    },
  );
}

async function fill(engine: ContractEngine): Promise<Storage> {
  const { storage } = engine;
  for (const space of sideValueSpaces) {
    const sideValues = names.map((name) => change(space, name, `${space} ${name}`));
    await commitSideValues(
      storage,
      sideValues.map((sideValue) => ({ ...sideValue, value: Buffer.from("before") })),
    );
    await commitSideValues(storage, sideValues, 2);
  }
  return engine.settle();
}
