// Making a store, interrupted: whatever a crash left of it, the folder can be opened or made anew,
// and a folder that is something else is never touched.
import {
  cp,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rm,
  symlink,
  truncate,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { readIdentity } from "../../../src/storage/leveldb/folder/identity.ts";
import { openLevelStorage } from "../../../src/storage/leveldb/open.ts";
import { StoreRefused } from "../../../src/storage/leveldb/folder/store-refused.ts";
import { commitEvents, newEvent } from "../../support/events.ts";
import { contentsOf, copyStore, filesOf } from "../../support/store-folder.ts";

let scratch: string;
let folder: string;
let made = 0;
beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-creation-"));
});
afterAll(() => rm(scratch, { recursive: true }));
beforeEach(() => {
  folder = join(scratch, String(made++));
});

/** Opens the store, appends, closes, and finds the event again. */
async function expectUsable(at = folder): Promise<string> {
  const storage = await openLevelStorage({ folder: at });
  const { position } = storage.head();
  await commitEvents(storage, [newEvent({ stream: "s-1" })]);
  await storage.close();
  const again = await openLevelStorage({ folder: at });
  expect(again.head().position).toBe(position + 1);
  await again.close();
  return again.identity.storeId;
}

describe("creation", () => {
  test("makes the folders above, and a store that stays itself", async () => {
    const deep = join(folder, "a", "b");
    const storeId = await expectUsable(deep);
    expect(await expectUsable(deep)).toBe(storeId);
    expect((await readIdentity(deep))?.created).toBe(true);
  });

  test("begins anew where its first file was not finished", async () => {
    await mkdir(folder);
    await writeFile(join(folder, "IDENTITY.new"), '{"magic":"annals st');
    await expectUsable();
  });

  test("ends where its high-water mark cannot be written, and then begins anew", async () => {
    await unfinishedStore(folder);
    await rm(join(folder, "MARK"));
    await symlink(join(folder, "none", "MARK"), join(folder, "MARK"));
    await expect(openLevelStorage({ folder })).rejects.toMatchObject({ code: "ENOENT" });
    expect((await readIdentity(folder))?.created).toBe(false);
    await rm(join(folder, "MARK"));
    await expectUsable();
  });

  test("begins anew wherever it was cut off, whatever is left of the empty database", async () => {
    const whole = join(scratch, "whole");
    const { createdAt, storeId } = await unfinishedStore(whole);
    const names = (await filesOf(whole)).filter(({ path }) => path !== "IDENTITY");
    await fc.assert(
      fc.asyncProperty(
        fc.array(
          fc.record({ gone: fc.boolean(), cut: fc.double({ min: 0, max: 1, noNaN: true }) }),
          {
            minLength: names.length,
            maxLength: names.length,
          },
        ),
        async (faults) => {
          folder = join(scratch, String(made++));
          await copyStore(whole, folder);
          for (const [i, { path, bytes }] of names.entries()) {
            const fault = faults[i];
            if (fault?.gone) await rm(join(folder, path));
            else if (fault) await truncate(join(folder, path), Math.floor(bytes * fault.cut * 1.5));
          }
          const storage = await openLevelStorage({ folder });
          expect(storage.identity).toMatchObject({ storeId, createdAt });
          expect(storage.head().position).toBe(0);
          await storage.close();
        },
      ),
      { numRuns: 40 },
    );
  });

  /** A store all of whose files are there, but for the word that it was created. */
  async function unfinishedStore(at: string): Promise<{ storeId: string; createdAt: number }> {
    const made1 = join(scratch, "made");
    const storage = await openLevelStorage({ folder: made1 });
    await cp(join(made1, "log"), join(at, "log"), { recursive: true });
    await cp(join(made1, "MARK"), join(at, "MARK"));
    await storage.close();
    const { storeId, createdAt } = storage.identity;
    await writeFile(join(at, "IDENTITY"), identityText(storeId, createdAt, false));
    return { storeId, createdAt };
  }

  test("is refused where the database holds events although it was never created", async () => {
    await expectUsable();
    const identity = await readIdentity(folder);
    if (!identity) return expect.unreachable();
    const { storeId, createdAt } = identity;
    await writeFile(join(folder, "IDENTITY"), identityText(storeId, createdAt, false));
    await expect(openLevelStorage({ folder })).rejects.toThrow("was never created, but it holds");
  });

  test("is refused in a folder that holds something else, which stays as it is", async () => {
    await mkdir(folder);
    await writeFile(join(folder, "thesis.txt"), "years of work");
    const before = await contentsOf(folder);
    await expect(openLevelStorage({ folder })).rejects.toThrow("thesis.txt but no IDENTITY");
    expect(await contentsOf(folder)).toEqual(before);
    expect(await readdir(folder)).toEqual(["thesis.txt"]);
  });

  test("a folder with a lost+found of its own is empty enough", async () => {
    await mkdir(join(folder, "lost+found"), { recursive: true });
    await expectUsable();
  });
});

describe("the identity", () => {
  test("is the line it is drawn to be", async () => {
    await openAndClose();
    const identity = await readIdentity(folder);
    if (!identity) return expect.unreachable();
    const text = await readFile(join(folder, "IDENTITY"), "utf8");
    expect(text).toBe(identityText(identity.storeId, identity.createdAt, true));
  });

  test("of a later format version is refused by that version", async () => {
    await openAndClose();
    const path = join(folder, "IDENTITY");
    const text = await readFile(path, "utf8");
    await writeFile(path, text.replace('"formatVersion":2', '"formatVersion":7,"more":true'));
    await expect(openLevelStorage({ folder })).rejects.toThrow("format version 7");
  });

  test("is refused with any of its bits flipped, or cut", async () => {
    await openAndClose();
    const path = join(folder, "IDENTITY");
    const sound = await readFile(path);
    for (let byte = 0; byte < sound.length; byte++) {
      for (let bit = 0; bit < 8; bit++) {
        const corrupted = Buffer.from(sound);
        corrupted[byte] = (corrupted[byte] as number) ^ (1 << bit);
        await writeFile(path, corrupted);
        await expect(readIdentity(folder), `${byte}.${bit}`).rejects.toBeInstanceOf(StoreRefused);
      }
      await writeFile(path, sound.subarray(0, byte));
      await expect(readIdentity(folder), `${byte} bytes`).rejects.toThrow("IDENTITY is corrupted");
    }
    await rm(path);
    await expect(openLevelStorage({ folder })).rejects.toThrow("no IDENTITY");
  });

  async function openAndClose(): Promise<void> {
    await (await openLevelStorage({ folder })).close();
  }
});

/** As it stands in the file, written here once more by hand. */
function identityText(storeId: string, createdAt: number, created: boolean): string {
  const fields =
    `"magic":"annals store","formatVersion":2,"storeId":"${storeId}",` +
    `"createdAt":${createdAt},"created":${created}`;
  const crc = crcOf(`{${fields}}`).toString(16).padStart(8, "0");
  return `{${fields},"crc32":"${crc}"}\n`;
}

/** CRC-32 bit by bit. */
function crcOf(text: string): number {
  let crc = 0xffff_ffff;
  for (const byte of Buffer.from(text)) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0xedb8_8320 : crc >>> 1;
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}
