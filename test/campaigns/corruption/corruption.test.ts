// The short form: a few faults of every kind, chosen by a seed; the long form takes them all.
import { expect, test } from "vitest";
import { corruption } from "./campaign.ts";
import { servingCorruption } from "./serving.ts";

test("a corrupted store answers as before or not at all, and what is sound comes out", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await corruption({
    seed,
    sampleMax: 1_500,
    controlTrials: 60,
    salvageTrials: 150,
  });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.cycles).toBe(3_000);
  expect(result.detail).toMatchObject({ salvaged: { trials: 300 } });
});

test("damage under a store that is served costs no wrong answer once it is found", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_608);
  const result = await servingCorruption({ seed, trialsMax: 40, secondsMax: 60 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
});
