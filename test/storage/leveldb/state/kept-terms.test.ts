// What a store remembers of its terms over a restart: only what is true of the log that it finds.
import { cp, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { TermKind } from "../../../../src/storage/leveldb/format/keys.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { KeptTerms } from "../../../../src/storage/leveldb/state/kept-terms.ts";
import { KnownKeys } from "../../../../src/storage/leveldb/state/known-keys.ts";
import { Terms, type TermUpdate } from "../../../../src/storage/leveldb/state/terms.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";

const storeId = "8b5a3f0e-2f1c-4a7e-9d55-0c1d2e3f4a5b";
const hash = (n: number): Uint8Array => new Uint8Array(32).fill(n);

let folder: string;
let warnings: string[];
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "annals-terms-"));
  warnings = [];
});
afterEach(() => rm(folder, { recursive: true }));

function kept(id = storeId, spareBytes = Number.MAX_SAFE_INTEGER): KeptTerms {
  const warn = (message: string): void => void warnings.push(message);
  return new KeptTerms({ folder, storeId: id, spareBytes: () => spareBytes, warn });
}

async function recall(store: ReturnType<typeof storeOf>, id = storeId): Promise<void> {
  const terms = kept(id);
  await terms.recall(store);
  expect(await isThere(join(folder, "TERMS"))).toBe(false);
  await terms.whenRecalled;
}

function storeOf(updates: readonly TermUpdate[], position = 9, headHash = hash(1)) {
  const terms = new Terms(position);
  terms.apply(updates, position);
  const beside = { known: new KnownKeys(), kv: openMemoryKv() };
  return { terms, ...beside, head: { position, recordedAt: 1 }, headHash };
}

const update = fc.record({
  kind: fc.constantFrom(...Object.values(TermKind)),
  name: fc.oneof(fc.string({ maxLength: 40 }), fc.string({ unit: "grapheme" }), fc.constant("")),
  head: fc.record({
    number: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    count: fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER }),
    lastChunk: fc.maxSafeNat(),
    last: fc.maxSafeNat(),
  }),
});
const distinct = fc.uniqueArray(update, { selector: ({ kind, name }) => `${kind}${name}` });

const isThere = (path: string) =>
  stat(path).then(
    () => true,
    () => false,
  );

test("all terms come back as they were, and the file is gone", async () => {
  await fc.assert(
    fc.asyncProperty(distinct, async (updates) => {
      await kept().keep(storeOf(updates));
      const store = storeOf([]);
      await recall(store);
      for (const { kind, name, head } of updates) {
        expect(store.terms.peek(kind, name)).toEqual(head);
      }
      expect(store.terms.peek(TermKind.tag, "never there, and longer than any")).toBe(undefined);
    }),
    { numRuns: 50 },
  );
  expect(warnings).toEqual([]);
});

const known: TermUpdate = {
  kind: TermKind.stream,
  name: "s-1",
  head: { number: 128, count: 3, lastChunk: 9, last: 8 },
};

test("what a commit has changed since stays changed", async () => {
  await kept().keep(storeOf([known]));
  const store = storeOf([]);
  const recalling = recall(store);
  const head = { number: 128, count: 4, lastChunk: 10, last: 10 };
  store.terms.apply([{ ...known, head }], 10);
  await recalling;
  expect(store.terms.peek(TermKind.stream, "s-1")).toEqual(head);
});

test("nothing comes back once the store was reopened", async () => {
  await kept().keep(storeOf([known]));
  const store = storeOf([]);
  const recalling = recall(store);
  store.terms.reset(10);
  await recalling;
  expect(store.terms.peek(TermKind.stream, "s-1")).toBe(undefined);
});

test.each<[string, (path: string) => Promise<void> | void, ReturnType<typeof storeOf>, string]>([
  ["another log", () => {}, storeOf([], 9, hash(2)), storeId],
  ["a longer log", () => {}, storeOf([], 10), storeId],
  ["another store", () => {}, storeOf([]), storeId.replace("8", "9")],
  ["no file", (path) => rm(path), storeOf([]), storeId],
  ["an empty file", (path) => writeFile(path, ""), storeOf([]), storeId],
])("for %s, nothing is taken from it", async (_, change, store, id) => {
  await kept().keep(storeOf([known]));
  await change(join(folder, "TERMS"));
  await recall(store, id);
  expect(store.terms.peek(TermKind.stream, "s-1")).toBe(undefined);
  expect(warnings).toEqual([]);
});

test("a changed byte or a cut anywhere costs what it is about, and nothing is wrong", async () => {
  await kept().keep(storeOf([known]));
  const path = join(folder, "TERMS");
  const sound = await readFile(path);
  for (let at = 0; at < sound.length; at += at < 130 ? 5 : 11) {
    const bytes = Buffer.from(sound);
    bytes[at] = (bytes[at] as number) ^ 4;
    for (const damaged of [bytes, sound.subarray(0, at)]) {
      await writeFile(path, damaged);
      const store = storeOf([]);
      await recall(store);
      const found = store.terms.peek(TermKind.stream, "s-1");
      if (found !== undefined) expect(found).toEqual(known.head);
    }
  }
  expect(warnings).toEqual([]);
});

test("no file is written for an empty log, or where it could fill the disk", async () => {
  await kept().keep(storeOf([], 0));
  await kept(storeId, 1024).keep(storeOf([known]));
  expect(await isThere(join(folder, "TERMS"))).toBe(false);
});

test("a folder that cannot be written is told of, and the store closes", async () => {
  await rm(folder, { recursive: true });
  await writeFile(folder, "");
  await kept().keep(storeOf([known]));
  await kept().recall(storeOf([]));
  expect(warnings).toEqual([
    "TERMS cannot be written: the next start looks terms up as they are needed",
    "TERMS cannot be read: terms are looked up as they are needed",
  ]);
});

test("a store goes on with the versions that it had, whatever its folder has gone through", async () => {
  const store = join(folder, "store");
  const open = () => openLevelStorage({ folder: store });
  const version = async (by: number): Promise<void> => {
    const storage = await open();
    const { result } = await commitEvents(storage, [newEvent({ stream: "s-1", tags: ["k:1"] })]);
    expect(result).toBe("committed");
    expect((await storage.stream("s-1"))?.version).toBe(by);
    await storage.close();
  };
  await version(1);
  await version(2);
  // A file of before, put back.
  await cp(join(store, "TERMS"), join(folder, "older"));
  await version(3);
  await cp(join(folder, "older"), join(store, "TERMS"));
  await version(4);
});
