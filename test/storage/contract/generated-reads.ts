// Reads in generated histories: of any shape, as of any head, forwards and backwards.
import fc from "fast-check";
import { expect } from "vitest";
import { decodeRecord, recordsIn, scanRecord, scanRecordedAt } from "../../../src/domain/record.ts";
import type { Range, Storage, StorageRead } from "../../../src/storage/storage.ts";
import { arbitrarySelection } from "../../support/events.ts";
import { expectBytes, readBytes } from "./checks.ts";

export type ReadPlan = Pick<
  StorageRead,
  "selection" | "direction" | "batchBytes" | "batchEvents"
> & {
  readonly positions: Range;
  readonly versions: Range | undefined;
  /** As of the head so many commits ago; undefined: as of none. */
  readonly commitsAgo: number | undefined;
  readonly withRemoved: boolean;
  readonly withRemovedRecords: boolean;
};

export interface Compared {
  readonly engine: Storage;
  readonly model: Storage;
  /** The head after each commit. */
  readonly heads: number[];
  /** Whether space was reclaimed: then older views may be refused, and what was removed is bare. */
  readonly reclaimed: boolean;
}

/** Fails unless the engine reads what the model reads. */
export async function compareReads(
  { engine, model, heads, reclaimed }: Compared,
  plans: readonly ReadPlan[],
): Promise<void> {
  const reads = plans.map(async ({ versions, batchEvents, commitsAgo = -1, ...plan }) => {
    const { first, last } = plan.positions;
    const asOf = heads.at(Math.max(-heads.length, -1 - Math.max(0, commitsAgo))) ?? 0;
    const request: StorageRead = {
      ...plan,
      positions: { first: Math.max(1, first), last: Math.min(last, asOf) },
      ...(commitsAgo >= 0 && { asOf }),
      ...(batchEvents !== undefined && { batchEvents }),
      ...(versions !== undefined && plan.selection.kind === "stream" && { versions }),
    };
    const [found, expected] = await Promise.all([
      readBytes(engine, request).catch((error: unknown) => {
        const overtaken = (error as { reason?: unknown }).reason === "READ_OVERTAKEN";
        if (overtaken && reclaimed && commitsAgo >= 0) return undefined;
        throw error;
      }),
      readBytes(model, request),
    ]);
    const what = JSON.stringify(request);
    if (found === undefined) return;
    const isBare =
      request.withRemovedRecords === true || (reclaimed && request.withRemoved === true);
    if (!isBare) return expectBytes(found, expected, what);
    if (request.withRemoved !== true)
      expect(removedRecordsIn(found), what).toEqual(removedRecordsIn(expected));
    expect(placesIn(found), what).toEqual(placesIn(expected));
  });
  await Promise.all(reads);
}

/** Which of the events are told to be removed. */
function removedRecordsIn(frames: Uint8Array): number[] {
  return [...recordsIn(frames)]
    .map((record) => decodeRecord(record))
    .filter(({ removed }) => removed !== undefined)
    .map(({ position }) => Number(position));
}

/** What stays of every event, removed or not. */
function placesIn(frames: Uint8Array): unknown[] {
  return [...recordsIn(frames)].map((record) => {
    return { ...scanRecord(record), recordedAt: scanRecordedAt(record) };
  });
}

export function everything(direction: StorageRead["direction"]): ReadPlan {
  const positions = { first: 1, last: Number.MAX_SAFE_INTEGER };
  return {
    selection: { kind: "all" },
    direction,
    positions,
    batchBytes: 4_096,
    versions: undefined,
    commitsAgo: undefined,
    withRemoved: false,
    withRemovedRecords: false,
  };
}

const arbitraryRange = (max: number) =>
  fc.record({
    first: fc.oneof(fc.constant(1), fc.nat({ max })),
    last: fc.oneof(fc.constant(Number.MAX_SAFE_INTEGER), fc.nat({ max })),
  });

const arbitraryRead: fc.Arbitrary<ReadPlan> = fc.record(
  {
    selection: arbitrarySelection,
    direction: fc.constantFrom("forwards", "backwards"),
    positions: arbitraryRange(300),
    versions: fc.option(arbitraryRange(8), { nil: undefined }),
    batchBytes: fc.constantFrom(1, 200, 3_000, 20_000, 1_000_000),
    batchEvents: fc.integer({ min: 1, max: 30 }),
    commitsAgo: fc.option(fc.nat({ max: 4 }), { nil: undefined }),
    withRemoved: fc.nat({ max: 9 }).map((nine) => nine === 9),
    withRemovedRecords: fc.nat({ max: 9 }).map((nine) => nine === 9),
  },
  {
    requiredKeys: [
      "selection",
      "direction",
      "positions",
      "versions",
      "batchBytes",
      "commitsAgo",
      "withRemoved",
      "withRemovedRecords",
    ],
  },
);

export const arbitraryReads = fc.array(arbitraryRead, { maxLength: 3 });
