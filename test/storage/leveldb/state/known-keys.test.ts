// The filter of keys: what was written is always found, and what was never there takes no trip.
import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterEach, beforeEach, expect, test } from "vitest";
import { idKey, TermKind, termKey } from "../../../../src/storage/leveldb/format/keys.ts";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openLevelStorage, openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { KnownKeys } from "../../../../src/storage/leveldb/state/known-keys.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";

const atOnce = async (): Promise<void> => {};
const { signal } = new AbortController();
const value = Buffer.from("there");

/** The database, with the keys that were looked up in it. */
function counted(kv: Kv): { kv: Kv; asked: Uint8Array[] } {
  const asked: Uint8Array[] = [];
  const getMany: Kv["getMany"] = (keys) => {
    asked.push(...keys);
    return kv.getMany(keys);
  };
  return { kv: { ...kv, getMany }, asked };
}

const names = (from: number, count: number): string[] =>
  Array.from({ length: count }, (_, i) => `order-${from + i}`);
const keysOf = (some: readonly string[]): Uint8Array[] =>
  some.map((name) => termKey(TermKind.stream, name));

async function write(kv: Kv, keys: readonly Uint8Array[]): Promise<void> {
  for (let at = 0; at < keys.length; at += 10_000) {
    await kv.write(keys.slice(at, at + 10_000).map((key) => [key, value]));
  }
}

const key = fc.oneof(
  fc
    .tuple(fc.constantFrom(...Object.values(TermKind)), fc.string({ maxLength: 40 }))
    .map((term) => {
      return termKey(...term);
    }),
  fc.uuid().map((id) => idKey(id, 0)),
);

test("with any keys, written in any order around learning and a restart, none is missed", async () => {
  const groups = fc.tuple(fc.array(key), fc.array(key), fc.array(key), fc.array(key));
  await fc.assert(
    fc.asyncProperty(groups, async ([before, during, after, others]) => {
      const plain = openMemoryKv();
      await write(plain, before);
      const known = new KnownKeys();
      const kv = known.over(plain);
      let isWritten = false;
      const rest = async (): Promise<void> => {
        if (!isWritten) await write(kv, during);
        isWritten = true;
      };
      await known.learn(kv, rest, signal);
      if (!isWritten) await write(kv, during);
      const again = new KnownKeys();
      const reopened = again.over(plain);
      const packed = known.pack();
      await write(reopened, after);
      expect(again.unpack(packed)).toBe(true);
      const asked = [...before, ...during, ...after, ...others];
      expect(await reopened.getMany(asked)).toEqual(await plain.getMany(asked));
      expect(again.isComplete).toBe(true);
    }),
    { numRuns: 200 },
  );
});

test("through all of its sizes it finds what was written, and takes few others for it", async () => {
  const { kv: plain, asked } = counted({ ...openMemoryKv(), write: async () => {} });
  const known = new KnownKeys();
  const kv = known.over(plain);
  await known.learn(kv, atOnce, signal);
  const count = 600_000;
  await write(kv, keysOf(names(0, count)));
  expect(known.bytes).toBe((128 + 512 + 2_048) * 1_024);
  expect(keysOf(names(0, count)).every((each) => known.mayHave(each))).toBe(true);
  await kv.getMany(keysOf(names(count, 50_000)));
  expect(asked.length).toBeLessThan(50_000 * 0.02);
});

test("keys of other kinds are always looked up, and values keep their places", async () => {
  const { kv: plain, asked } = counted(openMemoryKv());
  const known = new KnownKeys();
  const kv = known.over(plain);
  await known.learn(kv, atOnce, signal);
  const [there, other] = [termKey(TermKind.tag, "there"), Buffer.from("c-other")];
  const never = keysOf(names(0, 3));
  await kv.write([
    [there, value],
    [other, value],
  ]);
  const found = await kv.getMany([never[0], other, never[1], there, never[2]] as Uint8Array[]);
  expect(found).toEqual([undefined, value, undefined, value, undefined]);
  expect(asked).toEqual([other, there]);
});

test("before it knows all keys, all are looked up", async () => {
  const { kv: plain, asked } = counted(openMemoryKv());
  const stopped = AbortSignal.abort();
  const known = new KnownKeys();
  await write(plain, keysOf(names(0, 10)));
  await known.learn(known.over(plain), atOnce, stopped);
  expect(known.isComplete).toBe(false);
  expect(known.pack()).toEqual([]);
  await known.over(plain).getMany(keysOf(names(5, 10)));
  expect(asked.length).toBe(10);
});

test("what is packed otherwise is not taken", () => {
  const known = new KnownKeys();
  expect(known.unpack([new Int32Array(5), new Int32Array(100)])).toBe(false);
  expect(known.unpack([new Int32Array(4), new Int32Array(2 ** 15)])).toBe(false);
  expect(known.isComplete).toBe(false);
});

test("what is packed by a machine with more memory is not taken", () => {
  const layer = () => [new Int32Array(5), new Int32Array(2 ** 22)];
  const known = new KnownKeys();
  expect(known.unpack([...layer(), ...layer(), ...layer()])).toBe(false);
  expect(known.isComplete).toBe(false);
});

test("new streams, types, tags and ids are appended without a look-up", async () => {
  const asked: Uint8Array[] = [];
  const storage = await openStorageOver({
    openKv: async () => {
      const watched = counted(openMemoryKv());
      return {
        ...watched.kv,
        getMany: (keys) => {
          asked.push(...keys);
          return watched.kv.getMany(keys);
        },
      };
    },
  });
  asked.length = 0;
  for (let i = 0; i < 20; i++) {
    const id = crypto.randomUUID();
    const event = newEvent({ stream: `s-${i}`, type: `t-${i}`, tags: [`k:${i}`], id });
    const { ids } = await storage
      .facts({ streams: [`s-${i}`], ids: [id], conditions: [] })
      .then(({ events }) => ({ ids: [...events.keys()] }));
    expect(ids).toEqual([]);
    await commitEvents(storage, [event]);
  }
  expect(asked).toEqual([]);
  await storage.close();
});

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "annals-known-"));
});
afterEach(() => rm(folder, { recursive: true }));

test.each(["stopped in order", "killed"])(
  "after the server was %s, what was there is found and keeps its version",
  async (how) => {
    const [first, second] = [join(folder, "first"), join(folder, "second")];
    const before = await openLevelStorage({ folder: first });
    const ids = Array.from({ length: 50 }, () => crypto.randomUUID());
    for (const [i, id] of ids.entries()) {
      const event = newEvent({ stream: `s-${i}`, tags: [`k:${i}`], id });
      await commitEvents(before, [{ ...event, idFromClient: true }]);
    }
    if (how === "killed") await cp(first, second, { recursive: true, filter: isNoSocket });
    await before.close();
    const store = await openLevelStorage({ folder: how === "killed" ? second : first });
    for (const [i, id] of ids.entries()) {
      const streams = [`s-${i}`, `never-${i}`];
      const { versions, events } = await store.facts({ streams, ids: [id], conditions: [] });
      expect([...versions.values()]).toEqual([1, 0]);
      expect(events.get(id)?.position).toBe(i + 1);
    }
    await store.close();
  },
);

function isNoSocket(path: string): boolean {
  return !path.endsWith(".sock");
}
