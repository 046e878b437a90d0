// The short form: some ten thousand inputs and every flood once.
import { expect, test } from "vitest";
import { malformed } from "./campaign.ts";
import { floodNames } from "./floods.ts";

test("whatever comes over the network, a healthy client is served beside it", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await malformed({ seed, secondsMax: 45 });
  expect(result.violations).toEqual([]);
  expect(result.cycles).toBeGreaterThan(10_000);
  expect(result.events).toBeGreaterThan(10);
  expect(floodNames.length).toBeGreaterThan(10);
});
