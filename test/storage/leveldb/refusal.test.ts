// Start-up serves what is proven or refuses with a precise report and changes nothing; what was
// lost can be accepted once, by a word that stands for just this loss.
import { mkdtemp, readdir, readFile, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { chunkKey } from "../../../src/storage/leveldb/format/keys.ts";
import { openLevelKv } from "../../../src/storage/leveldb/kv/level-kv.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { commitEvents, newEvents, recordsOf } from "../../support/events.ts";
import { saveSnapshot } from "../../support/snapshots.ts";
import { contentsOf, copyStore } from "../../support/store-folder.ts";

let scratch: string;
/** Closed in good order after positions 1 to 40, then killed after position 100. */
let killed: string;
/** The same, and closed in good order. */
let closed: string;
let folder: string;
let made = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-refusal-"));
  const working = join(scratch, "working");
  let storage = await openLevelStorage({ folder: working });
  await fill(storage, 4);
  await storage.close();
  storage = await openLevelStorage({ folder: working });
  await fill(storage, 6);
  killed = join(scratch, "killed");
  await copyStore(working, killed);
  await storage.close();
  closed = working;
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, String(made++));
});

/**
 * Commits of ten events of about 100 bytes. Each writes 16 entries: a chunk, ten ids, and postings
 * of three streams, their category and the type; the first one also writes these five terms.
 */
async function fill(storage: Storage, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    const data = Buffer.alloc(60, i);
    await commitEvents(
      storage,
      newEvents(10, (n) => ({ stream: `s-${n % 3}`, data })),
    );
  }
}

async function refusalOf(acceptLoss?: string): Promise<StoreRefused> {
  try {
    const storage = await openLevelStorage({ folder, acceptLoss });
    await storage.close();
  } catch (error) {
    if (error instanceof StoreRefused) return error;
    throw error;
  }
  return expect.unreachable("the store was served");
}

async function nameOf(pattern: RegExp): Promise<string> {
  const name = (await readdir(join(folder, "log"))).find((each) => pattern.test(each));
  return join(folder, "log", name ?? "missing");
}

async function bendLog(at: (bytes: number) => number): Promise<void> {
  const path = await nameOf(/\.log$/);
  const bytes = await readFile(path);
  const offset = at(bytes.length);
  bytes[offset] = (bytes[offset] as number) ^ 4;
  await writeFile(path, bytes);
}

describe("a write-ahead log that is corrupted in the middle", () => {
  beforeEach(async () => {
    await copyStore(killed, folder);
    await bendLog((bytes) => Math.floor(bytes * 0.4));
  });

  test("is refused with the positions that are lost, and nothing is changed", async () => {
    const before = await contentsOf(folder);
    const { findings, token } = await refusalOf();
    expect(findings).toEqual([
      expect.stringMatching(
        /^write-ahead log \d+\.log is corrupted at byte \d+: durable records follow$/,
      ),
      "its last write is number 102; 64 more were acknowledged",
      "positions 61 to 100 are lost",
    ]);
    expect(token).toMatch(/^loss-[0-9a-f]{16}$/);
    expect(await contentsOf(folder)).toEqual(before);
  });

  test("says the same each time, and the word for another loss does not help", async () => {
    const { message } = await refusalOf();
    expect((await refusalOf("loss-0000000000000000")).message).toBe(message);
  });

  test("is served up to there once the loss is accepted, loudly and on record", async () => {
    const { findings, token } = await refusalOf();
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    const storage = await openLevelStorage({ folder, acceptLoss: token, warn });
    expect(storage.head().position).toBe(60);
    expect(await recordsOf(storage)).toHaveLength(60);
    for (const finding of findings)
      expect(warnings).toContain(`accepted by the operator: ${finding}`);
    await fill(storage, 1);
    await storage.close();
    const [line = ""] = (await readFile(join(folder, "ACCEPTED-LOSSES"), "utf8")).split("\n");
    expect(JSON.parse(line)).toMatchObject({ storeId: storage.identity.storeId, findings });
    const again = await openLevelStorage({ folder });
    expect(again.head().position).toBe(70);
    await again.close();
  });

  test("the word was for this loss: the next one needs another", async () => {
    const { token } = await refusalOf();
    const storage = await openLevelStorage({ folder, acceptLoss: token });
    await fill(storage, 5);
    const next = join(scratch, String(made++));
    await copyStore(folder, next);
    await storage.close();
    folder = next;
    await bendLog((bytes) => Math.floor(bytes * 0.4));
    expect((await refusalOf(token)).token).not.toBe(token);
  });
});

describe("a write-ahead log that lost its end", () => {
  test.each([
    ["cut between two records", 1],
    ["cut inside a record", 0.9],
  ])("%s is told by the mark", async (_, share) => {
    await copyStore(killed, folder);
    const path = await nameOf(/\.log$/);
    const { length } = await readFile(path);
    await truncate(path, Math.floor(length * share) - (share === 1 ? length : 0));
    const { findings } = await refusalOf();
    expect(findings.join("\n")).toMatch(/its last write is number \d+; \d+ more were acknowledged/);
  });

  test("with a corrupted last record is told by the mark", async () => {
    await copyStore(killed, folder);
    await bendLog((bytes) => bytes - 3);
    const { findings } = await refusalOf();
    expect(findings).toEqual([
      "its last write is number 150; 16 more were acknowledged",
      "positions 91 to 100 are lost",
    ]);
  });

  test("or is gone altogether is told by the MANIFEST", async () => {
    await copyStore(killed, folder);
    await rm(await nameOf(/\.log$/));
    const { findings } = await refusalOf();
    expect(findings[0]).toMatch(/^write-ahead log \d+ is missing$/);
  });

  test("in the middle of a write that nobody was promised is served", async () => {
    await copyStore(killed, folder);
    const path = await nameOf(/\.log$/);
    await writeFile(
      path,
      Buffer.concat([await readFile(path), Buffer.from([1, 2, 3, 4, 90, 0, 1])]),
    );
    const storage = await openLevelStorage({ folder });
    expect(storage.head().position).toBe(100);
    await storage.close();
  });
});

describe("a snapshot that was acknowledged and is gone", () => {
  test("is told although no event is lost", async () => {
    const working = join(scratch, String(made++));
    const storage = await openLevelStorage({ folder: working });
    await fill(storage, 1);
    const payload = Buffer.from("state");
    await saveSnapshot(storage, { stream: "s-1", kind: "", version: 3, payload });
    await copyStore(working, folder);
    await storage.close();
    await bendLog((bytes) => bytes - 2);
    const { findings } = await refusalOf();
    expect(findings).toEqual(["its last write is number 22; 1 more were acknowledged"]);
  });
});

describe("a file that is missing or not what it was", () => {
  const cases: readonly (readonly [string, RegExp | string, string | RegExp, boolean])[] = [
    ["CURRENT", /^CURRENT$/, "CURRENT is missing", true],
    ["the MANIFEST", /^MANIFEST/, /^CURRENT names "MANIFEST-\d+": no such file$/, true],
    ["a table", /\.ldb$/, /^table \d+ is missing$/, true],
  ];
  test.each(cases)("%s is missed by name", async (_, pattern, finding) => {
    await copyStore(closed, folder);
    await rm(await nameOf(new RegExp(pattern)));
    const before = await contentsOf(folder);
    const { findings, token, message } = await refusalOf();
    expect(findings[0]).toMatch(finding);
    expect(token).toBeUndefined();
    expect(message).toContain(`annals salvage ${folder} NEW-FOLDER`);
    // Nor does any word: LevelDB would refuse it, or serve an empty store.
    expect((await refusalOf("loss-0000000000000000")).message).toBe(message);
    expect(await contentsOf(folder)).toEqual(before);
  });

  test("the database's folder", async () => {
    await copyStore(closed, folder);
    await rm(join(folder, "log"), { recursive: true });
    const { findings, token } = await refusalOf();
    expect(findings[0]).toContain("its files cannot be read: ENOENT");
    expect(token).toBeUndefined();
  });

  test("the mark; accepted, it is made anew", async () => {
    await copyStore(closed, folder);
    await rm(join(folder, "MARK"));
    const { findings, token } = await refusalOf();
    expect(findings).toEqual([
      "MARK is missing or corrupted: it is not known what was acknowledged",
    ]);
    expect(await readdir(folder)).not.toContain("MARK");
    await (await openLevelStorage({ folder, acceptLoss: token })).close();
    await (await openLevelStorage({ folder })).close();
  });

  test("a table with a corrupted block is named with the place, and leads to salvage", async () => {
    await copyStore(closed, folder);
    const path = await nameOf(/\.ldb$/);
    const bytes = await readFile(path);
    bytes[700] = (bytes[700] as number) ^ 1;
    await writeFile(path, bytes);
    const { findings, token, message } = await refusalOf();
    expect(findings).toEqual([
      expect.stringMatching(/^table \d+\.ldb: the block at byte 0 fails its CRC$/),
    ]);
    expect(token).toBeUndefined();
    expect(message).toContain(`annals salvage ${folder} NEW-FOLDER`);
  });

  test("a corrupted block that an earlier version was told to serve is served", async () => {
    await copyStore(closed, folder);
    const path = await nameOf(/\.ldb$/);
    const bytes = await readFile(path);
    bytes[700] = (bytes[700] as number) ^ 1;
    await writeFile(path, bytes);
    const { findings: lasting } = await refusalOf();
    const { storeId } = JSON.parse(await readFile(join(folder, "IDENTITY"), "utf8"));
    const line = JSON.stringify({ storeId, findings: lasting, lasting });
    await writeFile(join(folder, "ACCEPTED-LOSSES"), `${line}\n`);
    // What LevelDB reads there is judged by our own checksums.
    const { findings, token } = await refusalOf();
    expect(findings[0]).toMatch(/^positions 21 to 30 cannot be read/);
    await (await openLevelStorage({ folder, acceptLoss: token })).close();
    const warnings: string[] = [];
    const warn = (message: string) => void warnings.push(message);
    await (await openLevelStorage({ folder, warn })).close();
    expect(warnings).toEqual(
      [...lasting, ...findings].map((each) => `accepted earlier by the operator: ${each}`),
    );
  });

  test("CURRENT that does not end in a newline is refused as LevelDB would", async () => {
    await copyStore(closed, folder);
    const path = join(folder, "log", "CURRENT");
    await writeFile(path, (await readFile(path, "utf8")).trimEnd());
    expect((await refusalOf()).findings[0]).toContain("(cut off)");
  });
});

describe("a database that is older or other than what was acknowledged", () => {
  test("an older copy of the log is told by what it lacks", async () => {
    const working = join(scratch, String(made++));
    let storage = await openLevelStorage({ folder: working });
    await fill(storage, 3);
    await storage.close();
    await copyStore(working, folder);
    storage = await openLevelStorage({ folder: working });
    await fill(storage, 2);
    await storage.close();
    await rm(join(folder, "MARK"));
    await writeFile(join(folder, "MARK"), await readFile(join(working, "MARK")));
    const { findings } = await refusalOf();
    expect(findings[0]).toMatch(/^its last write is number \d+; \d+ more were acknowledged$/);
  });

  test("a log of the same length with another history is told by its hash", async () => {
    const other = join(scratch, String(made++));
    for (const each of [other, folder]) {
      const storage = await openLevelStorage({ folder: each });
      await fill(storage, 3);
      await storage.close();
    }
    await writeFile(join(folder, "MARK"), await readFile(join(other, "MARK")));
    const before = await contentsOf(folder);
    expect((await refusalOf()).findings).toEqual([
      "the log up to position 30 is not the one that was acknowledged",
    ]);
    expect(await contentsOf(folder)).toEqual(before);
  });

  test("chunks that vanished from the end of the log are named", async () => {
    await copyStore(closed, folder);
    const kv = await openLevelKv(join(folder, "log"), false);
    await kv.write([
      [chunkKey(60), undefined],
      [chunkKey(100), undefined],
    ]);
    await kv.close();
    const { findings } = await refusalOf();
    expect(findings).toEqual([
      "positions 91 to 100 are lost: they were acknowledged",
      "positions 51 to 60 are missing",
    ]);
  });
});
