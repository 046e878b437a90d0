// The short form: some kills of two stores, and the control.
import { expect, test } from "vitest";
import { kill } from "./campaign.ts";

test("a server that is killed over and over keeps what it acknowledged, exactly", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await kill({ seed, cyclesMax: 40, secondsMax: 40 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.cycles).toBeGreaterThan(5);
});
