// What LevelDB refuses is salvaged: every event whose chunk proves itself, or whose record the index
// has, comes out byte for byte; the others are named before anything is written.
import { mkdtemp, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { randomBytes } from "node:crypto";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { AnnalsError } from "../../../../src/domain/errors.ts";
import { defaultLimits } from "../../../../src/domain/limits.ts";
import { scanRecord } from "../../../../src/domain/record.ts";
import { createEventLog } from "../../../../src/log/event-log.ts";
import { chunkKey } from "../../../../src/storage/leveldb/format/keys.ts";
import { openLevelKv } from "../../../../src/storage/leveldb/kv/level-kv.ts";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../../../src/storage/leveldb/offline/restore.ts";
import {
  planSalvage,
  type SalvageReport,
} from "../../../../src/storage/leveldb/offline/salvage.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage, openLevelStore } from "../../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { run } from "../../../cli/captured-terminal.ts";
import {
  commitEvents,
  newAppend,
  newEvent,
  recordsOf,
  type EventSketch,
} from "../../../support/events.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { saveSnapshot, snapshotsOf } from "../../../support/snapshots.ts";
import { contentsOf, copyStore } from "../../../support/store-folder.ts";
import { selectStream } from "../../contract/checks.ts";

let scratch: string;
/** Three lives: two closed, each with a table of its own; one killed, with a write-ahead log. */
let pristine: string;
let folder: string;
let target: string;
let made = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-salvage-"));
  const working = join(scratch, "working");
  for (const life of [0, 1]) {
    const storage = await openLevelStorage({ folder: working, reserveBytes: 0 });
    await fill(storage, life);
    await storage.close();
  }
  const storage = await openLevelStorage({ folder: working, reserveBytes: 0 });
  await fill(storage, 2);
  pristine = join(scratch, "pristine");
  await copyStore(working, pristine);
  await storage.close();
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(async () => {
  made++;
  folder = join(scratch, `damaged-${made}`);
  target = join(scratch, `salvaged-${made}`);
  await copyStore(pristine, folder);
});

/** Ten commits of four events: two that the index has with their records, and two that it has not. */
async function fill(storage: Storage, life: number): Promise<void> {
  for (let i = 0; i < 10; i++) {
    const sketches: EventSketch[] = [
      { stream: `s-${i % 3}`, type: "Counted", data: `${life} ${i}` },
      { stream: "", type: "Noted", tags: [`n:${i}`], data: `${life} ${i}` },
      { stream: "big-1", type: "Filed", data: randomBytes(20_000) },
      { stream: "all-1", type: "Counted", data: `${life} ${i}`, idFromClient: true },
    ];
    await commitEvents(storage, sketches.map(newEvent));
  }
  const payload = Buffer.from(`state ${life}`);
  await saveSnapshot(storage, { stream: "all-1", kind: "", version: 1, payload });
}

async function files(pattern: RegExp): Promise<string[]> {
  const names = (await readdir(join(folder, "log"))).filter((name) => pattern.test(name));
  return names.toSorted().map((name) => join(folder, "log", name));
}

/** Salvages the folder, and looks whether it stayed as it was. */
async function salvaged(): Promise<SalvageReport> {
  const before = await contentsOf(folder);
  const plan = await planSalvage({ folder });
  try {
    const { findings } = await plan.build(target);
    expect(findings).toEqual([]);
  } finally {
    await plan.close();
  }
  expect(await contentsOf(folder)).toEqual(before);
  expect((await verifyFolder(target)).findings).toEqual([]);
  return plan.report;
}

async function opened<T>(at: string, use: (storage: Storage) => Promise<T>): Promise<T> {
  const storage = await openLevelStorage({ folder: at, reserveBytes: 0 });
  try {
    return await use(storage);
  } finally {
    await storage.close();
  }
}

/** By position, in hexadecimal. */
async function recordsAt(at: string, lost: SalvageReport): Promise<Map<number, string>> {
  const gone = new Set(lost.lostEvents.map(({ position }) => position));
  return opened(at, async (storage) => {
    const records = await recordsOf(storage, { withRemoved: true });
    const kept = records.filter((record) => !gone.has(scanRecord(record).position));
    return new Map(
      kept.map((each) => [scanRecord(each).position, Buffer.from(each).toString("hex")]),
    );
  });
}

async function expectTheRest(report: SalvageReport): Promise<void> {
  const copy = `${folder}-pristine`;
  await copyStore(pristine, copy);
  expect(await recordsAt(target, report)).toEqual(await recordsAt(copy, report));
}

async function failureOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => "no failure",
    (error: AnnalsError) => error.failure,
  );
}

describe("where nothing is lost but what LevelDB needs to find it", () => {
  const cases: readonly (readonly [string, () => Promise<void>])[] = [
    ["CURRENT is missing", async () => rm(join(folder, "log", "CURRENT"))],
    ["the MANIFEST is missing", async () => rm((await files(/^MANIFEST/))[0] as string)],
    [
      "neither is there",
      async () => {
        for (const path of await files(/^(MANIFEST.*|CURRENT)$/)) await rm(path);
      },
    ],
    ["IDENTITY is missing", async () => rm(join(folder, "IDENTITY"))],
    ["a table is 100 bytes short", async () => shorten(100)],
    [
      "the index of a table is zeroed",
      async () => {
        const path = (await files(/\.ldb$/))[0] as string;
        const bytes = await readFile(path);
        bytes.fill(0, bytes.length - 300);
        await writeFile(path, bytes);
      },
    ],
  ];
  test.each(cases)("%s: all of it comes out, the same chain and side values", async (_, damage) => {
    await damage();
    const report = await salvaged();
    expect(report.losses).toEqual([]);
    expect(report.damages.length).toBeGreaterThan(0);
    expect([report.head, report.events]).toEqual([120, 120]);
    await expectTheRest(report);
    const [first, ...later] = await opened(target, async ({ identity }) => identity.history);
    expect(first.cause).toBe("creation");
    const isKnown = report.storeId !== "";
    expect(later).toMatchObject(isKnown ? [{ after: 120, cause: "salvage" }] : []);
    const [snapshot] = await opened(target, (storage) => snapshotsOf(storage, "all-1"));
    expect(Buffer.from(snapshot?.payload ?? []).toString()).toBe("state 2");
    await rm(folder, { recursive: true });
    await copyStore(pristine, folder);
    expect((await verifyFolder(target)).headHash).toBe((await verifyFolder(folder)).headHash);
  });
});

async function shorten(bytes: number): Promise<void> {
  const path = (await files(/\.ldb$/))[0] as string;
  await truncate(path, (await readFile(path)).length - bytes);
}

describe("where a table is missing", () => {
  beforeEach(async () => rm((await files(/\.ldb$/))[0] as string));

  test("what it held is named, and the rest comes out", async () => {
    const report = await salvaged();
    expect(report.damages).toContainEqual(expect.stringMatching(/^table \d+ is missing$/));
    expect(report.lostPositions).toEqual([[1, 40]]);
    expect(report.losses[0]).toBe("40 events at positions 1 to 40");
    expect(report.losses).toContain("stream big-1: versions 1 to 10");
    expect(report.losses).toContain("stream s-1: versions 1 to 3");
    await expectTheRest(report);
  });

  test("a read that meets a lost event says DATA_LOSS, any other one answers", async () => {
    await salvaged();
    await opened(target, async (storage) => {
      const lost = { reason: "CORRUPTION", firstPosition: 1, lastPosition: 1 };
      expect(await failureOf(recordsOf(storage))).toMatchObject(lost);
      const [all, big] = [selectStream("all-1"), selectStream("big-1")];
      expect(await failureOf(recordsOf(storage, { selection: all }))).toMatchObject({
        reason: "CORRUPTION",
        stream: "all-1",
      });
      const rest = { first: 41, last: 120 };
      expect(await recordsOf(storage, { positions: rest })).toHaveLength(80);
      expect(await recordsOf(storage, { selection: big, positions: rest })).toHaveLength(20);
      const versions = { first: 11, last: 12 };
      expect(await recordsOf(storage, { selection: all, versions })).toHaveLength(2);
      expect(await recordsOf(storage, { withRemovedRecords: true })).toHaveLength(120);
    });
  });

  test("versions and positions go on where they were", async () => {
    await salvaged();
    await opened(target, async (storage) => {
      expect(await storage.stream("all-1")).toMatchObject({ version: 30 });
      expect(storage.head().position).toBe(121);
      expect(storage.identity.history.at(-1)).toMatchObject({ after: 0, cause: "salvage" });
      await commitEvents(storage, [newEvent({ stream: "all-1" })]);
      expect(await storage.stream("all-1")).toMatchObject({ version: 31 });
    });
  });

  test("the store can be backed up, restored, and salvaged again", async () => {
    await salvaged();
    const backup = join(scratch, `backup-${made}`);
    await backUp({ store: target, target: backup });
    const restored = join(scratch, `restored-${made}`);
    const { chain } = await restore({ backup, target: restored });
    expect(chain).toBe((await verifyFolder(target)).headHash);
    await rm(join(restored, "log", "CURRENT"));
    [folder, target] = [restored, join(scratch, `again-${made}`)];
    expect(await salvaged()).toMatchObject({ losses: [], head: 121 });
  });
});

test("the log's chunks are made again of the records that streams have beside them", async () => {
  const working = join(scratch, `small-${made}`);
  await opened(working, async (storage) => {
    for (let i = 0; i < 300; i++) {
      await commitEvents(storage, [newEvent({ stream: `a-${i % 2}`, idFromClient: true })]);
    }
  });
  await rm(folder, { recursive: true });
  await copyStore(working, folder);
  const path = (await files(/\.ldb$/))[0] as string;
  const bytes = await readFile(path);
  bytes[100] = (bytes[100] as number) ^ 1;
  await writeFile(path, bytes);
  const report = await salvaged();
  expect(report).toMatchObject({ losses: [], events: 300 });
  expect((await verifyFolder(target)).headHash).toBe((await verifyFolder(working)).headHash);
});

test("an event of a client that is named like a record of the store is an event", async () => {
  await rm(folder, { recursive: true });
  await opened(folder, async (storage) => {
    for (const type of ["$EventsRemoved", "$EventsLost"]) {
      await commitEvents(storage, [newEvent({ stream: "s", type, data: "no record" })]);
    }
  });
  expect(await salvaged()).toMatchObject({ losses: [], events: 2 });
});

test("what was removed does not come back with an older chunk", async () => {
  await rm(folder, { recursive: true });
  const { storage, reclaimer } = await openLevelStore({
    folder,
    reserveBytes: 0,
    reclaim: whenAsked,
  });
  const key = chunkKey(1);
  await commitEvents(storage, [newEvent({ stream: "old-1", data: "personal" })]);
  await copyStore(folder, `${folder}-before`);
  await deleteStream(storage, "old-1");
  await reclaimAll(reclaimer);
  await storage.close();
  const valueIn = async (at: string, value?: Uint8Array): Promise<Uint8Array | undefined> => {
    const kv = await openLevelKv(join(at, "log"), false);
    if (value !== undefined) await kv.write([[key, value]]);
    const [found] = await kv.getMany([key]);
    await kv.close();
    return found;
  };
  const rewritten = await valueIn(folder);
  // The newest version that is left is the one from before the event's space was reclaimed.
  await valueIn(folder, await valueIn(`${folder}-before`));
  expect(await salvaged()).toMatchObject({ losses: [] });
  expect(await valueIn(target)).toEqual(rewritten);
  await opened(target, async (again) => {
    expect(await recordsOf(again, { selection: selectStream("old-1") })).toEqual([]);
    expect(await again.stream("old-1")).toMatchObject({ version: 1, eventCount: 0 });
  });
});

describe("annals salvage", () => {
  test("names what is lost and writes nothing until the token is given", async () => {
    await rm((await files(/\.ldb$/))[0] as string);
    const first = await run(["salvage", folder, target]);
    expect(first.code).toBe(1);
    expect(first.output).toMatch(/^damaged: table \d+ is missing$/m);
    expect(first.output).toMatch(/^there: 80 events up to position 120; side values: 1 snapshot$/m);
    expect(first.output).toMatch(/^lost: 40 events at positions 1 to 40$/m);
    const [, token = ""] = /--accept-loss (loss-[0-9a-f]{16})$/m.exec(first.output) ?? [];
    expect(await readdir(target).catch(() => "nothing")).toBe("nothing");
    expect((await run(["salvage", folder, target, "--accept-loss", "loss-0"])).code).toBe(1);
    const second = await run(["salvage", folder, target, "--accept-loss", token]);
    expect([second.code, second.errors]).toEqual([0, ""]);
    expect(second.output).toMatch(/^made .*: store [-0-9a-f]{36}, head 121, 80 events, sound$/m);
  });

  test("refuses a folder that a server has open, and one that is not there", async () => {
    await opened(folder, async () => {
      const held = await run(["salvage", folder, target]);
      expect([held.code, held.errors]).toEqual([
        1,
        expect.stringContaining("a server has it open"),
      ]);
    });
    const none = await run(["salvage", join(scratch, "nowhere"), target]);
    expect([none.code, none.errors]).toEqual([1, expect.stringContaining("no such folder")]);
  });
});

test("a lost change of a stream's lifecycle is named, and what it removed does not come back", async () => {
  await rm(folder, { recursive: true });
  await opened(folder, async (storage) => {
    await commitEvents(storage, [newEvent({ stream: "old-1" })]);
    // Too large for the index to have its record, too.
    await setPolicy(storage, "old-1", { labels: { large: "x".repeat(60_000) } });
    await deleteStream(storage, "old-1");
    await commitEvents(storage, [newEvent({ stream: "new-1" })]);
  });
  const kv = await openLevelKv(join(folder, "log"), false);
  await kv.write([[chunkKey(3), undefined]]);
  await kv.close();
  const { losses } = await salvaged();
  expect(losses).toContainEqual(expect.stringMatching(/^what was removed of stream old-1 /));
  await opened(target, async (storage) => {
    const selection = selectStream("old-1");
    expect(await failureOf(recordsOf(storage, { selection }))).toMatchObject({
      reason: "CORRUPTION",
      stream: "$lifecycle-old-1",
    });
    expect(await recordsOf(storage, { selection: selectStream("new-1") })).toHaveLength(1);
    const clock = () => 1_000_000;
    const log = createEventLog({ storage, limits: defaultLimits, clock });
    const again = newAppend([newEvent({ stream: "old-1" })]);
    expect(await failureOf(log.append(again))).toMatchObject({ reason: "CORRUPTION" });
    // Whatever was removed before, a deletion removes all of it.
    const said = { stream: "old-1", expected: undefined, actor: "", reason: "" };
    await log.streams.remove({ ...said, permanent: false });
    expect((await log.append(again)).outcome).toMatchObject({
      kind: "appended",
      streams: [{ stream: "old-1", firstVersion: 2 }],
    });
    expect(await recordsOf(storage, { selection })).toHaveLength(1);
    await log.stop();
  });
  await opened(target, async (storage) => {
    expect(await recordsOf(storage, { selection: selectStream("old-1") })).toHaveLength(1);
  });
  expect((await verifyFolder(target)).findings).toEqual([]);
});

test("nothing is made inside the folder that it is made of, nor behind a link to it", async () => {
  const link = join(scratch, `link-${made}`);
  await symlink(folder, link);
  const before = await contentsOf(folder);
  const backup = join(scratch, `backup-of-${made}`);
  await backUp({ store: folder, target: backup });
  for (const command of [
    ["salvage", folder, join(folder, "new")],
    ["salvage", folder, join(link, "log", "deep", "new")],
    ["backup", folder, join(link, "new")],
    ["restore", backup, join(backup, "new")],
  ]) {
    const { code, errors } = await run(command);
    expect([code, errors]).toEqual([1, expect.stringContaining("which is only read")]);
  }
  expect(await contentsOf(folder)).toEqual(before);
  expect(await readdir(backup)).not.toContain("new");
});
