// Snapshots: the last one saved at its place counts, the newest comes first, and nobody else's.
import { expect } from "vitest";
import type { SnapshotPage, Storage, StoredSnapshot } from "../../../src/storage/storage.ts";
import { compareUtf8 } from "../../support/model-beside.ts";
import { expectBytes, lawTest, type OpenEngine } from "./checks.ts";

const newest = Number.MAX_SAFE_INTEGER;

export function snapshot(stream: string, kind: string, version: number, text = ""): StoredSnapshot {
  const payload = new TextEncoder().encode(`${stream}|${kind}|${version}|${text}`);
  return { stream, kind, version, position: version * 10, payload };
}

/** Fails unless these are the snapshots of the page, byte for byte. */
export async function expectSnapshots(
  storage: Storage,
  page: Partial<SnapshotPage> & { stream: string },
  expected: readonly StoredSnapshot[],
): Promise<void> {
  const found = await storage.snapshots.list({ maxVersion: newest, limit: 1_000, ...page });
  const place = ({ payload: _, ...rest }: StoredSnapshot) => rest;
  expect(found.map(place)).toEqual(expected.map(place));
  found.forEach(({ payload }, i) => {
    expectBytes(payload, expected[i]?.payload ?? new Uint8Array(), `snapshot ${i}`);
  });
}

export function snapshotLaw(open: OpenEngine): void {
  lawTest(open, "a stream without snapshots lists and removes none", async (storage) => {
    await expectSnapshots(storage, { stream: "a" }, []);
    await storage.snapshots.save(snapshot("a", "", 1));
    await expectSnapshots(storage, { stream: "a-" }, []);
    await expectSnapshots(storage, { stream: "a", kind: "other" }, []);
    expect(await storage.snapshots.remove({ stream: "b", maxVersion: newest })).toBe(0);
    expect(await storage.snapshots.remove({ stream: "a", maxVersion: 0 })).toBe(0);
    await expectSnapshots(storage, { stream: "a" }, [snapshot("a", "", 1)]);
  });

  lawTest(open, "the newest at or before a version comes first", async (storage) => {
    for (const version of [5, 1, 300, 70_000, 2 ** 40, 9]) {
      await storage.snapshots.save(snapshot("a", "", version));
    }
    const cases: [maxVersion: number, version: number][] = [
      [1, 1],
      [4, 1],
      [5, 5],
      [8, 5],
      [9, 9],
      [299, 9],
      [300, 300],
      [2 ** 40 - 1, 70_000],
      [newest, 2 ** 40],
    ];
    for (const [maxVersion, version] of cases) {
      const expected = [snapshot("a", "", version)];
      await expectSnapshots(storage, { stream: "a", kind: "", maxVersion, limit: 1 }, expected);
    }
    await expectSnapshots(storage, { stream: "a", kind: "", maxVersion: 0 }, []);
    const versions = [2 ** 40, 70_000, 300, 9, 5, 1];
    const all = versions.map((version) => snapshot("a", "", version));
    await expectSnapshots(storage, { stream: "a" }, all);
  });

  lawTest(open, "the last one saved at a stream, kind and version counts", async (storage) => {
    for (const text of ["first", "second", "", "x".repeat(50_000), "last"]) {
      await storage.snapshots.save(snapshot("a", "k", 7, text));
      await storage.snapshots.save(snapshot("a", "k", 8, `${text}!`));
      const expected = [snapshot("a", "k", 8, `${text}!`), snapshot("a", "k", 7, text)];
      await expectSnapshots(storage, { stream: "a" }, expected);
    }
    expect(await storage.snapshots.remove({ stream: "a", maxVersion: newest })).toBe(2);
    await expectSnapshots(storage, { stream: "a" }, []);
    await storage.snapshots.save(snapshot("a", "k", 7, "again"));
    await expectSnapshots(storage, { stream: "a" }, [snapshot("a", "k", 7, "again")]);
  });

  lawTest(open, "an older version saved later does not hide a newer one", async (storage) => {
    await storage.snapshots.save(snapshot("a", "", 10));
    await storage.snapshots.save(snapshot("a", "", 3));
    await expectSnapshots(storage, { stream: "a", kind: "", limit: 1 }, [snapshot("a", "", 10)]);
  });

  lawTest(open, "kinds live side by side, in the order of their UTF-8 bytes", async (storage) => {
    const kinds = ["", "b", "a", "a-1", "a-", "\uffee", "😀", "é"];
    for (const kind of kinds) {
      for (const version of [1, 2, 3]) await storage.snapshots.save(snapshot("s", kind, version));
    }
    const all = kinds
      .toSorted(compareUtf8)
      .flatMap((kind) => [3, 2, 1].map((version) => snapshot("s", kind, version)));
    await expectSnapshots(storage, { stream: "s" }, all);
    const atMost2 = all.filter(({ version }) => version <= 2);
    await expectSnapshots(storage, { stream: "s", maxVersion: 2 }, atMost2);
    for (const kind of kinds) {
      const own = all.filter((one) => one.kind === kind);
      await expectSnapshots(storage, { stream: "s", kind }, own);
    }
    for (const limit of [1, 2, 5, 24, 25]) await expectPages(storage, limit, all);
    await expectSnapshots(
      storage,
      { stream: "s", after: { kind: "aa", version: 1 } },
      all.filter(({ kind }) => compareUtf8(kind, "aa") > 0),
    );
    await expectSnapshots(
      storage,
      { stream: "s", after: { kind: "b", version: 9 } },
      all.filter(({ kind }) => compareUtf8(kind, "b") >= 0),
    );
  });

  lawTest(open, "streams and kinds do not mix, whatever their names share", async (storage) => {
    const names = ["a", "a-", "a-1", "ab", "", "b", "a\u{10ffff}", "-"];
    const all = names.flatMap((stream) =>
      names.map((kind) => snapshot(stream === "" ? "x" : stream, kind, 1)),
    );
    for (const one of all) await storage.snapshots.save(one);
    for (const one of all) {
      await expectSnapshots(storage, { stream: one.stream, kind: one.kind }, [one]);
    }
    expect(await storage.snapshots.remove({ stream: "a", kind: "a", maxVersion: newest })).toBe(1);
    expect(await storage.snapshots.remove({ stream: "a-", maxVersion: newest })).toBe(names.length);
    for (const one of all) {
      const gone = one.stream === "a-" || (one.stream === "a" && one.kind === "a");
      await expectSnapshots(storage, { stream: one.stream, kind: one.kind }, gone ? [] : [one]);
    }
  });

  lawTest(
    open,
    "removing takes those at or before a version, and says how many",
    async (storage) => {
      for (const kind of ["", "k"]) {
        for (let version = 1; version <= 10; version++) {
          await storage.snapshots.save(snapshot("a", kind, version));
        }
      }
      await storage.snapshots.save(snapshot("a", "k", 2, "replaced"));
      expect(await storage.snapshots.remove({ stream: "a", kind: "k", maxVersion: 4 })).toBe(4);
      expect(await storage.snapshots.remove({ stream: "a", kind: "k", maxVersion: 4 })).toBe(0);
      expect(await storage.snapshots.remove({ stream: "a", maxVersion: 5 })).toBe(6);
      const left = ["", "k"].flatMap((kind) =>
        [10, 9, 8, 7, 6].map((version) => snapshot("a", kind, version)),
      );
      await expectSnapshots(storage, { stream: "a" }, left);
    },
  );

  lawTest(open, "a snapshot may be as large as the limits allow", async (storage) => {
    const payload = Buffer.alloc(3 * 1_024 * 1_024 + 20_000, "state ");
    const large = { ...snapshot("a", "", 1), payload };
    await storage.snapshots.save(large);
    await expectSnapshots(storage, { stream: "a" }, [large]);
  });

  lawTest(open, "a snapshot is no event", async (storage) => {
    await storage.snapshots.save(snapshot("a", "", 1));
    expect(storage.head()).toEqual({ position: 0, recordedAt: 0 });
    expect(await storage.stream("a")).toBeUndefined();
    expect(await storage.listStreams({ prefix: "", after: "", limit: 10 })).toEqual([]);
  });
}

async function expectPages(
  storage: Storage,
  limit: number,
  all: readonly StoredSnapshot[],
): Promise<void> {
  for (let from = 0; from <= all.length; from += limit) {
    const before = all[from - 1];
    const after = before && { kind: before.kind, version: before.version };
    const page = { stream: "s", limit, ...(after && { after }) };
    await expectSnapshots(storage, page, all.slice(from, from + limit));
  }
}
