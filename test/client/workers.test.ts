// The workers of examples/, from end to end: killed, poisoned, restarted, and every order packed.
import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { expect, test } from "vitest";

test("the tour ends well", async () => {
  const main = fileURLToPath(new URL("../../examples/workers/main.ts", import.meta.url));
  const { stdout, stderr } = await promisify(execFile)(process.execPath, [main]);
  expect(stderr).not.toContain("Error");
  for (const line of [
    /group +parcels, in order by "stream"/,
    /killed +Wilbur, while packing order-\d+/,
    /order-\d+, attempt 2/,
    /parked +order-13 after 3 attempts: nobody knows where customer-dan lives/,
    /killed +the store, in the middle of everything/,
    /replayed +1 parked/,
    /packed order-13 for 4 Main Street, Springfield/,
    /group +0 to do, 0 parked/,
    /20 orders were packed, each customer's in the order they were placed\.\n$/,
  ]) {
    expect(stdout).toMatch(line);
  }
});
