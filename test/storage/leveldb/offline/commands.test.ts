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

  test("refuse what they cannot do well, with exit code 1", async () => {
    const again = await run(["restore", backup, store]);
    expect([again.code, again.errors]).toEqual([1, expect.stringContaining("is not empty")]);
    const nothing = await run(["backup", join(folder, "nowhere"), join(folder, "b")]);
    expect([nothing.code, nothing.errors]).toEqual([1, expect.stringContaining("no such folder")]);
    expect((await run(["backup", store])).code).toBe(2);
  });
});
