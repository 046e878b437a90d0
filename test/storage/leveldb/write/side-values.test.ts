// Side values in LevelDB beyond the contract of the port: flipped bits, and a write that fails
// under them.
import { expect, test } from "vitest";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { change, commitSideValues, sideValuesIn } from "../../contract/side-values.ts";

const everySideValue = { first: Buffer.from("n"), last: Buffer.from("o"), limit: 1_000 };

test("a bit that flipped in a side value, or in its key, is reported and never served", async () => {
  const kv = openMemoryKv();
  const storage = await openStorageOver({ openKv: async () => kv });
  await commitSideValues(storage, [change("checkpoint", "a", "position 7")]);
  const [entry] = await kv.page(everySideValue);
  if (entry === undefined) return expect.fail("no side value is there");
  const [key, value] = entry;
  for (let bit = 0; bit < value.length * 8; bit++) {
    const corrupted = Buffer.from(value);
    corrupted[bit >> 3] = (corrupted[bit >> 3] as number) ^ (1 << (bit & 7));
    await kv.write([[key, corrupted]]);
    await expect(storage.sideValues.get("checkpoint", ["a"])).rejects.toMatchObject({
      reason: "CORRUPTION",
    });
    await expect(sideValuesIn(storage, "checkpoint")).rejects.toMatchObject({
      reason: "CORRUPTION",
    });
  }
  const moved = Buffer.from(key);
  moved[2] = "b".charCodeAt(0);
  await kv.write([
    [moved, value],
    [key, undefined],
  ]);
  await expect(storage.sideValues.get("checkpoint", ["b"])).rejects.toMatchObject({
    reason: "CORRUPTION",
  });
});

test("no key of a side value is ever written twice, and one value is under one key", async () => {
  const kv = openMemoryKv();
  const written = new Set<string>();
  const watched: Kv = {
    ...kv,
    write(operations) {
      for (const [key, value] of operations) {
        if (value === undefined) continue;
        const name = Buffer.from(key).toString("hex");
        expect(written.has(name)).toBe(false);
        written.add(name);
      }
      return kv.write(operations);
    },
  };
  let micros = 1_000;
  const clock = () => micros++;
  const storage = await openStorageOver({ openKv: async () => watched, clock });
  for (let round = 0; round < 40; round++) {
    const gone = round % 7 === 3;
    await commitSideValues(
      storage,
      [change("group", "a", gone ? undefined : `${round}`)],
      round % 2,
    );
    micros += 1_000;
    const count = (await kv.page(everySideValue)).length;
    expect(count).toBe(gone ? 0 : 1);
  }
  expect(written.size).toBeGreaterThan(34);
});

test("a side value that is read while its write fails is not answered", async () => {
  let failing = false;
  const kv = openMemoryKv();
  const unsound: Kv = {
    ...kv,
    async write(operations) {
      await kv.write(operations);
      await new Promise((resolve) => setImmediate(resolve));
      if (failing) throw new Error("the disk is gone");
    },
  };
  const storage = await openStorageOver({ openKv: async () => unsound });
  await commitSideValues(storage, [change("checkpoint", "a", "1")]);
  failing = true;
  const running = commitSideValues(storage, [change("checkpoint", "a", "2")]);
  const refused = running.catch((error: { reason?: string }) => error.reason);
  const answers: unknown[] = [];
  while (answers.length < 20) {
    const answer = storage.sideValues.get("checkpoint", ["a"]).then(
      (sideValues) => Buffer.from(sideValues.get("a") ?? []).toString(),
      (error: { reason?: string }) => error.reason,
    );
    answers.push(answer);
    await Promise.resolve();
  }
  expect(await refused).toBe("OUTCOME_UNKNOWN");
  failing = false;
  const told = new Set(await Promise.all(answers));
  expect([...told].filter((answer) => answer !== "1" && answer !== "RECOVERING")).toEqual([]);
  expect(await sideValuesIn(storage, "checkpoint")).toEqual([["a", "2"]]);
});

test("a read waits for the commit in flight only where that changes what is read", async () => {
  const kv = openMemoryKv();
  let release = (): void => {};
  let held = Promise.resolve();
  const slow: Kv = {
    ...kv,
    async write(operations) {
      await kv.write(operations);
      await held;
    },
  };
  const storage = await openStorageOver({ openKv: async () => slow });
  await commitSideValues(storage, [
    change("snapshot", "a/1", "old"),
    change("snapshot", "b/1", "old"),
  ]);
  held = new Promise((resolve) => (release = resolve));
  const committing = commitSideValues(storage, [change("snapshot", "a/1", "new")], 1);
  for (let i = 0; i < 10; i++) await new Promise((resolve) => setImmediate(resolve));
  const page = { space: "snapshot", after: "", limit: 9 } as const;
  const told: string[] = [];
  const waiting = Promise.all([
    storage.sideValues.get("snapshot", ["a/1"]).then(() => told.push("got")),
    storage.sideValues.list({ ...page, prefix: "a/" }).then(() => told.push("listed")),
  ]);
  expect((await storage.sideValues.get("snapshot", ["b/1"])).size).toBe(1);
  expect(await storage.sideValues.list({ ...page, prefix: "b/" })).toHaveLength(1);
  expect(await storage.sideValues.get("checkpoint", ["a/1"])).toEqual(new Map());
  expect(told).toEqual([]);
  release();
  await committing;
  await waiting;
  expect(told.toSorted()).toEqual(["got", "listed"]);
  expect(await sideValuesIn(storage, "snapshot")).toEqual([
    ["a/1", "new"],
    ["b/1", "old"],
  ]);
});
