// What a check found missing is not answered as if nothing had ever been there.
import { describe, expect, test } from "vitest";
import { Avoided } from "../../../../src/storage/leveldb/kv/avoided.ts";
import type { Kv, KeyRange } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openScan } from "../../../../src/storage/leveldb/kv/scan.ts";

const key = (text: string): Uint8Array => Buffer.from(text);
const all: KeyRange = { first: key("a"), last: key("z"), limit: 100 };

/** Has the keys a, b, f and g; between c and d something is lost. */
async function lacking(): Promise<Kv> {
  const kv = openMemoryKv();
  await kv.write(["a", "b", "f", "g"].map((name) => [key(name), key("value")]));
  const avoided = new Avoided();
  const over = avoided.over(kv);
  avoided.add({ first: key("c"), last: key("d"), why: "it is missing" });
  return over;
}

const namesIn = (entries: readonly (readonly [Uint8Array, Uint8Array])[]): string =>
  entries.map(([each]) => Buffer.from(each).toString()).join("");

describe("keys to avoid", () => {
  test("are CORRUPTION when they are looked up, and others are not", async () => {
    const kv = await lacking();
    expect(await kv.getMany([key("a"), key("e")])).toEqual([key("value"), undefined]);
    await expect(kv.getMany([key("a"), key("c")])).rejects.toThrow("it is missing");
    await expect(kv.getMany([key("cc")])).rejects.toThrow("it is missing");
    expect([kv.getNow?.(key("a")), kv.getNow?.(key("e"))]).toEqual([key("value"), undefined]);
    expect(() => kv.getNow?.(key("cc"))).toThrow("it is missing");
  });

  test.each<[string, Partial<KeyRange>, string]>([
    ["ends before them", { last: key("bz") }, "ab"],
    ["begins behind them", { first: key("e") }, "fg"],
    ["is full before it comes to them", { limit: 2 }, "ab"],
    ["is full before it comes to them, backwards", { reverse: true, limit: 2 }, "gf"],
  ])("a page that %s is whole", async (_, range, names) => {
    const kv = await lacking();
    expect(namesIn(await kv.page({ ...all, ...range }))).toBe(names);
  });

  test.each<[string, Partial<KeyRange>]>([
    ["passes them", {}],
    ["passes them backwards", { reverse: true }],
    ["ends behind its last entry, within them", { last: key("cz") }],
    ["begins within them", { first: key("d"), limit: 1 }],
    ["would be full behind them", { limit: 3 }],
    ["has nothing but them", { first: key("c"), last: key("d") }],
  ])("a page that %s is CORRUPTION", async (_, range) => {
    const kv = await lacking();
    await expect(kv.page({ ...all, ...range })).rejects.toThrow("it is missing");
  });

  test("end a walk behind what comes before them", async () => {
    const kv = await lacking();
    const scan = openScan(kv, all);
    expect(namesIn(await scan.next())).toBe("ab");
    await expect(scan.next()).rejects.toThrow("it is missing");
    await scan.close();
    const behind = openScan(kv, { ...all, first: key("e") });
    expect(namesIn(await behind.next())).toBe("fg");
    expect(await behind.next()).toEqual([]);
    await behind.close();
  });

  test("are still read by the checks", async () => {
    const kv = await lacking();
    expect(namesIn((await kv.whole?.page(all)) ?? [])).toBe("abfg");
  });
});
