// Helpers of the storage contract's tests: a test with a fresh store, and the check of batches that
// holds for every read.
import { expect, test } from "vitest";
import type { CommitEvent } from "../../../src/domain/event.ts";
import type { Query, QueryItem, Selection } from "../../../src/domain/query.ts";
import { recordsIn, scanPlacement } from "../../../src/domain/record.ts";
import type { Batch, Storage, StorageRead } from "../../../src/storage/storage.ts";
import { readRequest } from "../../support/events.ts";

export interface OpenedEngine {
  readonly storage: Storage;
  /** Closes the store that is open and opens it again: a restart. Absent: nothing survives one. */
  readonly reopen?: () => Promise<Storage>;
  /** Gives back the space of everything that is removed by now. Absent: it cannot. */
  readonly reclaim?: () => Promise<void>;
  /** What a check of everything that is stored finds. Absent: nobody can check. */
  readonly findings?: () => Promise<string[]>;
  /** Closes whichever store is open, if one is, and removes what it left behind. */
  close(): Promise<void>;
}

/** Opens an empty store of its own each time; the clock (microseconds) is for ages alone. */
export type OpenEngine = (clock?: () => number) => Promise<OpenedEngine>;

export interface ContractEngine extends OpenedEngine {
  /** Called when a test has stored what it asks about: answers the store to ask. */
  settle(): Promise<Storage>;
}

export type OpenContract = (clock?: () => number) => Promise<ContractEngine>;

/** What was just stored is asked of the store that stored it. */
export function warm(open: OpenEngine): OpenContract {
  return async (clock) => {
    const engine = await open(clock);
    return Object.assign(engine, { settle: async () => engine.storage });
  };
}

/** What was stored is asked of a store that was restarted since: nothing is left in memory. */
export function cold(open: OpenEngine): OpenContract {
  return async (clock) => {
    const engine = await open(clock);
    const settle = async () => (engine.reopen ? engine.reopen() : engine.storage);
    return Object.assign(engine, { settle });
  };
}

/** What was removed has lost its space, and the store was restarted since. */
export function reclaimed(open: OpenEngine): OpenContract {
  return async (clock) => {
    const engine = await open(clock);
    const settle = async () => {
      await engine.reclaim?.();
      return engine.reopen ? engine.reopen() : engine.storage;
    };
    return Object.assign(engine, { settle });
  };
}

export function contractTest<Engine extends OpenedEngine>(
  open: () => Promise<Engine>,
  sentence: string,
  assertContract: (storage: Storage, engine: Engine) => Promise<void>,
): void {
  test(sentence, async () => {
    const engine = await open();
    try {
      await assertContract(engine.storage, engine);
    } finally {
      await engine.close();
    }
  });
}

/** A query of items that leave out what they do not ask for. */
export function queryOf(...items: Partial<QueryItem>[]): Query {
  const anything = { streams: [], streamPrefixes: [], types: [], tags: [], tagsAny: [] };
  return { items: items.map((item) => ({ ...anything, ...item })) };
}

export function selectStream(stream: string): Selection {
  return { kind: "stream", stream };
}

export function selectQuery(...items: Partial<QueryItem>[]): Selection {
  return { kind: "query", query: queryOf(...items) };
}

export function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0;
}

/** Fails unless both hold the same bytes; says where they part instead of printing megabytes. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array, what: string): void {
  if (sameBytes(actual, expected)) return;
  const parts = actual.findIndex((byte, i) => byte !== expected[i]);
  const at = parts < 0 ? Math.min(actual.length, expected.length) : parts;
  expect.fail(`${what}: ${actual.length} bytes for ${expected.length}, different from byte ${at}`);
}

/** The elements at these indexes, from the end where negative. Fails where there is none. */
export function pick<T>(list: readonly T[], ...indexes: number[]): T[] {
  return indexes.map((index) => {
    const found = list.at(index);
    if (found === undefined) throw new RangeError(`nothing at ${index} of ${list.length}`);
    return found;
  });
}

/** The faults of a read's batches, by the contract of `Batch`. */
function batchFaults(request: StorageRead, batches: readonly Batch[]): string[] {
  const { first, last } = request.positions;
  const faults: string[] = [];
  const sign = request.direction === "forwards" ? 1 : -1;
  let reported = sign > 0 ? first - 1 : last + 1;
  for (const [i, { frames, count, bytes, through }] of batches.entries()) {
    const fault = (words: string) => faults.push(`batch ${i} (through ${through}): ${words}`);
    const positions = frames.flatMap((run) =>
      [...recordsIn(run)].map((record) => scanPlacement(record).position),
    );
    let before = reported;
    for (const position of positions) {
      if ((position - before) * sign <= 0) fault(`${position} comes after ${before}`);
      before = position;
    }
    if ((through - before) * sign < 0) fault(`does not cover ${before}`);
    if ((through - reported) * sign <= 0) fault(`no progress after ${reported}`);
    if (through < first || through > last) fault(`outside of ${first} to ${last}`);
    if (count !== positions.length) fault(`count ${count} for ${positions.length} records`);
    if (count > (request.batchEvents ?? Infinity)) fault(`${count} events`);
    if (bytes !== frames.reduce((sum, run) => sum + run.length, 0)) fault(`bytes ${bytes}`);
    reported = through;
  }
  return faults;
}

export async function readBatches(storage: Storage, request: StorageRead): Promise<Batch[]> {
  const batches: Batch[] = [];
  for await (const batch of storage.read(request)) batches.push(batch);
  expect(batchFaults(request, batches)).toEqual([]);
  return batches;
}

/** All frames of a read, whatever its batches, whose contract is checked. */
export async function readBytes(storage: Storage, request: StorageRead): Promise<Buffer> {
  const batches = await readBatches(storage, request);
  return Buffer.concat(batches.flatMap((batch) => batch.frames));
}

/** Batch sizes of every kind: one event, a few events, a few bytes, everything at once. */
const cuts = [
  { batchBytes: 1 << 20 },
  { batchBytes: 1, batchEvents: 1 },
  { batchBytes: 300 },
  { batchBytes: 1 << 20, batchEvents: 3 },
] as const;

/** Fails unless the read gives exactly these events, byte for byte, in both directions. */
export async function expectRead(
  storage: Storage,
  parts: Partial<Omit<StorageRead, "direction">>,
  expected: readonly CommitEvent[],
): Promise<void> {
  for (const direction of ["forwards", "backwards"] as const) {
    const events = direction === "forwards" ? expected : expected.toReversed();
    const frames = Buffer.concat(events.map((event) => event.frame));
    for (const cut of cuts) {
      const request = readRequest(storage, { ...cut, ...parts, direction });
      const what = JSON.stringify(request);
      expectBytes(await readBytes(storage, request), frames, what);
    }
  }
}
