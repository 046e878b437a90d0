// Items of batches one at a time: what a `for await` and callers by hand see of it.
import { expect, test } from "vitest";
import { OneByOne } from "../../../src/client/store/one-by-one.ts";

async function* batchesOf(batches: readonly (readonly number[])[], end: () => void, error?: Error) {
  try {
    for (const batch of batches) yield batch;
    if (error) throw error;
  } finally {
    end();
  }
}

test("all items in order, empty batches passed over", async () => {
  let ended = 0;
  const items = new OneByOne(batchesOf([[1, 2], [], [3], []], () => ended++));
  const seen: number[] = [];
  for await (const item of items) seen.push(item);
  expect(seen).toEqual([1, 2, 3]);
  expect(await items.next()).toEqual({ done: true, value: undefined });
  expect(ended).toBe(1);
});

test("calls that do not wait for each other are answered in order", async () => {
  const items = new OneByOne(batchesOf([[1, 2], [3], [4, 5]], () => {}));
  const answers = await Promise.all(Array.from({ length: 7 }, () => items.next()));
  expect(answers.map(({ value }) => value)).toEqual([1, 2, 3, 4, 5, undefined, undefined]);
});

test("leaving the loop ends the source, within a batch too", async () => {
  let ended = 0;
  const items = new OneByOne(batchesOf([[1, 2, 3]], () => ended++));
  for await (const item of items) if (item === 2) break;
  expect(ended).toBe(1);
  expect(await items.next()).toEqual({ done: true, value: undefined });
});

test("a failure comes after the items before it, once", async () => {
  const items = new OneByOne(batchesOf([[1, 2]], () => {}, new Error("cut off")));
  const answers = await Promise.allSettled([1, 2, 3, 4].map(() => items.next()));
  expect(answers).toMatchObject([
    { value: { done: false, value: 1 } },
    { value: { done: false, value: 2 } },
    { status: "rejected", reason: { message: "cut off" } },
    { value: { done: true } },
  ]);
});

test("an error that is thrown into it ends the source, and comes back", async () => {
  let ended = 0;
  const items = new OneByOne(batchesOf([[1, 2, 3]], () => ended++));
  expect(await items.next()).toEqual({ done: false, value: 1 });
  await expect(items.throw(new Error("mine"))).rejects.toThrow("mine");
  expect(ended).toBe(1);
  expect(await items.next()).toEqual({ done: true, value: undefined });
});
