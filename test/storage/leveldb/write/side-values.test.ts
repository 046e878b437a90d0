// What the port's law cannot say of notes in LevelDB: bent bytes, and a write that fails under
// them.
import { expect, test } from "vitest";
import type { Kv } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { change, commitSideValues, sideValuesIn } from "../../contract/side-values.ts";

const everySideValue = { first: Buffer.from("n"), last: Buffer.from("o"), limit: 1_000 };

test("a bit that flipped in a note, or in its key, is reported and never served", async () => {
  const kv = openMemoryKv();
  const storage = await openStorageOver({ openKv: async () => kv });
  await commitSideValues(storage, [change("checkpoint", "a", "position 7")]);
  const [entry] = await kv.page(everySideValue);
  if (entry === undefined) return expect.fail("no note is there");
  const [key, value] = entry;
  for (let bit = 0; bit < value.length * 8; bit++) {
    const bent = Buffer.from(value);
    bent[bit >> 3] = (bent[bit >> 3] as number) ^ (1 << (bit & 7));
    const batch = kv.batch();
    batch.put(key, bent);
    await batch.write();
    await expect(storage.sideValues.get("checkpoint", ["a"])).rejects.toMatchObject({
      reason: "CORRUPTION",
    });
    await expect(sideValuesIn(storage, "checkpoint")).rejects.toMatchObject({
      reason: "CORRUPTION",
    });
  }
  const moved = Buffer.from(key);
  moved[2] = "b".charCodeAt(0);
  const batch = kv.batch();
  batch.put(moved, value);
  batch.delete(key);
  await batch.write();
  await expect(storage.sideValues.get("checkpoint", ["b"])).rejects.toMatchObject({
    reason: "CORRUPTION",
  });
});

test("no key of a note is ever written twice, and one note stands under one key", async () => {
  const kv = openMemoryKv();
  const written = new Set<string>();
  const watched: Kv = {
    ...kv,
    batch() {
      const batch = kv.batch();
      return {
        ...batch,
        put(key, value) {
          const name = Buffer.from(key).toString("hex");
          expect(written.has(name)).toBe(false);
          written.add(name);
          batch.put(key, value);
        },
      };
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

test("a note that is read while its write fails is not answered", async () => {
  let failing = false;
  const kv = openMemoryKv();
  const unsound: Kv = {
    ...kv,
    batch() {
      const batch = kv.batch();
      return {
        ...batch,
        async write() {
          await batch.write();
          await new Promise((resolve) => setImmediate(resolve));
          if (failing) throw new Error("the disk is gone");
        },
      };
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
