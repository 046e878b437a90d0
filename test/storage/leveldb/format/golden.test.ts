// Bytes on disk are for ever: what format version 1 wrote must be written the same and still open.
// A change that breaks this file is a new format version, with fixtures of its own beside these.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLevelStorage, openLevelStore } from "../../../../src/storage/leveldb/open.ts";
import { readHighWaterMark } from "../../../../src/storage/leveldb/folder/high-water-mark.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { commitEvents, newEvent } from "../../../support/events.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { copyStore } from "../../../support/store-folder.ts";
import {
  goldenEntries,
  goldenSideValues,
  type GoldenEntry,
} from "../../../fixtures/golden-entries.ts";
import {
  describeReclaimed,
  describeStore,
  type Description,
} from "../../../fixtures/store-description.ts";

const fixtures = new URL("../../../fixtures/", import.meta.url).pathname;

async function json<T>(name: string): Promise<T> {
  return JSON.parse(await readFile(join(fixtures, name), "utf8")) as T;
}

/**
 * What a fixture holds. Its snapshots' positions were kept beside them, and are in them; ids that
 * the server made could not be found, and can be since the store was upgraded.
 */
async function described(name: string): Promise<Description> {
  const told = await json<Description & { snapshots: Description[]; events: Description[] }>(name);
  const { snapshots, events, ...rest } = told;
  return {
    ...rest,
    snapshots: snapshots.map(({ position: _, ...snapshot }) => snapshot),
    events: events.map((event) =>
      "missing" in event ? event : { ...event, foundById: event["position"] },
    ),
  };
}

describe("entries of format version 1", () => {
  let golden: GoldenEntry[];
  let written: GoldenEntry[];
  beforeAll(async () => {
    golden = await json("entries-v1.json");
    written = await goldenEntries();
  });

  const among = (entries: readonly GoldenEntry[], kind: string) =>
    entries.filter(({ what }) => what === kind);

  test.each(["chunk", "term", "posting", "id"])("%ss are written as ever", (what) => {
    expect(among(golden, what).length).toBeGreaterThan(0);
    expect(among(written, what)).toEqual(among(golden, what));
  });

  test("and no others", () => {
    const upgrade = { what: "upgrade", key: "7501", value: expect.stringMatching(/^00.{8}$/) };
    expect(among(written, "upgrade")).toEqual([upgrade]);
    expect(written).toHaveLength(golden.length - among(golden, "snapshot").length + 1);
  });

  test("side values are written as ever, and old snapshots become such", async () => {
    const old = among(golden, "snapshot");
    expect(old).toHaveLength(2);
    const sideValues = await goldenSideValues(old);
    expect(among(sideValues, "side value")).toEqual(await json("side-values-v1.json"));
  });

  test("a chunk is what its drawing says", () => {
    const [first] = golden;
    const value = Buffer.from(first?.value ?? "", "hex");
    expect(first?.key).toBe("630000000000000001");
    expect(value.readUInt8(4)).toBe(1);
    expect(value.readBigUInt64BE(8)).toBe(1n);
    expect(value.readUInt32BE(16)).toBe(1);
    expect(value.readBigUInt64BE(20)).toBe(1_767_225_600_123_456n);
    expect(value.subarray(28, 60)).toEqual(Buffer.alloc(32));
    expect(value[60]).toBe(0x0a);
  });
});

describe("a store of format version 1", () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "annals-golden-"));
  });
  afterAll(() => rm(scratch, { recursive: true }));

  test("opens, holds what it held, and goes on", async () => {
    const folder = join(scratch, "store");
    await copyStore(join(fixtures, "store-v1"), folder);
    const storage = await openLevelStorage({ folder });
    expect(await describeStore(storage)).toEqual(await described("store-v1.json"));
    await commitEvents(storage, [newEvent({ stream: "order-1" })]);
    expect((await storage.stream("order-1"))?.version).toBe(21);
    await storage.close();
  });

  test("whose space was reclaimed opens too, and is what it was", async () => {
    const folder = join(scratch, "reclaimed");
    await copyStore(join(fixtures, "store-v1-reclaimed"), folder);
    expect((await verifyFolder(folder)).findings).toEqual([]);
    const { storage, reclaimer } = await openLevelStore({ folder, reclaim: whenAsked });
    expect(await describeReclaimed(storage)).toEqual(await described("store-v1-reclaimed.json"));
    // What was done is known from the disk: there is nothing to do again.
    const { position } = storage.head();
    await reclaimAll(reclaimer);
    expect(storage.head().position).toBe(position);
    await storage.close();
  });

  test("has a mark that is read as it was written", () => {
    expect(readHighWaterMark(join(fixtures, "store-v1", "MARK"))).toMatchObject({
      position: 120,
      sequence: 467,
    });
  });
});
