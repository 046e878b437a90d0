// The restore drill: what is backed up while the store serves comes back as the same store,
// entry by entry; a backup grows with its store; and a backup that was corrupted anywhere is never
// restored.
import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import type { BackupReport } from "../../../../src/storage/leveldb/offline/backup-receive.ts";
import { BackupRefused } from "../../../../src/storage/leveldb/offline/backup-file.ts";
import { checkBackup } from "../../../../src/storage/leveldb/offline/backup-read.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { prefixPosting } from "../../../../src/storage/leveldb/format/keys.ts";
import { restore } from "../../../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { openView } from "../../../../src/storage/leveldb/offline/view.ts";
import type { Storage } from "../../../../src/storage/storage.ts";
import { commitEvents, composeCommit, newEvents } from "../../../support/events.ts";
import { askEverything, differences, topicsOf } from "../../../support/questions.ts";
import { deleteSnapshots, saveSnapshot } from "../../../support/snapshots.ts";
import { contentsOf, copyStore } from "../../../support/store-folder.ts";

let scratch: string;
let store: string;
let backup: string;
let target: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-backup-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  const number = made++;
  [store, backup, target] = ["store", "backup", "target"].map((name) =>
    join(scratch, `${name}-${number}`),
  ) as [string, string, string];
});

/** Commits of very different sizes, ids of clients and of the server, side values. */
async function fill(storage: Storage, commits: number): Promise<void> {
  for (let i = 0; i < commits; i++) {
    const events = newEvents(1 + ((i * 7) % 40), (n) => ({
      stream: n % 5 === 4 ? "" : `s-${(i + n) % 6}`,
      type: n % 11 === 10 ? "$system" : `Type${n % 3}`,
      tags: n % 2 ? [`k:${n}`, "all"] : [],
      idFromClient: (i + n) % 3 !== 0,
      data: Buffer.alloc((n * 97) % 700, i),
    }));
    const commit = await composeCommit(storage, events);
    const value = Buffer.from(`seen ${i}`);
    const sideValues = [{ space: "checkpoint" as const, name: `reader ${i % 2}`, value }];
    await storage.commit({ ...commit, sideValues });
  }
  const facts = await storage.stream("s-1");
  if (!facts) return;
  const payload = Buffer.from(`state at ${facts.version}`);
  const { version } = facts;
  await saveSnapshot(storage, { stream: "s-1", kind: "", version, payload });
}

/** Every key and value of a store, as text. */
async function dump(folder: string, without?: number): Promise<string[]> {
  const view = await openView(folder);
  try {
    expect(view.findings).toEqual([]);
    const range = { first: Buffer.from([0]), last: Buffer.from([0xff]) };
    const entries = await view.content?.kv.page({ ...range, limit: 100_000, bytesMax: 1 << 30 });
    const kept = (entries ?? []).filter(([[prefix]]) => prefix !== without);
    return kept.map(([key, value]) =>
      [key, value].map((each) => Buffer.from(each).toString("base64")).join(" "),
    );
  } finally {
    await view.close();
  }
}

describe("the restore drill", () => {
  test("a restored store is the same, entry by entry, and goes on", async () => {
    const storage = await openLevelStorage({ folder: store });
    await fill(storage, 30);
    const topics = await topicsOf(storage);
    const answers = await askEverything(storage, topics);
    const report = await backUp({ store, target: backup });
    await storage.close();
    const restored = await restore({ backup, target });
    expect(restored).toMatchObject({ head: report.last, chain: report.chain });
    expect(restored.totals.sideValues).toBe(2);
    expect(await dump(target)).toEqual(await dump(store));
    const again = await openLevelStorage({ folder: target });
    // A new epoch begins with the restore.
    expect(again.identity.history).toHaveLength(2);
    const { identity } = storage;
    const after = await askEverything({ ...again, identity }, topics);
    expect(differences(answers, after)).toEqual([]);
    const sideValues = { space: "checkpoint", prefix: "", after: "", limit: 9 } as const;
    expect((await again.sideValues.list(sideValues)).map(({ name }) => name)).toEqual([
      "reader 0",
      "reader 1",
    ]);
    await fill(again, 3);
    await again.close();
    expect((await verifyFolder(target)).findings).toEqual([]);
  });

  test("of a store that is being appended to: a prefix, whole and sound", async () => {
    const storage = await openLevelStorage({ folder: store });
    await fill(storage, 20);
    const before = storage.head().position;
    const done = new AbortController();
    const appended = (async () => {
      while (!done.signal.aborted) {
        await commitEvents(
          storage,
          newEvents(5, (n) => ({ stream: `w-${n}` })),
        );
      }
    })();
    const report = await backUp({ store, target: backup });
    done.abort();
    await appended;
    expect(report.last).toBeGreaterThanOrEqual(before);
    expect(report.last).toBeLessThanOrEqual(storage.head().position);
    const restored = await restore({ backup, target });
    expect(restored.head).toBe(report.last);
    await storage.close();
  });

  test("of an empty store is an empty store of the same identity", async () => {
    const storage = await openLevelStorage({ folder: store });
    expect(await backUp({ store, target: backup })).toMatchObject({ first: 1, last: 0 });
    await storage.close();
    await restore({ backup, target });
    const again = await openLevelStorage({ folder: target });
    const history = [...storage.identity.history, expect.objectContaining({ after: 0 })];
    expect(again.identity).toEqual({ ...storage.identity, history });
    expect(again.head().position).toBe(0);
    await again.close();
  });

  test("of the fixture of format version 1", async () => {
    store = new URL("../../../fixtures/store-v1", import.meta.url).pathname;
    await backUp({ store, target: backup });
    await restore({ backup, target });
    const upgraded = join(scratch, "fixture-upgraded");
    await copyStore(store, upgraded);
    for (const folder of [upgraded, target]) await (await openLevelStorage({ folder })).close();
    // The index entries of what is restored are those of version 2.
    expect(await dump(target, prefixPosting)).toEqual(await dump(upgraded, prefixPosting));
    for (const folder of [upgraded, target]) {
      expect((await verifyFolder(folder)).findings).toEqual([]);
    }
  });
});

describe("a backup grows with its store", () => {
  test("by what has come since, in further files; the older ones stay as they are", async () => {
    const storage = await openLevelStorage({ folder: store });
    const reports: BackupReport[] = [];
    let contents = new Map<string, string>();
    for (let run = 0; run < 3; run++) {
      await fill(storage, 10);
      reports.push(await backUp({ store, target: backup, partBytes: 20_000 }));
      const now = await contentsOf(backup);
      for (const [name, bytes] of contents) {
        if (name.startsWith("log-")) expect(now.get(name), name).toBe(bytes);
      }
      contents = now;
    }
    await storage.close();
    expect(reports[1]?.first).toBe((reports[0]?.last ?? 0) + 1);
    expect(reports[2]?.first).toBe((reports[1]?.last ?? 0) + 1);
    expect([...contents.keys()].filter((name) => name.startsWith("side-"))).toHaveLength(1);
    expect([...contents.keys()].filter((name) => name.startsWith("log-")).length).toBeGreaterThan(
      5,
    );
    await restore({ backup, target });
    expect(await dump(target)).toEqual(await dump(store));
    expect(await checkBackup(backup)).toMatchObject({ head: storage.head().position });
  });

  test("by nothing but side values, if no event has come", async () => {
    const storage = await openLevelStorage({ folder: store });
    await fill(storage, 5);
    const { last } = await backUp({ store, target: backup });
    await deleteSnapshots(storage, "s-1");
    await storage.close();
    expect(await backUp({ store, target: backup })).toMatchObject({
      first: last + 1,
      last,
      files: 1,
    });
    expect((await restore({ backup, target })).totals.snapshots).toBe(0);
  });

  test("what a run that was cut off left behind is cleared away", async () => {
    const storage = await openLevelStorage({ folder: store });
    await fill(storage, 5);
    await backUp({ store, target: backup });
    await fill(storage, 5);
    const before = await contentsOf(backup);
    const signal = AbortSignal.abort(new Error("stopped"));
    await expect(backUp({ store, target: backup, signal })).rejects.toThrow("stopped");
    expect((await contentsOf(backup)).get("BACKUP")).toBe(before.get("BACKUP"));
    await writeFile(join(backup, "log-0000000000009999.annals.new"), "half");
    await backUp({ store, target: backup });
    await storage.close();
    expect(await readdir(backup)).not.toContain("log-0000000000009999.annals.new");
    await restore({ backup, target });
    expect(await dump(target)).toEqual(await dump(store));
  });

  test("never with another store, nor with one that has another history", async () => {
    const storage = await openLevelStorage({ folder: store });
    await fill(storage, 4);
    await storage.close();
    const older = `${store}-older`;
    await copyStore(store, older);
    for (const folder of [store, older]) {
      const each = await openLevelStorage({ folder });
      await fill(each, 4);
      await each.close();
    }
    await backUp({ store, target: backup });
    const again = backUp({ store: older, target: backup });
    await expect(again).rejects.toThrow("has another history than the backup");
    const other = await openLevelStorage({ folder: `${store}-other` });
    await other.close();
    const foreign = backUp({ store: `${store}-other`, target: backup });
    await expect(foreign).rejects.toThrow(/it is the backup of store [0-9a-f-]+, not of/);
  });

  test("never into a folder that holds something else", async () => {
    await (await openLevelStorage({ folder: store })).close();
    await mkdir(backup);
    await writeFile(join(backup, "letters.txt"), "dear");
    await expect(backUp({ store, target: backup })).rejects.toThrow("holds letters.txt");
  });
});

describe("a backup that is not as it was written", () => {
  let sound: string;
  beforeAll(async () => {
    sound = join(scratch, "sound");
    const storage = await openLevelStorage({ folder: `${sound}-store` });
    await fill(storage, 6);
    await backUp({ store: `${sound}-store`, target: sound, partBytes: 8_000 });
    await storage.close();
  });

  test("is refused by the check and by the restore, whatever byte is corrupted", async () => {
    const files = await contentsOf(sound);
    let step = 1;
    for (const [name, text] of files) {
      const bytes = Buffer.from(text, "latin1");
      for (let byte = 0; byte < bytes.length; byte += 1 + ((step = (step * 31) % 997) % 301)) {
        const corrupted = Buffer.from(bytes);
        corrupted[byte] = (corrupted[byte] as number) ^ (1 << (byte % 8));
        await writeFile(join(sound, name), corrupted);
        const checked = checkBackup(sound);
        await expect(checked, `byte ${byte} of ${name}`).rejects.toBeInstanceOf(BackupRefused);
      }
      await writeFile(join(sound, name), bytes.subarray(0, bytes.length - 1));
      await expect(checkBackup(sound), `${name} cut`).rejects.toBeInstanceOf(BackupRefused);
      await writeFile(join(sound, name), Buffer.concat([bytes, Buffer.alloc(1)]));
      await expect(checkBackup(sound), `${name} longer`).rejects.toBeInstanceOf(BackupRefused);
      await rm(join(sound, name));
      await expect(checkBackup(sound), `${name} gone`).rejects.toBeInstanceOf(BackupRefused);
      await writeFile(join(sound, name), bytes);
    }
    expect((await checkBackup(sound)).sideEntries).toBe(3);
  });

  test("leaves no store behind when its restore is refused", async () => {
    await copyStore(sound, backup);
    const name = (await readdir(backup)).find((each) => each.startsWith("log-")) ?? "";
    const bytes = await readFile(join(backup, name));
    bytes[bytes.length - 40] = (bytes[bytes.length - 40] as number) ^ 1;
    await writeFile(join(backup, name), bytes);
    await expect(restore({ backup, target })).rejects.toBeInstanceOf(BackupRefused);
    await expect(openLevelStorage({ folder: target })).rejects.toThrow(
      "a restore into it has not finished",
    );
  });

  test("is refused where its list names a file that lies elsewhere", async () => {
    await copyStore(sound, backup);
    const [text = ""] = (await readFile(join(backup, "BACKUP"), "utf8")).split("\n");
    const list = JSON.parse(text) as { log: { name: string }[]; side: { name: string } };
    for (const name of ["../elsewhere.annals", "/etc/hostname", "log-1.annals", ""]) {
      const other = JSON.stringify({ ...list, side: { ...list.side, name } });
      const seal = createHash("sha256").update(other).digest("hex");
      await writeFile(join(backup, "BACKUP"), `${other}\n${seal}\n`);
      await expect(checkBackup(backup)).rejects.toThrow("which no backup holds");
      await expect(restore({ backup, target })).rejects.toBeInstanceOf(BackupRefused);
    }
  });

  test("is refused, not waited for, where a file of it is a FIFO", async () => {
    await copyStore(sound, backup);
    const names = await readdir(backup);
    for (const name of ["BACKUP", names.find((each) => each.startsWith("side-")) ?? ""]) {
      const bytes = await readFile(join(backup, name));
      await rm(join(backup, name));
      execFileSync("mkfifo", [join(backup, name)]);
      await expect(checkBackup(backup)).rejects.toBeInstanceOf(BackupRefused);
      await rm(join(backup, name));
      await writeFile(join(backup, name), bytes);
    }
    expect((await checkBackup(backup)).sideEntries).toBe(3);
  });

  test("is never restored over something", async () => {
    await mkdir(target);
    await writeFile(join(target, "x"), "");
    await expect(restore({ backup: sound, target })).rejects.toThrow("is not empty: it holds x");
  });
});
