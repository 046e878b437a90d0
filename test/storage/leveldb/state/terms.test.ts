// What is remembered of terms: only what is true as of the head.
import { expect, test } from "vitest";
import { TermKind } from "../../../../src/storage/leveldb/format/keys.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { Terms } from "../../../../src/storage/leveldb/state/terms.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";
import { countTurns } from "../../../support/turns.ts";

const stream = { kind: TermKind.stream, name: "s-1" };

test("a look-up as of an earlier head is not what later ones are answered from", async () => {
  const kv = openMemoryKv();
  const storage = await openStorageOver({ openKv: async () => kv });
  for (let i = 0; i < 3; i++) await commitEvents(storage, [newEvent({ stream: "s-1" })]);
  const terms = new Terms(2);
  // As a reader that began before a failed write, which turned out to be durable.
  terms.reset(3);
  const [before] = await terms.load(kv, [stream], 2);
  const [now] = await terms.load(kv, [stream], 3);
  expect([before?.count, now?.count]).toEqual([2, 3]);
  await storage.close();
});

test("a look-up that a commit overtakes is not what later ones are answered from", async () => {
  const kv = openMemoryKv();
  const storage = await openStorageOver({ openKv: async () => kv });
  for (let i = 0; i < 2; i++) await commitEvents(storage, [newEvent({ stream: "s-1" })]);
  const terms = new Terms(1);
  const looking = terms.load(kv, [stream], 1);
  terms.apply([], 2);
  expect((await looking)[0]?.count).toBe(1);
  expect((await terms.load(kv, [stream], 2))[0]?.count).toBe(2);
  await storage.close();
});

test("many terms that nothing has are looked up in as many turns as trips", async () => {
  const turn = countTurns();
  const turns: number[] = [];
  const getMany = async (keys: readonly Uint8Array[]) => {
    turns.push(turn());
    return keys.map(() => undefined);
  };
  const kv = { ...openMemoryKv(), getMany };
  const asked = Array.from({ length: 5_000 }, (_, i) => ({ kind: TermKind.tag, name: `t-${i}` }));
  for (const ask of ["load", "find"] as const) {
    turns.length = 0;
    const heads = await new Terms(3)[ask](kv, asked, 3);
    expect(heads.every(({ number }) => number === 0)).toBe(true);
    expect(turns).toHaveLength(5);
    expect(new Set(turns).size).toBe(5);
  }
});
