// What a stream is asked about comes from its first and last events, which may be large: storage
// answers a few such questions at a time, however many come at once.
import { setImmediate } from "node:timers/promises";
import { expect, test } from "vitest";
import { appendAll, openLog } from "../harness.ts";

test("streams are looked up a few at a time", async () => {
  const { storage, log: filling } = openLog();
  await appendAll(filling, { stream: "a" });
  let [now, most] = [0, 0];
  const { log } = openLog({
    storage,
    wrap: (own) => ({
      ...own,
      async stream(name) {
        most = Math.max(most, ++now);
        await setImmediate();
        now--;
        return own.stream(name);
      },
    }),
  });
  const asked = Array.from({ length: 100 }, () => log.getStream("a"));
  expect((await Promise.all(asked)).every(({ version }) => version === 1)).toBe(true);
  expect(most).toBeLessThanOrEqual(4);
});
