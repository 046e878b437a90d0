// Backups and restores that were cut off: the folder says so, and the same command goes on with the
// backup, and begins the restore anew.
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { backUp } from "../../../../src/storage/leveldb/offline/backup.ts";
import type { BackupReport } from "../../../../src/storage/leveldb/offline/backup-receive.ts";
import { writeUnfinished } from "../../../../src/storage/leveldb/offline/backup-list.ts";
import { checkBackup } from "../../../../src/storage/leveldb/offline/backup-read.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { restore } from "../../../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { commitEvents, newEvents } from "../../../support/events.ts";

let scratch: string;
let store: string;
let backup: string;
let target: string;
beforeEach(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-unfinished-"));
  [store, backup, target] = ["store", "backup", "target"].map((name) => join(scratch, name)) as [
    string,
    string,
    string,
  ];
  await fill();
});
afterEach(() => rm(scratch, { recursive: true }));

/** Thirty commits of some kilobytes each. */
async function fill(): Promise<void> {
  const storage = await openLevelStorage({ folder: store });
  for (let i = 0; i < 30; i++) {
    const events = newEvents(10, (n) => ({ stream: `s-${n}`, data: Buffer.alloc(900, i) }));
    await commitEvents(storage, events);
  }
  await storage.close();
}

const cutOff = new Error("the disk is full");

/** A run that fails once it has come this far; the positions it wrote. */
async function backedUp(failAt = Infinity): Promise<{ wrote: number[]; report?: BackupReport }> {
  const wrote: number[] = [];
  const progress = (position: number) => {
    wrote.push(position);
    if (position >= failAt) throw cutOff;
  };
  const running = backUp({ store, target: backup, partBytes: 30_000, progress });
  if (failAt < Infinity) {
    await expect(running).rejects.toBe(cutOff);
    return { wrote };
  }
  return { wrote, report: await running };
}

const parts = async () => (await readdir(backup)).filter((name) => name.startsWith("log-"));

async function expectWhole(): Promise<void> {
  expect(await readdir(backup)).not.toContain("UNFINISHED");
  const restored = await restore({ backup, target });
  const storage = await openLevelStorage({ folder: store });
  expect(restored.head).toBe(storage.head().position);
  await storage.close();
  expect((await verifyFolder(target)).findings).toEqual([]);
}

describe("a backup that was not finished", () => {
  test("says so, and the next run goes on behind the parts that are complete", async () => {
    await backedUp(200);
    const complete = await parts();
    expect(complete.length).toBeGreaterThan(2);
    const writtenAt = new Map<string, number>();
    for (const name of complete) writtenAt.set(name, (await stat(join(backup, name))).mtimeMs);
    const told = `the backup in ${backup} was not finished: run annals backup STORE ${backup} again`;
    await expect(checkBackup(backup)).rejects.toThrow(told);
    await expect(restore({ backup, target })).rejects.toThrow(told);
    const { wrote, report } = await backedUp();
    expect(Math.min(...wrote)).toBeGreaterThan(100);
    expect(report).toMatchObject({ first: 1, last: 300 });
    for (const [name, at] of writtenAt) {
      expect((await stat(join(backup, name))).mtimeMs, name).toBe(at);
    }
    await expectWhole();
  });

  test("leaves the backup before it as it was, until it is finished", async () => {
    const { report } = await backedUp();
    await fill();
    await backedUp(500);
    expect(await checkBackup(backup)).toMatchObject({ head: report?.last });
    expect(await readdir(backup)).toContain("UNFINISHED");
    const { wrote, report: second } = await backedUp();
    expect(Math.min(...wrote)).toBeGreaterThan(400);
    expect(second).toMatchObject({ first: 301, last: 600 });
    await expectWhole();
  });

  test("is written again from the first part on that was damaged since", async () => {
    await backedUp(200);
    const [, second = ""] = await parts();
    const bytes = await readFile(join(backup, second));
    bytes[100] = (bytes[100] as number) ^ 1;
    await writeFile(join(backup, second), bytes);
    const { wrote } = await backedUp();
    expect(Math.min(...wrote)).toBeLessThan(100);
    await expectWhole();
  });

  test("is begun anew where its list cannot be read, or is of another store", async () => {
    for (const list of ["{", "of another store"]) {
      await backedUp(200);
      const storeId = "0190a000-0000-7000-8000-00000000beef";
      if (list === "{") await writeFile(join(backup, "UNFINISHED"), list);
      else await writeUnfinished(backup, { storeId, host: hostname(), pid: 1 << 22, log: [] });
      const { wrote } = await backedUp();
      expect(Math.min(...wrote)).toBeLessThan(20);
      await rm(join(backup, "BACKUP"));
    }
  });

  test("is left alone while another process makes it", async () => {
    await backedUp(200);
    const list = { storeId: "x", host: hostname(), pid: process.ppid, log: [] };
    await writeUnfinished(backup, list);
    const told = `process ${process.ppid} is making a backup in ${backup}`;
    await expect(backUp({ store, target: backup })).rejects.toThrow(told);
    await writeUnfinished(backup, { ...list, host: "another-machine" });
    await backedUp();
    await expectWhole();
  });
});

describe("a restore that was not finished", () => {
  async function cutOffRestore(): Promise<void> {
    await backedUp();
    const progress = () => {
      throw cutOff;
    };
    await expect(restore({ backup, target, progress })).rejects.toBe(cutOff);
  }

  test("leaves a folder that says so, which no server serves", async () => {
    await cutOffRestore();
    expect(await readFile(join(target, "UNFINISHED-RESTORE"), "utf8")).toContain(
      "has not finished",
    );
    const told = "a restore into it has not finished: run annals restore BACKUP STORE again";
    await expect(openLevelStorage({ folder: target })).rejects.toThrow(told);
    await expect(verifyFolder(target)).rejects.toThrow(told);
  });

  test("is begun anew by the next run", async () => {
    await cutOffRestore();
    await expectWhole();
    expect(await readdir(target)).not.toContain("UNFINISHED-RESTORE");
    await expect(restore({ backup, target })).rejects.toThrow("is not empty");
  });

  test("is not begun anew over what somebody else put there", async () => {
    await cutOffRestore();
    await writeFile(join(target, "letters.txt"), "dear");
    await expect(restore({ backup, target })).rejects.toThrow("is not empty: it holds letters.txt");
    expect(await readFile(join(target, "letters.txt"), "utf8")).toBe("dear");
  });

  test("is not disturbed by a second one", async () => {
    await backedUp();
    const both = [restore({ backup, target }), restore({ backup, target })];
    const outcomes = await Promise.allSettled(both);
    expect(outcomes.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    expect((await verifyFolder(target)).findings).toEqual([]);
  });
});
