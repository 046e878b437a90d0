// Walking through a range page by page: everything once, in order, however often the iterator
// below is renewed; and nothing is held open for one who does not come back.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import type { Kv, Scan } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openLevelKv } from "../../../../src/storage/leveldb/kv/level-kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openScan } from "../../../../src/storage/leveldb/kv/scan.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "annals-scan-"));
});
afterEach(async () => {
  vi.useRealTimers();
  await rm(folder, { recursive: true });
});

const key = (i: number): Uint8Array => Buffer.from(`k${String(i).padStart(6, "0")}`);
const whole = { first: key(0), last: key(999_999), limit: 1_000, fillCache: false };

async function put(kv: Kv, ...numbers: number[]): Promise<void> {
  await kv.write(numbers.map((i) => [key(i), Buffer.alloc(100, i)]));
}

async function rest(scan: Scan): Promise<string[]> {
  const keys: string[] = [];
  for (;;) {
    const page = await scan.next();
    if (page.length === 0) return keys;
    keys.push(...page.map(([each]) => Buffer.from(each).toString()));
  }
}

const upTo = (count: number): number[] => Array.from({ length: count }, (_, i) => i);
const keysOf = (numbers: readonly number[]) => numbers.map((i) => Buffer.from(key(i)).toString());

describe.each(["level", "memory"])("over %s", (kind) => {
  test.each([1, 250, 100_000])("everything once, in order: pages of %i bytes", async (bytesMax) => {
    const kv = kind === "level" ? await openLevelKv(folder, true) : openMemoryKv();
    await put(kv, ...upTo(300));
    const scan = openScan(kv, { ...whole, bytesMax });
    expect(await rest(scan)).toEqual(keysOf(upTo(300)));
    expect(await scan.next()).toEqual([]);
    await scan.close();
    const some = openScan(kv, { ...whole, bytesMax, first: key(17), last: key(23) });
    expect(await rest(some)).toEqual(keysOf([17, 18, 19, 20, 21, 22, 23]));
    await kv.close();
  });
});

test("one that is not asked for more holds nothing open, and goes on where it was", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const kv = await openLevelKv(folder, true);
  await put(kv, 1, 2, 5);
  const [held, left] = [openScan(kv, { ...whole, bytesMax: 1 }), openScan(kv, whole)];
  expect(await held.next()).toHaveLength(1);
  // As of its first page, while it is held.
  await put(kv, 3);
  expect(await held.next()).toHaveLength(1);
  vi.advanceTimersByTime(1_000);
  await put(kv, 4);
  expect(await rest(held)).toEqual(keysOf([3, 4, 5]));
  await left.close();
  expect(await left.next()).toEqual([]);
  await kv.close();
});

test("a page on its way when the scan is closed arrives, and the database closes", async () => {
  const kv = await openLevelKv(folder, true);
  await put(kv, ...upTo(100));
  const scan = openScan(kv, { ...whole, bytesMax: 1 });
  const arriving = scan.next();
  await scan.close();
  expect(await arriving).toHaveLength(1);
  expect(await scan.next()).toEqual([]);
  const abandoned = openScan(kv, { ...whole, bytesMax: 1 });
  await abandoned.next();
  await kv.close();
  await expect(abandoned.next()).rejects.toMatchObject({ code: "LEVEL_ITERATOR_NOT_OPEN" });
});
