// The lock on a store's folder: one process holds it, a dead one does not, and of many that come at
// once over what a killed one left, never two get it.
import { fork, type ChildProcess } from "node:child_process";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { isLockName, lockFolder } from "../../../../src/storage/leveldb/folder/folder-lock.ts";
import { StoreRefused } from "../../../../src/storage/leveldb/folder/store-refused.ts";

let scratch: string;
let folder: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-lock-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(async () => {
  folder = join(scratch, String(made++));
  await mkdir(folder);
});

function holder(times = 1): ChildProcess {
  return fork(new URL("lock-holder.ts", import.meta.url), [folder, String(times)]);
}

function nextMessage(child: ChildProcess): Promise<unknown> {
  return new Promise((resolve) => child.once("message", resolve));
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => child.once("exit", () => resolve()));
}

async function kill(child: ChildProcess): Promise<void> {
  child.kill("SIGKILL");
  await ended(child);
}

test("a second process is refused, until the first one lets go", async () => {
  const child = holder();
  expect(await nextMessage(child)).toBe("locked");
  await expect(lockFolder(folder)).rejects.toThrow("another process has the store open");
  child.send("go");
  await ended(child);
  const lock = await lockFolder(folder);
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
});

test("the same process is refused too", async () => {
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toBeInstanceOf(StoreRefused);
  await lock.release();
  await (await lockFolder(folder)).release();
});

test("what a killed process left is taken over and cleared away", async () => {
  const child = holder();
  await nextMessage(child);
  await kill(child);
  expect((await readdir(folder)).filter(isLockName)).toHaveLength(1);
  const lock = await lockFolder(folder);
  expect((await readdir(folder)).filter(isLockName)).toHaveLength(1);
  await lock.release();
  expect(await readdir(folder)).toEqual([]);
});

test("a process that is stopped still holds its lock", async () => {
  const child = holder();
  await nextMessage(child);
  child.kill("SIGSTOP");
  await expect(lockFolder(folder)).rejects.toBeInstanceOf(StoreRefused);
  await kill(child);
  await (await lockFolder(folder)).release();
});

test("a file that is no socket holds nothing", async () => {
  await writeFile(join(folder, "guard-0123456789abcdef.sock"), "");
  await (await lockFolder(folder)).release();
  expect(await readdir(folder)).toEqual([]);
});

test("a folder's path may be longer than a socket's", async () => {
  folder = join(folder, "long".repeat(50), "longer".repeat(20));
  await mkdir(folder, { recursive: true });
  const lock = await lockFolder(folder);
  await expect(lockFolder(folder)).rejects.toBeInstanceOf(StoreRefused);
  await lock.release();
});

test("of many that come at once, over and over, never two hold it", async () => {
  const children = Array.from({ length: 4 }, () => holder(25));
  const said: unknown[] = [];
  for (const child of children) child.on("message", (message) => said.push(message));
  await Promise.all(children.map(ended));
  expect(new Set(said)).toEqual(new Set(["locked"]));
});
