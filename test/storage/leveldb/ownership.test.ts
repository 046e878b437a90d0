// A database belongs to one store: an IDENTITY of another one over it is refused before anything is
// changed, and `verify` finds it, in stores of the first builds too once they were opened.
import { copyFile, cp, mkdtemp, readFile, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, test } from "vitest";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import { backUp } from "../../../src/storage/leveldb/offline/backup.ts";
import { restore } from "../../../src/storage/leveldb/offline/restore.ts";
import { verifyFolder } from "../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import { commitEvents, newEvents } from "../../support/events.ts";
import { contentsOf, copyStore } from "../../support/store-folder.ts";

const fixture = new URL("../../fixtures/store-v1", import.meta.url).pathname;
let scratch: string;
/** Two stores, each with some events, closed in good order. */
let [own, other]: [string, string] = ["", ""];
let folder: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-ownership-"));
  [own, other] = [join(scratch, "own"), join(scratch, "other")];
  for (const path of [own, other]) await opened(path, 3);
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, String(made++));
});

/** Opens the store, appends, and closes it; its id. */
async function opened(path: string, count = 1): Promise<string> {
  const storage = await openLevelStorage({ folder: path });
  await commitEvents(
    storage,
    newEvents(count, () => ({ stream: "a" })),
  );
  await storage.close();
  return storage.identity.storeId;
}

/** What refuses the store; it is left as it was, whatever was tried. */
async function findingsOf(path: string): Promise<readonly string[]> {
  const before = await contentsOf(path);
  try {
    await opened(path);
  } catch (error) {
    if (!(error instanceof StoreRefused)) throw error;
    expect(error.token).toBeUndefined();
    expect(await contentsOf(path)).toEqual(before);
    return error.findings;
  }
  return expect.unreachable("the store was served");
}

async function idOf(path: string): Promise<string> {
  const { storeId } = JSON.parse(await readFile(join(path, "IDENTITY"), "utf8")) as {
    storeId: string;
  };
  return storeId;
}

test("the IDENTITY of another store is refused, with what to do, and nothing is changed", async () => {
  await copyStore(own, folder);
  await copyFile(join(other, "IDENTITY"), join(folder, "IDENTITY"));
  const [mine, theirs] = [await idOf(own), await idOf(other)];
  const finding =
    `IDENTITY says that it is store ${theirs}, but its database belongs to store ${mine}: ` +
    "put back the IDENTITY of that store";
  expect(await findingsOf(folder)).toEqual([finding]);
  const report = await verifyFolder(folder);
  expect(report.findings).toEqual([finding]);
  await expect(backUp({ store: folder, target: `${folder}-backup` })).rejects.toThrow(finding);
  await copyFile(join(own, "IDENTITY"), join(folder, "IDENTITY"));
  expect(await opened(folder)).toBe(mine);
});

test("and so are the IDENTITY and the high-water mark of another store together", async () => {
  await copyStore(own, folder);
  for (const name of ["IDENTITY", "MARK"]) await copyFile(join(other, name), join(folder, name));
  expect((await findingsOf(folder)).join()).toContain("its database belongs to store");
});

test("and the database of another store", async () => {
  await copyStore(own, folder);
  await rm(join(folder, "log"), { recursive: true });
  await cp(join(other, "log"), join(folder, "log"), { recursive: true });
  expect((await findingsOf(folder)).join()).toContain("its database belongs to store");
});

test("a store of the first builds is served, and belongs to itself from then on", async () => {
  await copyStore(fixture, folder);
  expect((await verifyFolder(folder)).findings).toEqual([]);
  const mine = await opened(folder);
  expect(await opened(folder)).toBe(mine);
  expect((await verifyFolder(folder)).findings).toEqual([]);
  await copyFile(join(other, "IDENTITY"), join(folder, "IDENTITY"));
  expect((await findingsOf(folder)).join()).toContain(`belongs to store ${mine}`);
});

test("a restored backup and a copied folder are the same store", async () => {
  await backUp({ store: own, target: `${folder}-backup` });
  await restore({ backup: `${folder}-backup`, target: folder });
  expect(await opened(folder)).toBe(await idOf(own));
  expect((await verifyFolder(folder)).findings).toEqual([]);
  await cp(folder, `${folder}-copy`, { recursive: true });
  expect(await opened(`${folder}-copy`)).toBe(await idOf(own));
  await copyFile(join(other, "IDENTITY"), join(folder, "IDENTITY"));
  expect((await findingsOf(folder)).join()).toContain("its database belongs to store");
});

test("a record of the owner that is damaged is refused by name", async () => {
  await copyStore(own, folder);
  await writeFile(join(folder, "log", "STORE"), "018f0000-0000-7000-8");
  const finding =
    "log/STORE is corrupted: if IDENTITY is that of this store, delete log/STORE, and the next " +
    "start writes it again";
  expect(await findingsOf(folder)).toEqual([finding]);
  await rm(join(folder, "log", "STORE"));
  expect(await opened(folder)).toBe(await idOf(own));
});

test("losses that were accepted of another store accept nothing here", async () => {
  await copyStore(own, folder);
  const [table = ""] = (await readdir(join(folder, "log"))).filter((name) => name.endsWith(".ldb"));
  const bytes = await readFile(join(folder, "log", table));
  bytes[20] = (bytes[20] as number) ^ 1;
  await writeFile(join(folder, "log", table), bytes);
  const { findings } = await refusalOf(folder);
  const refusedOnce = async (path: string): Promise<readonly string[]> => {
    const line = { acceptedAt: "", storeId: await idOf(path), findings, lasting: findings };
    await writeFile(join(folder, "ACCEPTED-LOSSES"), `${JSON.stringify(line)}\n`);
    return (await refusalOf(folder)).findings;
  };
  expect(await refusedOnce(other)).toEqual(findings);
  // Its own are: what is found behind the table is refused now.
  expect(await refusedOnce(own)).not.toContain(findings[0]);
});

async function refusalOf(path: string): Promise<StoreRefused> {
  try {
    await opened(path);
  } catch (error) {
    if (error instanceof StoreRefused) return error;
    throw error;
  }
  return expect.unreachable("the store was served");
}
