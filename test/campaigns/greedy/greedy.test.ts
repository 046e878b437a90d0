// The short form: two attacks that killed servers, all attacks at once, and the control. It judges
// memory and refusals; how long the healthy client waits, only the long form on a quiet machine.
import { expect, test } from "vitest";
import { greedy } from "./campaign.ts";

test("whatever clients make the server hold, it lives within its memory", async () => {
  const seed = Number(process.env["SEED"] ?? 20_261_129);
  const attacks = ["gzip bombs", "snapshots nobody takes"];
  const result = await greedy({
    seed,
    secondsMax: 0,
    secondsEach: 4,
    attacks,
    waitMsMax: Infinity,
  });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.cycles).toBe(3);
});
