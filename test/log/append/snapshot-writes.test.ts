// Saving and deleting snapshots goes through the queue of the appends: one order, one sync, the same
// bounds; and a deleted stream takes its snapshots along.
import { describe, expect, test } from "vitest";
import { AnnalsError } from "../../../src/domain/errors.ts";
import type { NewSnapshot } from "../../../src/domain/snapshot.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import type { Commit } from "../../../src/storage/storage.ts";
import { createModelStorage, type ModelStorage } from "../../support/model-storage.ts";
import { appendAll, appendOf, openLog, settled } from "../harness.ts";

const newSnapshot = (parts: Partial<NewSnapshot> = {}): NewSnapshot => ({
  stream: "a",
  kind: "",
  version: 1,
  contentType: "application/json",
  data: new TextEncoder().encode("{}"),
  metadata: {},
  ...parts,
});

const deletion = (stream: string, permanent = false) => ({
  stream,
  expected: undefined,
  actor: "",
  reason: "",
  permanent,
});

/** The log over `a` with so many events, and each commit that is stored from here on. */
async function openStream(events: number, options: Parameters<typeof openLog>[0] = {}) {
  const opened = openLog(options);
  await opened.log.append(appendOf(...Array.from({ length: events }, () => ({ stream: "a" }))));
  const commits: Commit[] = [];
  opened.storage.control.beforeCommit = (commit) => void commits.push(commit);
  return { ...opened, commits };
}

async function listed(log: EventLog, stream = "a"): Promise<string[]> {
  const found = await log.listSnapshots({ stream, limit: 10_000 });
  return found.map(({ kind, version }) => `${kind}${version}`);
}

function kept(storage: ModelStorage): number {
  return storage.data.sideValues.filter(({ space }) => space === "snapshot").length;
}

async function reasonOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => "none",
    (error: unknown) => (error instanceof AnnalsError ? error.reason : error),
  );
}

describe("a saved snapshot", () => {
  test("shares the commit of the appends beside it", async () => {
    const { log, storage, commits } = await openStream(3);
    let release = (): void => {};
    storage.control.beforeCommit = async (commit) => {
      commits.push(commit);
      await new Promise<void>((resolve) => (release = resolve));
    };
    const first = log.append(appendOf({ stream: "b" }));
    await settled();
    const together = [
      log.append(appendOf({ stream: "b" })),
      log.saveSnapshot(newSnapshot({ version: 2 })),
      log.append(appendOf({ stream: "c" })),
      log.saveSnapshot(newSnapshot({ version: 3 })),
    ];
    await settled();
    release();
    await first;
    await settled();
    release();
    await Promise.all(together);
    expect(
      commits.map(({ events, sideValues = [] }) => [events.length, sideValues.length]),
    ).toEqual([
      [1, 0],
      // Each snapshot with its head, or that there is none.
      [2, 4],
    ]);
    expect(await listed(log)).toEqual(["3", "2"]);
  });

  test("is not answered before it is durable, and not seen before", async () => {
    const { log, storage } = await openStream(1);
    storage.control.failNextCommit("not there");
    expect(await reasonOf(log.saveSnapshot(newSnapshot()))).toBe("OUTCOME_UNKNOWN");
    expect(await listed(log)).toEqual([]);
    storage.control.failNextCommit("there");
    expect(await reasonOf(log.saveSnapshot(newSnapshot()))).toBe("OUTCOME_UNKNOWN");
    expect(await listed(log)).toEqual(["1"]);
    storage.control.setWriteState("disk-full");
    expect(await reasonOf(log.saveSnapshot(newSnapshot()))).toBe("DISK_FULL");
  });

  test("twice at once at one version is the last one", async () => {
    const { log, commits } = await openStream(1);
    const saves = ["first", "second", "third"].map((text) =>
      log.saveSnapshot(newSnapshot({ data: Buffer.from(text) })),
    );
    await Promise.all(saves);
    expect(commits).toHaveLength(1);
    expect(Buffer.from((await log.getSnapshot({ stream: "a", kind: "" })).data).toString()).toBe(
      "third",
    );
  });

  test("weighs what an append of its size weighs", async () => {
    const limits = { commitBytesMax: 10_000, appendQueueBytesMax: 30_000 };
    const { log, storage, commits } = await openStream(4, { limits });
    const save = (version: number) =>
      log.saveSnapshot(newSnapshot({ version, data: Buffer.alloc(9_000) }));
    const answers = [1, 2, 3, 4].map((version) => reasonOf(save(version)));
    expect(await Promise.all(answers)).toEqual(["none", "none", "none", "OVERLOADED"]);
    expect(commits).toHaveLength(3);
    expect(kept(storage)).toBe(3);
    await save(4);
  });

  test("that is given up while it waits is not stored", async () => {
    const { log, storage } = await openStream(2);
    const controller = new AbortController();
    const first = log.append(appendOf({ stream: "b" }));
    const given = reasonOf(log.saveSnapshot(newSnapshot(), controller.signal));
    for (let i = 0; i < 20; i++) await Promise.resolve();
    controller.abort();
    expect(await given).toBe("CANCELLED");
    await first;
    expect(kept(storage)).toBe(0);
  });

  test("is refused where the log stops", async () => {
    const { log } = await openStream(1);
    await log.stop();
    expect(await reasonOf(log.saveSnapshot(newSnapshot()))).toBe("STOPPING");
    expect(await reasonOf(log.deleteSnapshots({ stream: "a" }))).toBe("none");
  });
});

describe("deleting snapshots", () => {
  test("of any number takes bounded commits, and appends go in between", async () => {
    const { log, storage, commits } = await openStream(1_000);
    const saves = Array.from({ length: 1_000 }, (_, i) =>
      log.saveSnapshot(newSnapshot({ version: i + 1, kind: i % 2 === 0 ? "" : "k" })),
    );
    await Promise.all(saves);
    commits.length = 0;
    const deleting = log.deleteSnapshots({ stream: "a", maxVersion: 999 });
    const appends = async () => {
      for (let i = 0; i < 8; i++) await log.append(appendOf({ stream: "b" }));
    };
    await appends();
    expect(kept(storage)).toBeGreaterThan(0);
    expect(await deleting).toBe(999);
    expect(await listed(log)).toEqual(["k1000"]);
    for (const { sideValues = [] } of commits) expect(sideValues.length).toBeLessThanOrEqual(256);
  });

  test("of one kind up to a version leaves the others", async () => {
    const { log } = await openStream(5);
    for (const kind of ["", "k", "k-"]) {
      for (let version = 1; version <= 5; version++) {
        await log.saveSnapshot(newSnapshot({ kind, version }));
      }
    }
    expect(await log.deleteSnapshots({ stream: "a", kind: "k", maxVersion: 3 })).toBe(3);
    expect(await log.deleteSnapshots({ stream: "a", kind: "", maxVersion: 5 })).toBe(5);
    const left = ["k5", "k4", "k-5", "k-4", "k-3", "k-2", "k-1"];
    expect(await listed(log)).toEqual(left);
    expect(await log.deleteSnapshots({ stream: "a", maxVersion: 4 })).toBe(5);
    expect(await listed(log)).toEqual(["k5", "k-5"]);
  });
});

describe("a stream that is deleted", () => {
  test("takes its snapshots along in the same commit", async () => {
    for (const permanent of [false, true]) {
      const { log, storage, commits } = await openStream(3);
      await appendAll(log, { stream: "a-" });
      for (const version of [1, 2, 3]) await log.saveSnapshot(newSnapshot({ version }));
      await log.saveSnapshot(newSnapshot({ stream: "a-", kind: "k" }));
      commits.length = 0;
      await log.streams.remove(deletion("a", permanent));
      expect(commits).toHaveLength(1);
      expect(commits[0]?.sideValues).toHaveLength(6);
      expect(kept(storage)).toBe(1);
      expect(await listed(log, "a-")).toEqual(["k1"]);
    }
  });

  test("takes along what was saved in the same commit before it, and nothing saved after", async () => {
    const { log, storage, commits } = await openStream(3);
    await log.saveSnapshot(newSnapshot({ version: 1 }));
    const before = log.saveSnapshot(newSnapshot({ version: 2 }));
    // Both have looked at the log, and are on their way to the queue.
    await settled();
    await before;
    commits.length = 0;
    const racing = log.saveSnapshot(newSnapshot({ version: 3 }));
    const removing = log.streams.remove(deletion("a"));
    expect(await reasonOf(removing)).toBe("none");
    expect(["none", "SNAPSHOT_BEYOND_STREAM"]).toContain(await reasonOf(racing));
    expect(kept(storage)).toBe(0);
    await expect(log.saveSnapshot(newSnapshot({ version: 3 }))).rejects.toMatchObject({
      failure: { reason: "SNAPSHOT_BEYOND_STREAM", stream: "a", version: 3, streamVersion: 3 },
    });
    await appendAll(log, { stream: "a" });
    await log.saveSnapshot(newSnapshot({ version: 4 }));
    expect(await listed(log)).toEqual(["4"]);
  });

  test("is decided in one order with its snapshots, however they come", async () => {
    const { log, storage } = await openStream(3);
    let held: (() => void) | undefined;
    // Saves look at the log before the deletion, and are decided on behind it.
    const storageFacts = storage.facts.bind(storage);
    const slow = openLog({
      storage,
      wrap: (own) => ({
        ...own,
        async facts(request) {
          const facts = await storageFacts(request);
          if (held === undefined && [...request.streams].join() === "a") {
            await new Promise<void>((resolve) => (held = resolve));
          }
          return facts;
        },
      }),
    });
    const saving = reasonOf(slow.log.saveSnapshot(newSnapshot({ version: 3 })));
    await settled();
    await log.streams.remove(deletion("a"));
    held?.();
    expect(await saving).toBe("SNAPSHOT_BEYOND_STREAM");
    expect(kept(storage)).toBe(0);
  });

  test("loses more of them than fit one commit right after it, or when it is deleted again", async () => {
    const { log, storage, commits, warnings } = await openStream(600);
    const saves = Array.from({ length: 600 }, (_, i) =>
      log.saveSnapshot(newSnapshot({ version: i + 1 })),
    );
    await Promise.all(saves);
    commits.length = 0;
    storage.control.beforeCommit = (commit) => {
      commits.push(commit);
      // All behind the deletion is refused.
      if (commits.length === 2) throw new AnnalsError({ reason: "RECOVERING" }, "recovering");
    };
    await log.streams.remove(deletion("a"));
    expect(warnings).toEqual(["the snapshots of the deleted stream a were left behind"]);
    expect(kept(storage)).toBe(600 - 128);
    expect(await listed(log)).toEqual([]);
    await log.streams.remove(deletion("a"));
    expect(kept(storage)).toBe(0);
    for (const { sideValues = [] } of commits) expect(sideValues.length).toBeLessThanOrEqual(256);
  });

  test("and whose deletion fails keeps them, or loses them with it", async () => {
    for (const there of ["not there", "there"] as const) {
      const { log, storage } = await openStream(2);
      await log.saveSnapshot(newSnapshot({ version: 2 }));
      storage.control.failNextCommit(there);
      expect(await reasonOf(log.streams.remove(deletion("a")))).toBe("OUTCOME_UNKNOWN");
      const again = openLog({ storage: createModelStorage({ data: storage.data }) });
      expect(kept(storage)).toBe(there === "there" ? 0 : 1);
      expect(await listed(again.log)).toEqual(there === "there" ? [] : ["2"]);
    }
  });
});

describe("a list of large snapshots", () => {
  const large = (version: number) =>
    newSnapshot({ version, data: Buffer.alloc(100_000, version), metadata: { v: `${version}` } });
  const metadataOf = async (log: EventLog): Promise<(string | undefined)[]> =>
    (await log.listSnapshots({ stream: "a", limit: 9 })).map(({ metadata }) => metadata["v"]);

  test("reads none of their states", async () => {
    const { log, storage } = await openStream(3);
    for (const version of [1, 2, 3]) await log.saveSnapshot(large(version));
    let bytes = 0;
    const counted = (values: Iterable<Uint8Array>): void => {
      for (const value of values) bytes += value.length;
    };
    const { log: counting } = openLog({
      storage,
      wrap: (own) => ({
        ...own,
        sideValues: {
          get: async (space, names) => {
            const found = await own.sideValues.get(space, names);
            counted(found.values());
            return found;
          },
          list: async (page) => {
            const found = await own.sideValues.list(page);
            if (page.namesOnly !== true) counted(found.map(({ value }) => value));
            return found;
          },
        },
      }),
    });
    expect(await metadataOf(counting)).toEqual(["3", "2", "1"]);
    expect(bytes).toBeLessThan(1_000);
    const [first] = await log.listSnapshots({ stream: "a", limit: 1, withData: true });
    expect(first?.data).toHaveLength(100_000);
  });

  test("is of what was saved last, large or small, and of nothing that was deleted", async () => {
    const { log, storage } = await openStream(3);
    for (const version of [1, 2, 3]) await log.saveSnapshot(large(version));
    await log.saveSnapshot(newSnapshot({ version: 2, metadata: { v: "small" } }));
    await log.saveSnapshot({ ...large(3), metadata: { v: "again" } });
    expect(await metadataOf(log)).toEqual(["again", "small", "1"]);
    await log.deleteSnapshots({ stream: "a", maxVersion: 2 });
    expect(await metadataOf(log)).toEqual(["again"]);
    await log.streams.remove(deletion("a"));
    expect(storage.data.sideValues).toEqual([]);
  });

  test("has those of earlier builds, which have no heads", async () => {
    const { log, storage } = await openStream(1);
    await log.saveSnapshot(large(1));
    const { sideValues } = storage.data;
    storage.data.sideValues = sideValues.filter(({ space }) => space === "snapshot");
    expect(await metadataOf(log)).toEqual(["1"]);
  });
});
