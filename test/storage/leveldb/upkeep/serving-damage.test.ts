// A sector of a table turns to zeros while the store is open. LevelDB would end the process by an
// assertion. A scrub finds it first: appends end, and reads go on without LevelDB. Where it was met
// before, the next start says which table it is. More of this is in the campaign
// serving-corruption.
import { execFile } from "node:child_process";
import { access, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, test } from "vitest";
import { verifyFolder } from "../../../../src/storage/leveldb/offline/verify-folder.ts";
import { openLevelStorage } from "../../../../src/storage/leveldb/open.ts";

let scratch: string;
let made = 0;

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), "annals-serving-"));
});
afterAll(() => rm(scratch, { recursive: true }));

const program = new URL("serving-damage.ts", import.meta.url).pathname;

async function serve(folder: string, ...args: readonly string[]): Promise<unknown> {
  const { stdout } = await promisify(execFile)(process.execPath, [program, folder, ...args]);
  return JSON.parse(stdout);
}

test.each([
  [10_240, 512],
  [16_384, 8_192],
])(
  "scrubbed, zeros from byte %d cost the reads that need them, and all appends",
  async (from, bytes) => {
    const folder = join(scratch, String(made++));
    const answers = await serve(folder, "scrubbed", String(from), String(bytes));
    expect(answers).toMatchObject({
      finding: expect.stringMatching(/^table \d+\.ldb: the block at byte \d+ fails its CRC$/),
    });
    const { read, refused } = answers as Record<string, number>;
    expect([read, refused].reduce((a = 0, b = 0) => a + b)).toBe(400);
    expect(refused).toBeLessThan(400);
    expect((answers as { append: string }).append).toBe("STORE_FAILED");
    // LevelDB might end this process, too.
    const { findings } = await verifyFolder(folder);
    expect(findings[0]).toMatch(/^table \d+\.ldb: the block at byte \d+ fails its CRC$/);
    // However little the start has time for.
    const options = { folder, reserveBytes: 0, checkBytesAtOpen: 0 };
    await expect(openLevelStorage(options)).rejects.toThrow(
      /table \d+\.ldb: the block at byte \d+ fails its CRC\nRestore a backup, or annals salvage/,
    );
  },
);

test("met before a scrub, they may end the process, and the next start names the table", async () => {
  const folder = join(scratch, String(made++));
  await serve(folder, "not scrubbed", "16384", "8192").catch((error: Error) => {
    expect((error as { signal?: string }).signal).toBe("SIGABRT");
  });
  await expect(openLevelStorage({ folder, reserveBytes: 0 })).rejects.toThrow(
    /table \d+\.ldb: the block at byte \d+ fails its CRC\nRestore a backup, or annals salvage/,
  );
});

test("a table that was suspected and is sound is served, and is no suspect any more", async () => {
  const folder = join(scratch, String(made++));
  await (await openLevelStorage({ folder, reserveBytes: 0 })).close();
  const suspects = join(folder, "DAMAGED-TABLES");
  await writeFile(suspects, "000005.ldb\n000099.ldb\n");
  await (await openLevelStorage({ folder, reserveBytes: 0 })).close();
  await expect(access(suspects)).rejects.toThrow("ENOENT");
});
