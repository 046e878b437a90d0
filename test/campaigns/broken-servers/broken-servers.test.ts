// Every broken server still breaks what it says, and is caught; the shipped one is not.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { cannotCut } from "../power-cut/disk.ts";
import { brokenServers } from "./campaign.ts";
import { mutants } from "./mutants.ts";

describe("servers that are broken on purpose", () => {
  test.each(Object.entries(mutants))("%s: what it changes is still there", (_, { edits }) => {
    for (const { file, find } of edits) {
      const source = readFileSync(new URL(`../../../src/${file}`, import.meta.url), "utf8");
      expect(source.split(find)).toHaveLength(2);
    }
  });

  test("are at least thirty, and each is caught", async () => {
    const seed = Number(process.env["SEED"] ?? 20_240_607);
    const { violations, detail } = await brokenServers({ seed });
    expect(violations).toEqual([]);
    const { length } = Object.keys(mutants);
    expect(length).toBeGreaterThanOrEqual(30);
    const left = Object.values(mutants).filter(({ scenario }) => scenario === "power").length;
    expect(detail["caught"]).toBe(length - (cannotCut("ext4") === undefined ? 0 : left));
  });
});
