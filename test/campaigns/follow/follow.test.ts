// The short form: some kills of a leader and its follower, a promotion, and the control.
import { expect, test } from "vitest";
import { follow } from "./campaign.ts";

test("a follower is a prefix of its leader when either is killed, and then leads", async () => {
  const seed = Number(process.env["SEED"] ?? 20_261_130);
  const result = await follow({ seed, cyclesMax: 5 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.cycles).toBe(5);
});
