// `annals verify`, `backup` and `restore` as an operator runs them, beside a server that serves.
import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonLines, run } from "../../../cli/captured-terminal.ts";
import { startServer, temporaryFolder, type RunningServer } from "../../../cli/running-server.ts";
import { copyStore } from "../../../support/store-folder.ts";

const folder = temporaryFolder();
const store = join(folder, "data");
const backup = join(folder, "backup");
let server: RunningServer;

beforeAll(async () => {
  server = await startServer(store);
  for (let i = 0; i < 12; i++) await append(`s-${i % 3}`, `{"number":${i}}`);
});
afterAll(() => server.stop());

async function append(stream: string, json: string): Promise<void> {
  const environment = { ANNALS_ADDRESS: server.address };
  const { code, errors } = await run(["append", stream, "Counted", json], { environment });
  expect([code, errors]).toEqual([0, ""]);
}

describe("annals verify", () => {
  test("of a server compares what it answers with what it lists", async () => {
    const { code, output } = await run(["verify", "--address", server.address]);
    expect(code).toBe(0);
    expect(output).toMatch(/verdict\s+sound/);
    expect(output).toMatch(/compared\s+3 streams, 1 event type$/m);
    const json = await run(["verify", "--address", server.address, "--json"]);
    const [report] = jsonLines(json.output);
    expect(report).toMatchObject({ sound: true, head: 12, events: 12, streams: 3, findings: [] });
  });

  test("of a folder that is being served reads it without a word to the server", async () => {
    const { code, output } = await run(["verify", store]);
    expect(code).toBe(0);
    expect(output).toMatch(/verdict\s+sound/);
    expect(output).toMatch(/log\s+12 events in 12 chunks/);
  });

  test("of a corrupted store says what is wrong, with exit code 1", async () => {
    const corrupted = join(folder, "corrupted");
    await copyStore(store, corrupted);
    const log = (await readdir(join(corrupted, "log"))).find((name) => name.endsWith(".log")) ?? "";
    const path = join(corrupted, "log", log);
    const bytes = await readFile(path);
    bytes[Math.floor(bytes.length / 2)] = (bytes[Math.floor(bytes.length / 2)] as number) ^ 1;
    await writeFile(path, bytes);
    const { code, output } = await run(["verify", corrupted]);
    expect(code).toBe(1);
    expect(output).toMatch(/found: write-ahead log \d+\.log is corrupted at byte \d+/);
    expect(output).toMatch(/found: positions \d+ to 12 are lost/);
    expect(output).toMatch(/verdict\s+NOT SOUND/);
  });

  test("of a folder that is no store says so, without a stack", async () => {
    const { code, errors } = await run(["verify", join(folder, "nowhere")]);
    expect(code).toBe(1);
    expect(errors).toContain("there is no such folder");
    expect(errors).not.toContain("at ");
  });
});

describe("annals backup and restore", () => {
  test("back up what is being served, again what has come since, and give it all back", async () => {
    const first = await run(["backup", store, backup]);
    expect([first.code, first.errors]).toEqual([0, ""]);
    expect(first.output).toMatch(/^12 events added, .* ends at position 12, chain [0-9a-f]{64}\n$/);
    await append("s-1", '{"number":99}');
    const second = await run(["backup", store, backup, "--json"]);
    expect(jsonLines(second.output)[0]).toMatchObject({ first: 13, last: 13 });
    const checked = await run(["verify", backup]);
    expect(checked.output).toMatch(/verdict\s+sound/);
    const target = join(folder, "restored");
    const restored = await run(["restore", backup, target]);
    expect([restored.code, restored.errors]).toEqual([0, ""]);
    expect(restored.output).toMatch(/^13 events restored as of .* and verified; head 13, chain/);
    const other = await startServer(target);
    const events = async (address: string) =>
      (await run(["read", "--json", "--address", address])).output;
    expect(await events(other.address)).toBe(await events(server.address));
    await other.stop();
  });

  test("restore up to a position or a time, of one backup or of several", async () => {
    const several = join(folder, "several");
    expect((await run(["backup", store, several, "--keep", "3"])).code).toBe(0);
    await append("s-1", '{"number":100}');
    const environment = { ANNALS_ADDRESS: server.address };
    const last = await run(["read", "--json", "--from-position", "14"], { environment });
    const { recordedAt } = jsonLines(last.output)[0] as { recordedAt: string };
    await append("s-1", '{"number":101}');
    expect((await run(["backup", store, backup])).code).toBe(0);
    const to = (target: string, ...more: string[]) =>
      run(["restore", backup, join(folder, target), ...more]);
    const byTime = await to("by-time", "--to-time", recordedAt);
    expect([byTime.code, byTime.errors]).toEqual([0, ""]);
    expect(byTime.output).toContain(`restored  up to position 14, recorded at ${recordedAt}\n`);
    expect(byTime.output).toMatch(/left out\s+positions 15 to 15, recorded from .* to .*\n/);
    const json = await to("by-position", "--to-position", "3", "--json");
    expect(jsonLines(json.output)[0]).toMatchObject({ head: 3, cut: { leftOut: { first: 4 } } });
    const one = await run(["restore", several, join(folder, "of-several"), "--to-position", "12"]);
    expect([one.code, one.errors]).toEqual([0, ""]);
    expect(one.output).toMatch(/left out\s+positions 13 to 13/);
    for (const wrong of [
      ["--to-position", "3", "--to-time", recordedAt],
      ["--to-position", "0"],
      ["--without-progress"],
      ["--to-position", "3", "--without-progress", "--progress-from", backup],
    ]) {
      expect((await to("wrong", ...wrong)).code).toBe(2);
    }
    const beyond = await to("wrong", "--to-position", "99");
    expect([beyond.code, beyond.errors]).toEqual([
      1,
      expect.stringContaining("the backup ends at position 15, before position 99"),
    ]);
  });

  test("refuse what they cannot do well, with exit code 1", async () => {
    const again = await run(["restore", backup, store]);
    expect([again.code, again.errors]).toEqual([1, expect.stringContaining("is not empty")]);
    const nothing = await run(["backup", join(folder, "nowhere"), join(folder, "b")]);
    expect([nothing.code, nothing.errors]).toEqual([1, expect.stringContaining("no such folder")]);
    expect((await run(["backup", store])).code).toBe(2);
  });
});
