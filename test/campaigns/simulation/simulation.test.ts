// The short form: some hundred seeds, and servers broken on purpose that must be caught.
import { expect, test } from "vitest";
import { simulation } from "./campaign.ts";
import { simulate } from "./simulation.ts";

test("whatever strikes, nothing acknowledged is lost and no answer lies", async () => {
  const seed = Number(process.env["SEED"] ?? 3);
  const result = await simulation({ seed, seeds: 1_500, controlSeedsMax: 3_000 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.cycles).toBe(1_500);
});

test("a seed is a run: the same again, step by step", async () => {
  for (const seed of [11, 12, 13]) {
    const traces: string[][] = [[], []];
    const runs = [];
    for (const trace of traces) {
      runs.push(await simulate(seed, {}, (line) => void trace.push(line)));
    }
    expect(traces[1]).toEqual(traces[0]);
    expect(runs[1]).toEqual(runs[0]);
  }
});
