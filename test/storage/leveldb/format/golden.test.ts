// Bytes on disk are for ever: what a format version wrote must be written the same and still open.
// A change that breaks this file is a new format version, with fixtures of its own beside these.
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { openLevelStorage, openLevelStore } from "../../../../src/storage/leveldb/open.ts";
import { readIdentity } from "../../../../src/storage/leveldb/folder/identity.ts";
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
  const told = await json<
    Description & { identity: Description; snapshots: Description[]; events: Description[] }
  >(name);
  const { identity, snapshots, events, ...rest } = told;
  return {
    ...rest,
    identity: { ...identity, formatVersion: 2 },
    snapshots: snapshots.map(({ position: _, ...snapshot }) => snapshot),
    events: events.map((event) =>
      "missing" in event ? event : { ...event, foundById: event["position"] },
    ),
  };
}

describe("entries", () => {
  let golden: GoldenEntry[];
  let postings: GoldenEntry[];
  let written: GoldenEntry[];
  beforeAll(async () => {
    golden = await json("entries-v1.json");
    postings = await json("postings-v2.json");
    written = await goldenEntries();
  });

  const among = (entries: readonly GoldenEntry[], kind: string) =>
    entries.filter(({ what }) => what === kind);

  test.each(["chunk", "term", "id"])("%ss are written as ever", (what) => {
    expect(among(golden, what).length).toBeGreaterThan(0);
    expect(among(written, what)).toEqual(among(golden, what));
  });

  test("postings are written under the same keys, and since version 2 with more in them", () => {
    const keys = (entries: readonly GoldenEntry[]) => entries.map(({ key }) => key);
    expect(keys(postings)).toEqual(keys(among(golden, "posting")));
    expect(among(written, "posting")).toEqual(postings);
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

describe("a store of format version 2", () => {
  test.each(["store-v2", "store-v2-reclaimed"])("%s holds what it held", async (name) => {
    const scratch = await mkdtemp(join(tmpdir(), "annals-golden-"));
    try {
      const folder = join(scratch, "store");
      await copyStore(join(fixtures, name), folder);
      expect((await verifyFolder(folder)).findings).toEqual([]);
      const storage = await openLevelStorage({ folder });
      const describing = name === "store-v2" ? describeStore : describeReclaimed;
      expect(await describing(storage)).toEqual(await json(`${name}.json`));
      await storage.close();
    } finally {
      await rm(scratch, { recursive: true });
    }
  });
});

describe("a store of format version 1", () => {
  let scratch: string;
  beforeAll(async () => {
    scratch = await mkdtemp(join(tmpdir(), "annals-golden-"));
  });
  afterAll(() => rm(scratch, { recursive: true }));

  test("opens, holds what it held, goes on, and is one of version 2 from then on", async () => {
    const folder = join(scratch, "store");
    await copyStore(join(fixtures, "store-v1"), folder);
    const storage = await openLevelStorage({ folder });
    expect(await describeStore(storage)).toEqual(await described("store-v1.json"));
    await commitEvents(storage, [newEvent({ stream: "order-1" })]);
    expect((await storage.stream("order-1"))?.version).toBe(21);
    await storage.close();
    expect((await readIdentity(folder))?.formatVersion).toBe(2);
    expect((await verifyFolder(folder)).findings).toEqual([]);
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
