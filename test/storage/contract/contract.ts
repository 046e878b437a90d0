// The law of the storage port (src/storage/storage.ts), executable: every engine passes this suite.
// An engine's own test file calls it with a way to open an empty store.
import { describe } from "vitest";
import { commitLaw } from "./commit.ts";
import { factsLaw } from "./facts.ts";
import { generatedLaw } from "./generated.ts";
import { cold, reclaimed, warm, type OpenEngine } from "./checks.ts";
import { lifetimeLaw } from "./lifetime.ts";
import { lifecycleLaw } from "./lifecycle.ts";
import { listingLaw } from "./listing.ts";
import { sideValuesLaw } from "./side-values.ts";
import { queryLaw } from "./query.ts";
import { readLaw } from "./read.ts";
import { watchLaw } from "./watch.ts";

export interface SuiteOptions {
  /** Generated histories per property. Absent: as many as the gate has time for. */
  readonly runs?: number;
}

export function storageSuite(name: string, open: OpenEngine, options: SuiteOptions = {}): void {
  describe(`${name} keeps the law of the storage port`, () => {
    describe("commits", () => {
      commitLaw(open);
    });
    describe.each([
      ["", warm(open)],
      [", after a restart", cold(open)],
    ] as const)("what was stored%s", (_, settled) => {
      factsLaw(settled);
      readLaw(settled);
      queryLaw(settled);
      listingLaw(settled);
      lifecycleLaw(settled);
      sideValuesLaw(settled);
    });
    describe("what was stored, after its space was reclaimed", () => {
      factsLaw(reclaimed(open));
      listingLaw(reclaimed(open));
      lifecycleLaw(reclaimed(open));
    });
    describe("watchers", () => {
      watchLaw(open);
    });
    describe("closing and reopening", () => {
      lifetimeLaw(open);
    });
    describe("generated histories", () => {
      generatedLaw(open, options.runs ?? 40);
    });
  });
}
