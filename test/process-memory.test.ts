// A small container gets small caches.
import { expect, test } from "vitest";
import { shareOf } from "../src/process-memory.ts";

const MiB = 1024 * 1024;

test.each([
  [256, 0.25],
  [512, 0.25],
  [1_023, 0.25],
  [1_024, 1],
  [65_536, 1],
])("a process that may have %i MiB keeps %f of its caches", (mebibytes, share) => {
  expect(shareOf(mebibytes * MiB)).toBe(share);
});
