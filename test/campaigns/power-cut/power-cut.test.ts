// The short form: some cuts on each file system that can be mounted here, and the control.
import { expect, test } from "vitest";
import { powerCut } from "./campaign.ts";
import { cannotCut, fileSystems } from "./disk.ts";

for (const type of fileSystems) {
  test(`power cuts on ${type} lose nothing`, async ({ skip }) => {
    const reason = cannotCut(type);
    if (reason !== undefined) {
      console.warn(`LEFT OUT: ${reason}`);
      skip(reason);
    }
    const seed = Number(process.env["SEED"] ?? 20_240_607);
    const result = await powerCut({ seed, types: [type], cyclesMax: 12, secondsMax: 25 });
    expect(result.violations).toEqual([]);
    expect(result.control).toBe(true);
    expect(result.cycles).toBeGreaterThan(2);
  });
}
