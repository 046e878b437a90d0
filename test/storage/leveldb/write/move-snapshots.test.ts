// Stores of the first builds hold snapshots under keys of their own: opening moves them, whenever a
// start is cut off, and nothing of them is lost, doubled or taken for sound.
import { expect, test } from "vitest";
import { AnnalsError } from "../../../../src/domain/errors.ts";
import { seal } from "../../../../src/storage/leveldb/format/keys.ts";
import type { Kv, Operation } from "../../../../src/storage/leveldb/kv/kv.ts";
import { openMemoryKv } from "../../../../src/storage/leveldb/kv/memory-kv.ts";
import { openStorageOver } from "../../../../src/storage/leveldb/open.ts";
import { verifyStore } from "../../../../src/storage/leveldb/verify/verify-store.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { saveSnapshot, snapshotsOf, type PlainSnapshot } from "../../../support/snapshots.ts";

const old = { first: Buffer.from("s"), last: Buffer.from("t"), limit: 10_000, bytesMax: 1 << 30 };
const beside = {
  first: Buffer.from("n"),
  last: Buffer.from("o"),
  limit: 10_000,
  bytesMax: 1 << 30,
};

/** An entry as the first builds wrote it. */
function oldEntry({ stream, kind, version, payload }: PlainSnapshot, revision = 7): Operation {
  const numbers = Buffer.alloc(16);
  numbers.writeBigUInt64BE(BigInt(Number.MAX_SAFE_INTEGER - version), 0);
  numbers.writeBigUInt64BE(BigInt(Number.MAX_SAFE_INTEGER - revision), 8);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(Buffer.byteLength(stream));
  const head = [Buffer.from("s"), length, Buffer.from(`${stream}${kind}\0`)];
  const key = Buffer.concat([...head, numbers]);
  const position = Buffer.alloc(8);
  position.writeBigUInt64BE(BigInt(version));
  return [key, seal(key, Buffer.concat([position, payload]))];
}

const streams = ["order-1", "漢字", "order-"];

/** By kind, the newest version first; large enough for several pages. */
function snapshotsIn(stream: string): PlainSnapshot[] {
  return ["", "totals", "totals-é"].flatMap((kind) =>
    [2 ** 40, 9, 3, 1].map((version) => {
      const payload = Buffer.alloc(100_000, `${stream} ${kind} ${version} `);
      return { stream, kind, version, payload };
    }),
  );
}

async function oldStore(): Promise<Kv> {
  const kv = openMemoryKv();
  await kv.write(streams.flatMap(snapshotsIn).map((each) => oldEntry(each)));
  return kv;
}

async function expectAll(storage: Storage): Promise<void> {
  for (const stream of streams)
    expect(await snapshotsOf(storage, stream)).toEqual(snapshotsIn(stream));
}

test("opening moves them all, in several writes, and once", async () => {
  const kv = await oldStore();
  const writes: number[] = [];
  const counted: Kv = {
    ...kv,
    write(operations) {
      writes.push(operations.reduce((sum, [, value]) => sum + (value?.length ?? 0), 0));
      return kv.write(operations);
    },
  };
  const storage = await openStorageOver({ openKv: async () => counted });
  expect(writes.length).toBeGreaterThan(4);
  expect(Math.max(...writes)).toBeLessThan(1_000_000);
  await expectAll(storage);
  expect(await kv.page(old)).toEqual([]);
  expect(await kv.page({ ...beside, keysOnly: true })).toHaveLength(36);
  await saveSnapshot(storage, {
    stream: "order-1",
    kind: "",
    version: 9,
    payload: Buffer.from("new"),
  });
  const again = await openStorageOver({ openKv: async () => counted });
  const [, second] = await snapshotsOf(again, "order-1");
  expect(Buffer.from(second?.payload ?? []).toString()).toBe("new");
});

test("a start that is cut off at any write is gone on with by the next", async () => {
  for (let cutAt = 0; cutAt < 9; cutAt++) {
    const kv = await oldStore();
    let left = cutAt;
    const cut: Kv = {
      ...kv,
      async write(operations) {
        if (left-- <= 0) throw new Error("the process is killed");
        await kv.write(operations);
      },
    };
    const opened = openStorageOver({ openKv: async () => cut });
    const sound: string[] = [];
    await opened.catch((error: Error) => sound.push(error.message));
    const totals = await verifyStore(kv, { head: 0, found: (finding) => sound.push(finding) });
    expect(totals).toMatchObject({ snapshots: 36, sideValues: 0 });
    expect(sound.filter((each) => each !== "the process is killed")).toEqual([]);
    await expectAll(await openStorageOver({ openKv: async () => kv }));
  }
});

test("of several revisions the newest is kept", async () => {
  const kv = openMemoryKv();
  const one = (text: string): PlainSnapshot => {
    return { stream: "a", kind: "", version: 1, payload: Buffer.from(text) };
  };
  await kv.write([oldEntry(one("older"), 1), oldEntry(one("newer"), 2)]);
  const storage = await openStorageOver({ openKv: async () => kv });
  expect(await snapshotsOf(storage, "a")).toEqual([one("newer")]);
});

test("a damaged one stays damaged, and one that nobody can name stays where it is", async () => {
  const kv = await oldStore();
  const [first, second] = await kv.page(old);
  const [key, value] = first ?? expect.unreachable();
  const corrupted = Buffer.from(value);
  corrupted[20] = (corrupted[20] as number) ^ 1;
  const nameless = Buffer.from(second?.[0] ?? []);
  nameless[1] = 0xff;
  await kv.write([
    [key, corrupted],
    [nameless, Buffer.from("anything")],
  ]);
  const storage = await openStorageOver({ openKv: async () => kv });
  const failures: unknown[] = [];
  for (const stream of streams) {
    await snapshotsOf(storage, stream).catch((error: unknown) => failures.push(error));
  }
  expect(failures.map((error) => error instanceof AnnalsError && error.reason)).toEqual([
    "CORRUPTION",
  ]);
  expect((await kv.page(old)).map(([each]) => Buffer.from(each))).toEqual([nameless]);
  const findings: string[] = [];
  await verifyStore(kv, { head: 0, found: (finding) => findings.push(finding) });
  expect(findings).toHaveLength(2);
});
