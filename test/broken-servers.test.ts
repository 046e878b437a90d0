// The servers that are broken on purpose (test/campaigns/broken-servers) patch single places in the
// sources. This test fails when such a place changes, long before a campaign would.
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { mutants } from "./campaigns/broken-servers/mutants.ts";

test.each(Object.entries(mutants))("%s: what it changes is still there", (_, { edits }) => {
  for (const { file, find } of edits) {
    const source = readFileSync(new URL(`../src/${file}`, import.meta.url), "utf8");
    expect(source.split(find), `${file}: ${find}`).toHaveLength(2);
  }
});
