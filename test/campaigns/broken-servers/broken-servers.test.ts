// Every broken server still breaks what it says. That each is caught is the campaign itself:
// `npm run campaign -- broken-servers`, which on a busy machine may need several tries.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { mutants } from "./mutants.ts";

describe("servers that are broken on purpose", () => {
  test.each(Object.entries(mutants))("%s: what it changes is still there", (_, { edits }) => {
    for (const { file, find } of edits) {
      const source = readFileSync(new URL(`../../../src/${file}`, import.meta.url), "utf8");
      expect(source.split(find)).toHaveLength(2);
    }
  });

  test("are at least thirty", () => {
    expect(Object.keys(mutants).length).toBeGreaterThanOrEqual(30);
  });
});
