// A restore that ends before its backup does: generated histories, cut at any position and time,
// are compared with what was read of the store at that moment.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { decodeRecord } from "../../../../src/domain/record.ts";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import type { RestorePoint } from "../../../../src/storage/leveldb/offline/point-in-time.ts";
import type { RestoreOptions } from "../../../../src/storage/leveldb/offline/restore-plan.ts";
import { restore, type RestoreReport } from "../../../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStore, type LevelStore } from "../../../../src/storage/leveldb/open.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, composeCommit, newEvents, recordsOf } from "../../../support/events.ts";
import { deleteStream, setPolicy } from "../../../support/lifecycles.ts";
import { reclaimAll, whenAsked } from "../../../support/reclaiming.ts";
import { seededRandom } from "../../../support/seeded.ts";

let scratch: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-point-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const fresh = (name: string): string => join(scratch, `${name}-${made++}`);
const openIn = (folder: string): Promise<LevelStore> =>
  openLevelStore({ folder, reserveBytes: 0, clock: () => 1_000_000, reclaim: whenAsked });

interface Kept {
  readonly stream: string;
  readonly version: number;
  readonly bytes: string;
  /** Its payload is not there any more. */
  readonly isGone: boolean;
}

/** The events of a store by position: those that can be read, or all. */
async function eventsIn(storage: Storage, withRemovedRecords = false): Promise<Map<number, Kept>> {
  const found = new Map<number, Kept>();
  for (const record of await recordsOf(storage, { withRemovedRecords })) {
    const { position, stream, version, removed } = decodeRecord(record);
    const isGone = (removed?.contentSha256.length ?? 0) > 0;
    const bytes = Buffer.from(record).toString("base64");
    found.set(Number(position), { stream, version: Number(version), bytes, isGone });
  }
  return found;
}

interface Moment {
  readonly position: number;
  readonly recordedAt: number;
  readonly events: ReadonlyMap<number, Kept>;
}

/** Commits of all sizes, lifecycles and reclaimed space; what could be read after each commit. */
async function live({ storage, reclaimer }: LevelStore, seed: number, steps: number) {
  const random = seededRandom(seed);
  const any = (count: number): number => Math.floor(random() * count);
  const moments: Moment[] = [];
  for (let step = 0; step < steps; step++) {
    const stream = `s-${any(5)}`;
    const what = random();
    const now = storage.now();
    if (what < 0.08) await deleteStream(storage, stream);
    else if (what < 0.16) await setPolicy(storage, stream, { maxCount: 1 + any(6) }, now);
    else if (what < 0.24) {
      const version = (await storage.stream(stream))?.version ?? 0;
      await setPolicy(storage, stream, { truncateBefore: 1 + any(version + 1) }, now);
    } else if (what < 0.27) await setPolicy(storage, stream, { maxAge: 1_000_000 - any(60) }, now);
    else if (what < 0.33) await reclaimAll(reclaimer);
    else {
      const count = 1 + any(random() < 0.2 ? 60 : 5);
      const events = newEvents(count, (n) => ({
        stream: n % 7 === 6 ? "" : `s-${any(5)}`,
        idFromClient: n % 3 !== 0,
        data: Buffer.alloc(any(900), step),
      }));
      const recordedAt = storage.head().recordedAt + any(3);
      const commit = await composeCommit(storage, events, recordedAt);
      const value = Buffer.from(`at ${commit.after.position}`);
      const sideValues = [{ space: "checkpoint" as const, name: `c-${any(3)}`, value }];
      await storage.commit({ ...commit, ...(random() < 0.3 && { sideValues }) });
    }
    moments.push({ ...storage.head(), events: await eventsIn(storage) });
  }
  return moments;
}

async function restored(options: Omit<RestoreOptions, "target">) {
  const target = fresh("restored");
  const report = await restore({ withoutProgress: true, ...options, target });
  const { findings } = await verifyFolder(target);
  expect(findings).toEqual([]);
  return { target, report };
}

/** The last moment up to the point. Commits with one time may not be told apart. */
function expected(moments: readonly Moment[], point: RestorePoint): Moment | undefined {
  return moments.findLast((each) =>
    "time" in point ? each.recordedAt <= point.time : each.position <= point.position,
  );
}

function compareCut({ cut }: RestoreReport, moments: readonly Moment[], point: RestorePoint) {
  const wanted = expected(moments, point);
  const position = cut?.position ?? 0;
  const found = moments.findLast((each) => each.position === position);
  expect(found, "the cut is between two commits").toBeDefined();
  expect(position).toBeLessThanOrEqual(wanted?.position ?? 0);
  if ("time" in point) expect(position).toBe(wanted?.position);
  else if (position !== wanted?.position) {
    const next = moments.find((each) => each.position > position);
    expect(next?.recordedAt, "only commits of one time").toBe(wanted?.recordedAt);
  }
  const end = moments.at(-1)?.position ?? 0;
  expect(cut?.leftOut?.last ?? end).toBe(end);
  expect(cut?.leftOut?.first ?? end + 1).toBe(position + 1);
  return found as Moment;
}

/** A store of a history, cut at some points and compared. Returns how many were. */
async function compareHistory(seed: number, points: number): Promise<number> {
  const random = seededRandom(seed + 1);
  const folder = fresh("store");
  const store = await openIn(folder);
  const moments = await live(store, seed, 25);
  const whole = await eventsIn(store.storage, true);
  const backup = fresh("backup");
  await backUp({ store: folder, target: backup });
  await store.storage.close();
  const end = moments.at(-1) as Moment;
  const first = moments.find(({ position }) => position > 0) as Moment;
  let compared = 0;
  for (let i = 0; i < points; i++) {
    const position = first.position + Math.floor(random() * (end.position - first.position + 1));
    const near = moments[Math.floor(random() * moments.length)] as Moment;
    const time = Math.max(first.recordedAt, near.recordedAt + Math.floor(random() * 3) - 1);
    const to = random() < 0.5 ? { position } : { time };
    const { target, report } = await restored({ backup, to, clock: () => 1_000_000 }).catch(
      (error: Error) => {
        // The first commits may have one time: nothing ends before the point then.
        expect(error.message).toMatch(/became durable together/);
        return { target: undefined, report: undefined };
      },
    );
    if (report === undefined) continue;
    const moment = compareCut(report, moments, to);
    const again = await openIn(target);
    const present = await eventsIn(again.storage);
    const kept = [...present].filter(([at]) => at <= moment.position);
    expect(kept).toEqual(leftOf(moment, whole));
    expect(again.storage.identity.history.at(-1)).toMatchObject({
      after: moment.position,
      cause: "restore",
    });
    await commitEvents(
      again.storage,
      newEvents(3, () => ({ stream: "s-1" })),
    );
    await reclaimAll(again.reclaimer);
    await again.storage.close();
    const copy = fresh("backup");
    await backUp({ store: target, target: copy });
    expect((await restored({ backup: copy })).report.cut).toBeUndefined();
    compared++;
  }
  return compared;
}

/** What could be read at a moment, without what was reclaimed since and what is before it. */
function leftOf({ events, position }: Moment, whole: ReadonlyMap<number, Kept>) {
  const goneThrough = new Map<string, number>();
  for (const [at, { stream, version, isGone }] of whole) {
    if (isGone && at <= position) goneThrough.set(stream, version);
  }
  return [...events].filter(
    ([, { stream, version }]) => stream === "" || version > (goneThrough.get(stream) ?? 0),
  );
}

describe("a restore to a point", () => {
  test.each([11, 12, 13, 14])("of a generated history, seed %i", async (seed) => {
    expect(await compareHistory(seed * 1_000, 4)).toBeGreaterThan(0);
  });

  test("never divides a commit, and says which one it left out", async () => {
    const [folder, backup] = [fresh("store"), fresh("backup")];
    const { storage } = await openIn(folder);
    await commitEvents(
      storage,
      newEvents(3, () => ({ stream: "a" })),
    );
    // Of many chunks.
    const data = Buffer.alloc(3_000, 1);
    await commitEvents(
      storage,
      newEvents(40, () => ({ stream: "b", data })),
      50,
    );
    await commitEvents(
      storage,
      newEvents(2, () => ({ stream: "c" })),
      60,
    );
    await backUp({ store: folder, target: backup });
    await storage.close();
    for (const position of [4, 20, 42]) {
      const { report } = await restored({ backup, to: { position } });
      expect(report.cut).toMatchObject({ position: 3, divided: { first: 4, last: 43 } });
      const times = { firstRecordedAt: 50, lastRecordedAt: 60 };
      expect(report.cut?.leftOut).toEqual({ first: 4, last: 45, ...times });
    }
    const { report } = await restored({ backup, to: { position: 43 } });
    expect(report.cut).toMatchObject({ position: 43, divided: undefined });
    expect((await restored({ backup, to: { time: 59 } })).report.cut?.position).toBe(43);
    expect((await restored({ backup, to: { time: 60 } })).report.cut?.leftOut).toBeUndefined();
    const refused = (to: RestorePoint) => restore({ backup, target: fresh("refused"), to });
    await expect(refused({ position: 46 })).rejects.toThrow("ends at position 45, before");
    await expect(refused({ position: 2 })).rejects.toThrow("positions 1 to 3 became durable toget");
    await expect(refused({ time: 0 })).rejects.toThrow("nothing was recorded by 1970-01-01T00:00");
    const tomorrow = (Date.now() + 86_400_000) * 1_000;
    await expect(refused({ time: tomorrow })).rejects.toThrow("the backup was taken at");
  });

  test("takes no progress from behind it: that of an earlier backup, or none", async () => {
    const [folder, early, late] = [fresh("store"), fresh("backup"), fresh("backup")];
    const { storage } = await openIn(folder);
    const save = async (name: string): Promise<void> => {
      const commit = await composeCommit(
        storage,
        newEvents(2, () => ({ stream: "s" })),
      );
      const value = Buffer.from(`at ${commit.after.position}`);
      await storage.commit({ ...commit, sideValues: [{ space: "checkpoint", name, value }] });
    };
    await save("old");
    await backUp({ store: folder, target: early });
    await save("old");
    await save("new");
    await backUp({ store: folder, target: late });
    await storage.close();
    const to = { position: 4 };
    const alone = restore({ backup: late, target: fresh("refused"), to });
    await expect(alone).rejects.toThrow(
      "2 side values (checkpoints, groups, snapshots) are of aft",
    );
    const valuesIn = async (path: string): Promise<string[]> => {
      const again = (await openIn(path)).storage;
      const page = { space: "checkpoint", prefix: "", after: "", limit: 9 } as const;
      const found = await again.sideValues.list(page);
      await again.close();
      return found.map(({ name, value }) => `${name} ${Buffer.from(value).toString()}`);
    };
    const from = await restored({
      backup: late,
      to,
      earlier: [late, early],
      withoutProgress: false,
    });
    const progress = { from: early, asOf: 2, consumersLeftOut: ["new"], groupsLeftOut: [] };
    expect(from.report.progress).toEqual(progress);
    expect(await valuesIn(from.target)).toEqual(["old at 0"]);
    const without = await restored({ backup: late, to });
    expect(without.report.progress).toMatchObject({ consumersLeftOut: ["new", "old"] });
    expect(await valuesIn(without.target)).toEqual([]);
    // One that ends behind the point is of no use, and one of another store is refused.
    const useless = restore({ backup: late, target: fresh("refused"), to, earlier: [late] });
    await expect(useless).rejects.toThrow("none of the earlier backups ends there or before");
    const whole = await restored({ backup: late, to: { position: 6 } });
    expect(whole.report.progress).toBeUndefined();
    expect(await valuesIn(whole.target)).toEqual(["new at 4", "old at 2"]);
  });

  test("undoes a deletion, unless the space was reclaimed", async () => {
    const [folder, before, after] = [fresh("store"), fresh("backup"), fresh("backup")];
    const store = await openIn(folder);
    await commitEvents(
      store.storage,
      newEvents(6, (n) => ({ stream: n < 4 ? "gone" : "kept" })),
    );
    await deleteStream(store.storage, "gone");
    await backUp({ store: folder, target: before });
    await reclaimAll(store.reclaimer);
    await backUp({ store: folder, target: after });
    await store.storage.close();
    const factsIn = async (backup: string) => {
      const { target } = await restored({ backup, to: { position: 6 } });
      const again = await openIn(target);
      const events = await eventsIn(again.storage);
      const facts = await again.storage.stream("gone");
      await commitEvents(
        again.storage,
        newEvents(1, () => ({ stream: "gone" })),
      );
      const version = (await again.storage.stream("gone"))?.version;
      await again.storage.close();
      const client = [...events.values()].filter(({ stream }) => !stream.startsWith("$"));
      return { events: client.length, kept: facts?.eventCount, version };
    };
    expect(await factsIn(before)).toEqual({ events: 6, kept: 4, version: 5 });
    expect(await factsIn(after)).toEqual({ events: 2, kept: 0, version: 5 });
  });
});
