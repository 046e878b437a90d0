// The short form: some kills of a store that is being reclaimed, and the control.
import { expect, test } from "vitest";
import { reclaim } from "./campaign.ts";

test("a server that is killed while it gives space back keeps everything that is left", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await reclaim({ seed, cyclesMax: 4 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.detail["removedRecords"]).toBeGreaterThan(0);
});
