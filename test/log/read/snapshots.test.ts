// Snapshots: a cache that is checked against the log, and Load, which uses them or does without.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { corruption } from "../../../src/domain/errors.ts";
import { snapshotName, type NewSnapshot } from "../../../src/domain/snapshot.ts";
import type { EventLog, LoadRequest } from "../../../src/log/event-log.ts";
import { decodeSnapshot, encodeSnapshot } from "../../../src/log/read/snapshots.ts";
import { createModelStorage } from "../../support/model-storage.ts";
import { idOf } from "../../support/events.ts";
import { appendAll, appendOf, openLog, payloadsIn, positionsIn } from "../harness.ts";

/** As names of streams and kinds are: no control characters. */
const arbitraryText = fc.string().map((text) => text.replaceAll(/\p{Cc}/gu, ""));

const newSnapshot = (parts: Partial<NewSnapshot> = {}): NewSnapshot => ({
  stream: "a",
  kind: "",
  version: 1,
  contentType: "application/json",
  data: new TextEncoder().encode("{}"),
  metadata: {},
  ...parts,
});

/** Stream `a` at positions 1, 3, 5 and stream `b` between. */
async function openFive(options: Parameters<typeof openLog>[0] = {}) {
  const opened = openLog(options);
  await appendAll(opened.log, ...["a", "b", "a", "b", "a"].map((stream) => ({ stream })));
  return opened;
}

function newestOf(log: EventLog, kind = "", maxVersion?: number) {
  return log.getSnapshot({ stream: "a", kind, maxVersion });
}

interface Loaded {
  snapshot: number | undefined;
  positions: number[];
  end: unknown;
}

async function loaded(log: EventLog, request: Partial<LoadRequest> = {}): Promise<Loaded> {
  const defaults = { stream: "a", snapshotKind: "", withoutSnapshot: false };
  const answer: Loaded = { snapshot: undefined, positions: [], end: undefined };
  for await (const message of log.load({ ...defaults, ...request })) {
    if (message.kind === "snapshot") answer.snapshot = message.snapshot.version;
    if (message.kind === "batch") {
      expect(message.batch.count).toBeGreaterThan(0);
      answer.positions.push(...positionsIn(message.batch));
    }
    if (message.kind === "end") answer.end = message.end;
  }
  return answer;
}

describe("a snapshot", () => {
  test("that may be ahead is for those who ask, and no load uses it, even once it is reached", async () => {
    const { log } = await openFive();
    const ahead = { mayBeAhead: true, kind: "k", data: new Uint8Array([9]) };
    for (const version of [3, 4, 99]) {
      const saved = await log.saveSnapshot(newSnapshot({ ...ahead, version }));
      expect(saved).toMatchObject({ version, position: 0 });
    }
    const check = async () => {
      const failure = { reason: "SNAPSHOT_NOT_FOUND", stream: "a", kind: "k" };
      await expect(newestOf(log, "k")).rejects.toMatchObject({ failure });
      const asked = { stream: "a", kind: "k", mayBeAhead: true };
      expect(await log.getSnapshot(asked)).toMatchObject({ version: 99, position: 0 });
      expect(await log.getSnapshot({ ...asked, maxVersion: 5 })).toMatchObject({ version: 4 });
      expect(await log.listSnapshots({ stream: "a", limit: 9 })).toEqual([]);
      const listed = await log.listSnapshots({ ...asked, limit: 9, withData: true });
      expect(listed[0]).toMatchObject({ version: 99, data: new Uint8Array([9]) });
      expect((await loaded(log, { snapshotKind: "k" })).snapshot).toBeUndefined();
    };
    await check();
    await appendAll(log, { stream: "a" }, { stream: "a" });
    await check();
    await log.saveSnapshot(newSnapshot({ kind: "k", version: 4 }));
    expect(await loaded(log, { snapshotKind: "k" })).toMatchObject({ snapshot: 4 });
    await log.saveSnapshot(newSnapshot({ ...ahead, stream: "none" }));
    expect(await log.deleteSnapshots({ stream: "a", kind: "k" })).toBe(3);
  });

  test("that may be ahead is not of a version that a deletion removed", async () => {
    const { log } = await openFive();
    const why = { expected: undefined, id: idOf(1), actor: "", reason: "" };
    await log.streams.remove({ stream: "a", permanent: false, ...why });
    const saving = log.saveSnapshot(newSnapshot({ version: 3, mayBeAhead: true }));
    await expect(saving).rejects.toMatchObject({
      failure: { reason: "SNAPSHOT_BEYOND_STREAM" },
    });
    await log.saveSnapshot(newSnapshot({ version: 4, mayBeAhead: true }));
  });

  test("is given back as it was saved, with the position of its event", async () => {
    const { log } = await openFive({ clock: () => 1_700_000_000_123_456 });
    const metadata = { __proto__key: "x", code: "v7" };
    const saved = await log.saveSnapshot(newSnapshot({ version: 2, metadata }));
    expect(saved).toMatchObject({ version: 2, position: 3, savedAt: 1_700_000_000_123_456 });
    expect(await newestOf(log)).toEqual(saved);
  });

  test.each([4, 99])("beyond the stream (%i of 3) is refused", async (version) => {
    const { log } = await openFive();
    await expect(log.saveSnapshot(newSnapshot({ version }))).rejects.toMatchObject({
      failure: { reason: "SNAPSHOT_BEYOND_STREAM", stream: "a", version, streamVersion: 3 },
    });
    const missing = log.saveSnapshot(newSnapshot({ stream: "none" }));
    await expect(missing).rejects.toMatchObject({
      failure: { reason: "SNAPSHOT_BEYOND_STREAM", streamVersion: 0 },
    });
  });

  test("is the newest of its kind at or before a version", async () => {
    const { log } = await openFive();
    for (const version of [1, 3]) await log.saveSnapshot(newSnapshot({ version }));
    await log.saveSnapshot(newSnapshot({ version: 2, kind: "k" }));
    expect(await newestOf(log)).toMatchObject({ version: 3 });
    expect(await newestOf(log, "", 2)).toMatchObject({ version: 1 });
    expect(await newestOf(log, "k")).toMatchObject({ version: 2, kind: "k" });
    const failure = { reason: "SNAPSHOT_NOT_FOUND", stream: "a", kind: "k" };
    await expect(newestOf(log, "k", 1)).rejects.toMatchObject({ failure });
  });

  test("saved again replaces the one before", async () => {
    const { log } = await openFive();
    await log.saveSnapshot(newSnapshot());
    await log.saveSnapshot(newSnapshot({ data: new Uint8Array([7]) }));
    expect((await newestOf(log)).data).toEqual(new Uint8Array([7]));
    expect(await log.listSnapshots({ stream: "a", limit: 9 })).toHaveLength(1);
  });

  test("of many is listed page by page, without its data", async () => {
    const { log } = openLog();
    await log.append(appendOf(...Array.from({ length: 20 }, () => ({ stream: "a" }))));
    for (let version = 1; version <= 20; version++) {
      await log.saveSnapshot(newSnapshot({ version, kind: version % 2 === 0 ? "k" : "" }));
    }
    const all = await log.listSnapshots({ stream: "a", limit: 100 });
    const keys = all.map(({ kind, version }) => `${kind}${version}`);
    const odd = [19, 17, 15, 13, 11, 9, 7, 5, 3, 1].map((version) => `${version}`);
    expect(keys).toEqual([...odd, ...odd.map((version) => `k${Number(version) + 1}`)]);
    expect(all.every(({ data }) => data.length === 0)).toBe(true);
    const after = { kind: "", version: 3 };
    const page = await log.listSnapshots({ stream: "a", after, limit: 3 });
    expect(page.map(({ kind, version }) => `${kind}${version}`)).toEqual(["1", "k20", "k18"]);
    expect(await log.listSnapshots({ stream: "a", kind: "", limit: 100 })).toHaveLength(10);
  });

  test("is deleted by kind and version", async () => {
    const { log } = await openFive();
    for (const kind of ["", "k"]) {
      for (const version of [1, 2, 3]) await log.saveSnapshot(newSnapshot({ kind, version }));
    }
    expect(await log.deleteSnapshots({ stream: "a", kind: "k", maxVersion: 2 })).toBe(2);
    expect(await log.deleteSnapshots({ stream: "a", kind: "k", maxVersion: 2 })).toBe(0);
    expect(await log.deleteSnapshots({ stream: "a" })).toBe(4);
    expect(await log.listSnapshots({ stream: "a", limit: 9 })).toEqual([]);
  });

  test("that is damaged is reported where it was asked for", async () => {
    const { log, storage } = await openFive();
    await log.saveSnapshot(newSnapshot());
    const [stored] = storage.data.sideValues;
    if (stored === undefined) throw new Error("nothing stored");
    for (const value of [Uint8Array.of(0xff), stored.value.slice(0, -1), new Uint8Array()]) {
      storage.data.sideValues = [{ ...stored, value }];
      await expect(newestOf(log)).rejects.toMatchObject({
        failure: { reason: "CORRUPTION", stream: "a" },
      });
    }
  });

  test("in its stored form says all it is, and nothing else passes for it", () => {
    const snapshot = fc.record({
      stream: arbitraryText.filter((text) => text !== ""),
      kind: arbitraryText,
      version: fc.maxSafeNat(),
      position: fc.maxSafeNat(),
      contentType: fc.string(),
      data: fc.uint8Array(),
      metadata: fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true }),
      savedAt: fc.maxSafeNat(),
    });
    fc.assert(
      fc.property(snapshot, (given) => {
        const value = encodeSnapshot(given);
        expect(decodeSnapshot({ name: snapshotName(given), value })).toEqual(given);
        const { stream, kind, version } = given;
        const others = [
          { stream: `${stream}x`, kind, version },
          { stream, kind: `${kind}x`, version },
          { stream, kind, version: version === 0 ? 1 : version - 1 },
        ];
        for (const other of others) {
          const moved = { name: snapshotName(other), value };
          expect(() => decodeSnapshot(moved)).toThrow("not what its name says");
        }
      }),
    );
  });
});

describe("load", () => {
  test("of a stream without events is an end of version 0", async () => {
    const { log } = await openFive();
    const end = { version: 0, head: 5, after: 5, eventCount: 0, missingThrough: 0 };
    const answer = await loaded(log, { stream: "none" });
    expect(answer).toEqual({ snapshot: undefined, positions: [], end });
  });

  interface Found {
    readonly snapshot?: number;
    readonly positions: number[];
    readonly version: number;
  }
  const all: Found = { positions: [1, 3, 5], version: 3 };

  test.each<[string, number[], Partial<LoadRequest>, Found]>([
    ["without snapshots", [], {}, all],
    ["with one in the middle", [2], {}, { snapshot: 2, positions: [5], version: 3 }],
    ["with one at the end", [1, 3], {}, { snapshot: 3, positions: [], version: 3 }],
    ["at a version", [1, 3], { maxVersion: 2 }, { snapshot: 1, positions: [3], version: 2 }],
    [
      "at a snapshot's own version",
      [2],
      { maxVersion: 2 },
      { snapshot: 2, positions: [], version: 2 },
    ],
    ["at a version beyond", [1], { maxVersion: 9 }, { snapshot: 1, positions: [3, 5], version: 3 }],
    ["of another kind", [2], { snapshotKind: "k" }, all],
    ["that leaves snapshots out", [2], { withoutSnapshot: true }, all],
  ])("%s", async (_, versions, request, { snapshot, positions, version }) => {
    for (const batchBytesMax of [1, 65_536]) {
      const { log, warnings } = await openFive({ limits: { batchBytesMax } });
      for (const each of versions) await log.saveSnapshot(newSnapshot({ version: each }));
      // Positions 1, 3 and 5 are the stream's versions 1, 2 and 3.
      const after = version === 3 ? 5 : version * 2 - 1;
      const end = { version, head: 5, after, eventCount: positions.length, missingThrough: 0 };
      expect(await loaded(log, request)).toEqual({ snapshot, positions, end });
      expect(warnings).toEqual([]);
    }
  });

  test("is one view: what is appended or saved meanwhile is not in it", async () => {
    const { log, storage } = await openFive({ limits: { batchBytesMax: 1 } });
    await log.saveSnapshot(newSnapshot({ version: 2 }));
    const loading = loaded(log);
    storage.control.beforeBatch = async () => {
      storage.control.beforeBatch = undefined;
      await appendAll(log, { stream: "a" });
      await log.saveSnapshot(newSnapshot({ version: 4 }));
    };
    const end = { version: 3, head: 5, after: 5, eventCount: 1, missingThrough: 0 };
    expect(await loading).toEqual({ snapshot: 2, positions: [5], end });
  });

  test("passes over a damaged snapshot, takes an older one, and warns", async () => {
    const { log, storage, warnings } = await openFive();
    for (const version of [1, 2]) await log.saveSnapshot(newSnapshot({ version }));
    const damaged = snapshotName({ stream: "a", kind: "", version: 2 });
    storage.data.sideValues = storage.data.sideValues.map((stored) =>
      stored.name === damaged ? { ...stored, value: Uint8Array.of(1) } : stored,
    );
    expect(await loaded(log)).toMatchObject({ snapshot: 1, positions: [3, 5] });
    expect(warnings).toEqual(["a snapshot of a at version 2 is damaged"]);
  });

  test("does without snapshots that storage cannot read, and warns", async () => {
    const { log, warnings } = await openFive({
      wrap: (storage) => ({
        ...storage,
        sideValues: { ...storage.sideValues, list: () => Promise.reject(corruption("bad CRC")) },
      }),
    });
    expect(await loaded(log)).toMatchObject({ snapshot: undefined, positions: [1, 3, 5] });
    expect(warnings).toEqual(["the snapshots of a cannot be read"]);
  });

  test("never uses a snapshot beyond the stream, as after a loss", async () => {
    const { log, storage, warnings } = await openFive();
    for (const version of [1, 3]) await log.saveSnapshot(newSnapshot({ version }));
    storage.data.events.length = 3;
    const { log: reopened } = openLog({ storage: createModelStorage({ data: storage.data }) });
    expect(await loaded(reopened)).toMatchObject({ snapshot: 1, positions: [3] });
    expect(await newestOf(reopened)).toMatchObject({ version: 1 });
    const listed = await reopened.listSnapshots({ stream: "a", limit: 9 });
    expect(listed.map(({ version }) => version)).toEqual([1]);
    expect(warnings).toEqual([]);
  });

  test("never uses a snapshot of a history that was lost and written anew", async () => {
    const { log, storage } = await openFive();
    await log.saveSnapshot(newSnapshot({ version: 3 }));
    storage.data.events.length = 4;
    const later = openLog({
      storage: createModelStorage({ data: storage.data }),
      clock: () => 2_000_000,
    });
    await appendAll(later.log, { stream: "a", data: "another third event" });
    expect(await loaded(later.log)).toMatchObject({ snapshot: undefined, positions: [1, 3, 5] });
    await expect(newestOf(later.log)).rejects.toMatchObject({
      failure: { reason: "SNAPSHOT_NOT_FOUND" },
    });
    const warning = "a snapshot of a at version 3 does not fit the log and is not used";
    expect(later.warnings).toEqual([warning, warning]);
  });

  test("is not cut short by a clock that was set back", async () => {
    let now = 9_000;
    const { log } = openLog({ clock: () => now });
    await appendAll(log, { stream: "a" });
    now = 1_000;
    expect(await log.saveSnapshot(newSnapshot())).toMatchObject({ savedAt: 9_000 });
    expect(await loaded(log)).toMatchObject({ snapshot: 1, positions: [] });
  });

  test("ends without an end when its signal aborts", async () => {
    const { log } = await openFive({ limits: { batchBytesMax: 1 } });
    const controller = new AbortController();
    const request = { stream: "a", snapshotKind: "", withoutSnapshot: false };
    const kinds: string[] = [];
    for await (const message of log.load(request, controller.signal)) {
      kinds.push(message.kind);
      controller.abort();
    }
    expect(kinds).toEqual(["batch"]);
  });

  test("gives with its snapshot exactly what the events alone give", async () => {
    const plan = fc.record({
      versions: fc.uniqueArray(fc.integer({ min: 1, max: 8 }), { maxLength: 4 }),
      maxVersion: fc.option(fc.integer({ min: 1, max: 9 }), { nil: undefined }),
      batchBytesMax: fc.constantFrom(1, 150, 65_536),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ versions, maxVersion, batchBytesMax }) => {
        const { log } = openLog({ limits: { batchBytesMax } });
        for (let i = 1; i <= 8; i++) await appendAll(log, { stream: "a", data: `${i}` }, {});
        const stateAt = (version: number) =>
          Array.from({ length: version }, (_, i) => `${i + 1}`).join("");
        for (const version of versions) {
          const data = new TextEncoder().encode(stateAt(version));
          await log.saveSnapshot(newSnapshot({ version, data }));
        }
        let state = "";
        const request = { stream: "a", snapshotKind: "", withoutSnapshot: false, maxVersion };
        for await (const message of log.load(request)) {
          if (message.kind === "snapshot") state = new TextDecoder().decode(message.snapshot.data);
          if (message.kind === "batch") state += payloadsIn(message.batch).join("");
        }
        expect(state).toBe(stateAt(Math.min(maxVersion ?? 8, 8)));
      }),
      { numRuns: 60 },
    );
  });
});
