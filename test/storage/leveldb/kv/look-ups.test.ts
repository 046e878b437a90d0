// Look-ups go through the thread pool where they wait for the disk, and only there.
import { expect, test } from "vitest";
import { LookUps } from "../../../../src/storage/leveldb/kv/look-ups.ts";

const key = Buffer.from("k");

/** Look-ups of which each takes so long, and reads so many blocks from disk. */
function watched(each: { ms: number; blocks: number }) {
  let [now, blocks] = [0, 0];
  const asked = { main: 0, pool: 0 };
  const database = {
    getSync(wanted: Buffer): Buffer {
      asked.main++;
      now += each.ms;
      blocks += each.blocks;
      return wanted;
    },
    async getMany(keys: Buffer[]): Promise<Buffer[]> {
      asked.pool += keys.length;
      return keys;
    },
  };
  return { lookUps: new LookUps(database, { nowMs: () => now, diskReads: () => blocks }), asked };
}

test("what is in memory is looked up on the main thread, but for many keys at once", async () => {
  const { lookUps, asked } = watched({ ms: 0.005, blocks: 0 });
  for (let i = 0; i < 100; i++) expect(await lookUps.get([key, key])).toEqual([key, key]);
  expect(asked).toEqual({ main: 200, pool: 0 });
  await lookUps.get(Array.from({ length: 13 }, () => key));
  expect(asked).toEqual({ main: 200, pool: 13 });
});

test("two look-ups that wait for the disk send the next ones through the thread pool", async () => {
  const { lookUps, asked } = watched({ ms: 1, blocks: 8 });
  expect(await lookUps.get([key, key, key, key])).toEqual([key, key, key, key]);
  expect(asked).toEqual({ main: 2, pool: 2 });
  for (let i = 0; i < 128; i++) {
    await lookUps.get([key]);
    expect(lookUps.now(key)).toBe("later");
  }
  expect(asked).toEqual({ main: 2, pool: 130 });
  expect(lookUps.now(key)).toBe(key);
  expect(asked).toEqual({ main: 3, pool: 130 });
});

test("look-ups that only wait for the processor stay on the main thread", async () => {
  const { lookUps, asked } = watched({ ms: 1, blocks: 0 });
  for (let i = 0; i < 100; i++) await lookUps.get([key, key]);
  for (let i = 0; i < 100; i++) expect(lookUps.now(key)).toBe(key);
  expect(asked).toEqual({ main: 300, pool: 0 });
});
