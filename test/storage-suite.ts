// The law of the storage port (src/storage/storage.ts), executable: every engine passes this suite.
// An engine's own test file calls it with a way to open an empty store.
import { describe } from "vitest";
import { commitLaw } from "./storage-suite/commit-law.ts";
import { factsLaw } from "./storage-suite/facts-law.ts";
import { generatedLaw } from "./storage-suite/generated-law.ts";
import { cold, reclaimed, warm, type OpenEngine } from "./storage-suite/law.ts";
import { lifetimeLaw } from "./storage-suite/lifetime-law.ts";
import { lifecycleLaw } from "./storage-suite/lifecycle-law.ts";
import { listingLaw } from "./storage-suite/listing-law.ts";
import { notesLaw } from "./storage-suite/notes-law.ts";
import { queryLaw } from "./storage-suite/query-law.ts";
import { readLaw } from "./storage-suite/read-law.ts";
import { snapshotLaw } from "./storage-suite/snapshot-law.ts";
import { watchLaw } from "./storage-suite/watch-law.ts";

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
      notesLaw(settled);
    });
    describe("what was stored, after its space was reclaimed", () => {
      factsLaw(reclaimed(open));
      listingLaw(reclaimed(open));
      lifecycleLaw(reclaimed(open));
    });
    describe("snapshots", () => {
      snapshotLaw(open);
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
