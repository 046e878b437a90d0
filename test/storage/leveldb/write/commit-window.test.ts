// A commit to very many streams takes more than a turn to be kept in memory. A read that begins in
// between has the head from before it, and must not pass for up to date.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { composeFrame } from "../../../../src/domain/record.ts";
import { firstEpoch } from "../../../../src/domain/epoch.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openEngine } from "../../../../src/storage/leveldb/write/engine.ts";
import type { Batch } from "../../../../src/storage/storage.ts";
import { newEvents, type EventSketch } from "../../../support/events.ts";

const now = 1_700_000_000_000_000;

test("what a read finds that began while a large commit became visible is not kept", async () => {
  const kv = openMemoryKv();
  let written = (): void => {};
  const engine = await openEngine({
    identity: {
      storeId: "0190a000-0000-7000-8000-000000000000",
      createdAt: now,
      engine: "leveldb",
      formatVersion: 2,
      durability: "memory",
      history: [firstEpoch("s", now)],
    },
    openKv: async () => ({
      kv: {
        ...kv,
        async write(operations) {
          await kv.write(operations);
          globalThis.setImmediate(written);
        },
      },
      sequence: 0,
    }),
    clock: () => now,
    warn: () => {},
  });
  const { storage, store } = engine;
  const versions = new Map<string, number>();
  const commit = async (count: number, sketch: (i: number) => EventSketch): Promise<void> => {
    const after = storage.head();
    const events = newEvents(count, sketch).map((event, i) => {
      const version = (versions.get(event.stream) ?? 0) + 1;
      versions.set(event.stream, version);
      const position = after.position + 1 + i;
      return {
        ...event,
        version,
        position,
        frame: composeFrame(event.body, version, position, now),
      };
    });
    await storage.commit({ after, recordedAt: now, events });
  };
  await commit(1, () => ({ stream: "s-1" }));
  // More chunks than a read takes from memory.
  for (let i = 0; i < 10; i++) await commit(1, () => ({ stream: `fill-${i}` }));

  let reading: AsyncIterator<Batch> | undefined;
  const head = storage.head().position;
  written = () => {
    const found = storage.read({
      selection: { kind: "stream", stream: "s-1" },
      direction: "forwards",
      positions: { first: 1, last: head },
      batchBytes: 65_536,
    });
    reading ??= found[Symbol.asyncIterator]();
  };
  // Its record is too long to be kept in memory: the stream is dropped there.
  const long = new Uint8Array(20_000);
  await commit(1_501, (i) => (i === 0 ? { stream: "s-1", data: long } : { stream: `t-${i}` }));
  expect(storage.head().position).toBe(head + 1_501);
  const learned: string[] = [];
  store.terms.learn = (term, found) => void learned.push(`${term.name} has ${found.count}`);
  while ((await reading?.next())?.done === false) await setImmediate();
  expect(learned).toEqual([]);
  await storage.close();
});
