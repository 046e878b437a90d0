// Every broken server is caught; the shipped one is not.
import { describe, expect, test } from "vitest";
import { cannotCut } from "../power-cut/disk.ts";
import { brokenServers } from "./campaign.ts";
import { mutants } from "./mutants.ts";

describe("servers that are broken on purpose", () => {
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
