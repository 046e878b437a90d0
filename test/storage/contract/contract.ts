// The contract of the storage port (src/storage/storage.ts): every engine passes this suite.
// An engine's own test file calls it with a way to open an empty store.
import { describe } from "vitest";
import { commitContract } from "./commit.ts";
import { factsContract } from "./facts.ts";
import { generatedContract } from "./generated.ts";
import { cold, reclaimed, warm, type OpenEngine } from "./checks.ts";
import { lifetimeContract } from "./lifetime.ts";
import { lifecycleContract } from "./lifecycle.ts";
import { listingContract } from "./listing.ts";
import { sideValuesContract } from "./side-values.ts";
import { queryContract } from "./query.ts";
import { readContract } from "./read.ts";
import { watchContract } from "./watch.ts";

export interface SuiteOptions {
  /** Generated histories per property. Absent: as many as the gate has time for. */
  readonly runs?: number;
}

export function storageSuite(name: string, open: OpenEngine, options: SuiteOptions = {}): void {
  describe(`${name} keeps the contract of the storage port`, () => {
    describe("commits", () => {
      commitContract(open);
    });
    describe.each([
      ["", warm(open)],
      [", after a restart", cold(open)],
    ] as const)("what was stored%s", (_, settled) => {
      factsContract(settled);
      readContract(settled);
      queryContract(settled);
      listingContract(settled);
      lifecycleContract(settled);
      sideValuesContract(settled);
    });
    describe("what was stored, after its space was reclaimed", () => {
      factsContract(reclaimed(open));
      listingContract(reclaimed(open));
      lifecycleContract(reclaimed(open));
    });
    describe("watchers", () => {
      watchContract(open);
    });
    describe("closing and reopening", () => {
      lifetimeContract(open);
    });
    describe("generated histories", () => {
      generatedContract(open, options.runs ?? 40);
    });
  });
}
