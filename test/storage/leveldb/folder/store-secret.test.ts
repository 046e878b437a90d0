// The store's secret: kept over a restart, made again where it is missing or damaged.
import { mkdir, mkdtemp, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { expect, onTestFinished, test } from "vitest";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";
import { storeSecret } from "../../../../src/storage/leveldb/folder/store-secret.ts";

async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "annals-secret-"));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test("a store has the same secret when it is opened again", async () => {
  const folder = await temporaryFolder();
  const first = await openLevelStorage({ folder });
  await first.close();
  const again = await openLevelStorage({ folder });
  await again.close();
  expect(again.secret).toEqual(first.secret);
});

test("the same secret is there after a restart, and only its owner may read it", async () => {
  const folder = await temporaryFolder();
  const secret = await storeSecret(folder, () => {});
  expect(secret).toHaveLength(32);
  expect(await storeSecret(folder, () => {})).toEqual(secret);
  expect((await stat(join(folder, "SECRET"))).mode & 0o077).toBe(0);
  const other = await storeSecret(await temporaryFolder(), () => {});
  expect(Buffer.from(other).equals(secret)).toBe(false);
});

test.each(["", "abc", "zz".repeat(32), "00".repeat(31), "00".repeat(40)])(
  "a damaged secret (%j) is replaced, and the new one stays",
  async (damaged) => {
    const folder = await temporaryFolder();
    const path = join(folder, "SECRET");
    await writeFile(path, damaged);
    const secret = await storeSecret(folder, () => {});
    expect(await readFile(path, "latin1")).toBe(`${Buffer.from(secret).toString("hex")}\n`);
    expect(await storeSecret(folder, () => {})).toEqual(secret);
  },
);

test("where it cannot be written there is one until the process ends, and a warning", async () => {
  const folder = await temporaryFolder();
  await mkdir(join(folder, "SECRET.new"));
  const warnings: string[] = [];
  expect(await storeSecret(folder, (message) => warnings.push(message))).toHaveLength(32);
  expect(warnings).toEqual(["SECRET cannot be written: page tokens will end with this process"]);
});
