// The short form: a few episodes on a real small disk, where one can be made.
import { expect, test } from "vitest";
import { diskFull } from "./campaign.ts";
import { smallDisk } from "./small-disk.ts";

const disk = smallDisk(1024 * 1024);
disk?.close();

test.runIf(disk !== undefined)(
  "a full disk loses nothing that was acknowledged, and is recovered from by itself",
  async () => {
    const seed = Number(process.env["SEED"] ?? 11);
    const result = await diskFull({ seed, episodes: 12 });
    expect(result.violations).toEqual([]);
    expect(result.control).toBe(true);
    expect(result.cycles).toBe(12);
  },
);
