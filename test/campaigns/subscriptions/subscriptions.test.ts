// The short form: some hundred subscribers, some hundred thousand deliveries.
import { expect, test } from "vitest";
import { subscriptions } from "./campaign.ts";

test("subscribers get everything once and in order, whatever befalls them", async () => {
  const seed = Number(process.env["SEED"] ?? 20_240_607);
  const result = await subscriptions({
    seed,
    subscribers: 400,
    deliveriesMax: 200_000,
    storeEventsMax: 20_000,
    secondsMax: 20,
  });
  expect(result.violations).toEqual([]);
  expect(result.detail["deliveries"]).toBeGreaterThan(20_000);
  expect(result.detail["rssBytesMax"]).toBeLessThan(600 * 2 ** 20);
});
