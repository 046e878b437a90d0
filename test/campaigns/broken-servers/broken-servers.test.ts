// The short form is the whole of it: every broken server, each until it is caught.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { brokenServers } from "./campaign.ts";
import { mutants } from "./mutants.ts";

describe("servers that are broken on purpose", () => {
  test.each(Object.entries(mutants))("%s: what it changes is still there", (_, { edits }) => {
    for (const { file, find } of edits) {
      const source = readFileSync(new URL(`../../../src/${file}`, import.meta.url), "utf8");
      expect(source.split(find)).toHaveLength(2);
    }
  });

  test("are at least thirty, and each of them is caught", async () => {
    const seed = Number(process.env["SEED"] ?? 1);
    const report = (line: string): void => console.log(line.slice(0, 200));
    const { violations, cycles, detail } = await brokenServers({ seed, report });
    expect(violations).toEqual([]);
    expect(cycles).toBeGreaterThanOrEqual(30);
    expect(detail["caught"]).toBe(cycles);
  });
});
