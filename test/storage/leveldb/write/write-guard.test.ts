// A write that fails poisons the writer: nothing is acknowledged until the database was closed,
// reopened and found to hold everything that was. A full disk refuses writers and keeps readers.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import type { Advance, Storage, WriteState } from "../../../../src/storage/storage.ts";
import { commitEvents, composeCommit, newEvent, recordsOf } from "../../../support/events.ts";
import { handTimers, settled, type HandTimers } from "../../../support/hand-timers.ts";
import { saveSnapshot, snapshotsOf } from "../../../support/snapshots.ts";
import { faultyKv, type FaultyKv } from "../kv/faulty-kv.ts";

let faulty: FaultyKv;
let timers: HandTimers;
let storage: Storage;
let spare: number | Error;
/** The disk is full from the moment that a write fails. */
let fullOnceFailed: boolean;
let states: WriteState[];
let advances: Advance[];

beforeEach(async () => {
  faulty = faultyKv();
  timers = handTimers();
  spare = Number.MAX_SAFE_INTEGER;
  fullOnceFailed = false;
  states = [];
  advances = [];
  storage = await openStorageOver({
    openKv: () => faulty.openKv(),
    delay: timers.delay,
    spareBytes() {
      if (fullOnceFailed && states.at(-1) === "recovering") spare = 0;
      fullOnceFailed &&= spare !== 0;
      if (spare instanceof Error) throw spare;
      return spare;
    },
  });
  storage.watch({
    advanced: (advance) => void advances.push(advance),
    writeStateChanged: (state) => void states.push(state),
  });
  await append("first");
});
afterEach(() => storage.close());

async function append(data: string): Promise<void> {
  await commitEvents(storage, [newEvent({ stream: "s-1", data })]);
}

async function reasonOf(work: Promise<unknown>): Promise<unknown> {
  try {
    await work;
    return "none";
  } catch (error) {
    return (error as { reason?: unknown }).reason ?? error;
  }
}

async function stored(): Promise<string[]> {
  const records = await recordsOf(storage);
  return records.map(
    (record) => /first|second|third/.exec(Buffer.from(record).toString())?.[0] ?? "",
  );
}

describe("a write that fails once", () => {
  test("is unknown, and not there: the store reopens and goes on without it", async () => {
    faulty.writes.push("fails, not there");
    expect(await reasonOf(append("second"))).toBe("OUTCOME_UNKNOWN");
    await settled();
    expect([states, faulty.opened]).toEqual([["recovering", "accepting"], 2]);
    expect(await stored()).toEqual(["first"]);
    await append("third");
    expect(await stored()).toEqual(["first", "third"]);
    expect(storage.head().position).toBe(2);
  });

  test("is unknown, and there: the head moves and everybody is told to look", async () => {
    faulty.writes.push("fails, there");
    const commit = await composeCommit(storage, [newEvent({ stream: "s-1", data: "second" })]);
    expect(await reasonOf(storage.commit(commit))).toBe("OUTCOME_UNKNOWN");
    expect(storage.head().position).toBe(1);
    await settled();
    expect(storage.head()).toEqual({ position: 2, recordedAt: commit.recordedAt });
    expect(advances.at(-1)).toEqual({ from: commit.after, to: storage.head() });
    expect(await stored()).toEqual(["first", "second"]);
    const { id } = commit.events[0] as { id: string };
    const facts = await storage.facts({ streams: ["s-1"], ids: [id], conditions: [] });
    expect([facts.events.get(id)?.position, facts.versions.get("s-1")]).toEqual([2, 2]);
    expect(await storage.commit(commit)).toBe("stale");
    await append("third");
    expect(await stored()).toEqual(["first", "second", "third"]);
  });

  test("is not followed by another: those behind it are refused with nothing stored", async () => {
    faulty.writes.push("fails, not there");
    const commit = await composeCommit(storage, [newEvent({ data: "second" })]);
    const payload = Buffer.from("state");
    const snapshot = { stream: "s-1", kind: "", version: 1, payload };
    const [first, second, third] = await Promise.all([
      reasonOf(storage.commit(commit)),
      reasonOf(storage.commit(commit)),
      reasonOf(saveSnapshot(storage, snapshot)),
    ]);
    expect([first, second, third]).toEqual(["OUTCOME_UNKNOWN", "RECOVERING", "RECOVERING"]);
    await settled();
    expect(await stored()).toEqual(["first"]);
    expect(await snapshotsOf(storage, "s-1")).toEqual([]);
  });

  test("may be that of a snapshot", async () => {
    faulty.writes.push("fails, there");
    const payload = Buffer.from("state");
    const snapshot = { stream: "s-1", kind: "", version: 1, payload };
    expect(await reasonOf(saveSnapshot(storage, snapshot))).toBe("OUTCOME_UNKNOWN");
    await settled();
    expect(await snapshotsOf(storage, "s-1")).toHaveLength(1);
    expect(storage.writeState()).toBe("accepting");
  });

  test("lets nobody read while the database is closed: RECOVERING, and then all is there", async () => {
    let open = (): void => {};
    faulty.writes.push("fails, not there");
    const failed = reasonOf(append("second"));
    await settled();
    faulty.writes.push("fails, not there");
    const again = reasonOf(append("second"));
    faulty.gate = new Promise((resolve) => {
      open = resolve;
    });
    const reading = reasonOf(recordsOf(storage));
    await settled();
    open();
    faulty.gate = undefined;
    expect(await failed).toBe("OUTCOME_UNKNOWN");
    expect(["OUTCOME_UNKNOWN", "RECOVERING"]).toContain(await again);
    expect(["none", "RECOVERING"]).toContain(await reading);
    await settled();
    expect(await stored()).toEqual(["first"]);
  });
});

describe("a database that does not reopen", () => {
  test("is tried again, ever more slowly, and failed after five times", async () => {
    faulty.openings.push("fails", "fails", "fails", "fails", "fails", "fails");
    faulty.writes.push("fails, there");
    const commit = await composeCommit(storage, [newEvent({ stream: "s-1", data: "second" })]);
    expect(await reasonOf(storage.commit(commit))).toBe("OUTCOME_UNKNOWN");
    const waits: number[] = [];
    for (let attempt = 1; attempt <= 6; attempt++) {
      await settled();
      expect(storage.writeState()).toBe(attempt < 5 ? "recovering" : "failed");
      waits.push(...timers.waiting());
      const refused = attempt < 5 ? "RECOVERING" : "STORE_FAILED";
      expect(await reasonOf(storage.commit(commit))).toBe(refused);
      timers.next();
    }
    expect(waits).toEqual([100, 200, 400, 800, 1_600, 3_200]);
    await settled();
    expect(storage.writeState()).toBe("accepting");
    expect(await stored()).toEqual(["first", "second"]);
  });

  test("with everything that was acknowledged is never served", async () => {
    faulty.openings.push("lost everything");
    faulty.writes.push("fails, not there");
    expect(await reasonOf(append("second"))).toBe("OUTCOME_UNKNOWN");
    for (let i = 0; i < 10; i++) {
      await settled();
      timers.next();
    }
    expect(storage.writeState()).toBe("failed");
    expect(storage.head().position).toBe(1);
    expect(await reasonOf(recordsOf(storage, { batchBytes: 1 }))).toBe("RECOVERING");
  });

  test("does not keep the store from closing", async () => {
    faulty.openings.push("fails", "fails");
    faulty.writes.push("fails, not there");
    expect(await reasonOf(append("second"))).toBe("OUTCOME_UNKNOWN");
    await settled();
    await storage.close();
    expect(timers.waiting()).toEqual([]);
    expect(await reasonOf(append("third"))).toBe("STOPPING");
  });
});

describe("a full disk", () => {
  test("refuses writers, keeps readers, and takes writers again by itself", async () => {
    spare = 100;
    expect(await reasonOf(append("second"))).toBe("DISK_FULL");
    expect([storage.writeState(), faulty.opened]).toEqual(["disk-full", 1]);
    expect(await stored()).toEqual(["first"]);
    spare = 0;
    timers.next();
    await settled();
    expect(await reasonOf(append("second"))).toBe("DISK_FULL");
    spare = Number.MAX_SAFE_INTEGER;
    expect(await reasonOf(append("second"))).toBe("DISK_FULL");
    timers.next();
    await settled();
    await append("second");
    expect(states).toEqual(["disk-full", "accepting"]);
    expect(await stored()).toEqual(["first", "second"]);
  });

  test("whose free space nobody can tell counts as full", async () => {
    spare = new Error("EIO");
    expect(await reasonOf(append("second"))).toBe("DISK_FULL");
    timers.next();
    await settled();
    expect(storage.writeState()).toBe("disk-full");
    spare = Number.MAX_SAFE_INTEGER;
    timers.next();
    await settled();
    await append("second");
  });

  test("that fails a write all the same is waited for: readers go on meanwhile", async () => {
    faulty.writes.push("fails, there");
    fullOnceFailed = true;
    expect(await reasonOf(append("second"))).toBe("OUTCOME_UNKNOWN");
    await settled();
    expect([storage.writeState(), faulty.opened]).toEqual(["disk-full", 1]);
    expect(await stored()).toEqual(["first"]);
    expect(await reasonOf(append("third"))).toBe("DISK_FULL");
    spare = Number.MAX_SAFE_INTEGER;
    timers.next();
    await settled();
    expect(states).toEqual(["recovering", "disk-full", "recovering", "accepting"]);
    expect(await stored()).toEqual(["first", "second"]);
  });

  test("does not keep the store from closing", async () => {
    spare = 0;
    expect(await reasonOf(append("second"))).toBe("DISK_FULL");
    await storage.close();
    expect(timers.waiting()).toEqual([]);
  });
});
