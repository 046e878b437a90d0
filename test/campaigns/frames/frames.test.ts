// The short form: half a minute of frames.
import { expect, test } from "vitest";
import { frames } from "./campaign.ts";

test("generated frames have the outcome they have at node:http2, and harm nothing", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await frames({ seed, secondsMax: 30 });
  expect(result.violations).toEqual([]);
  expect(result.control).toBe(true);
  expect(result.events).toBeGreaterThan(10_000);
});
