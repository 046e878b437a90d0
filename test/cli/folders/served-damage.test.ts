// The way of an operator whose store is damaged while it is served, by the documents alone: what the
// server says, what goes on, what the next start says, and how the store is served again.
import { once } from "node:events";
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { temporaryFolder, freePort, spawnAnnals, type Spawned } from "../running-server.ts";

const folder = temporaryFolder();
const store = join(folder, "store");
const events = 600;

async function serve(data: string, port: number): Promise<Spawned> {
  const scrub = ["--scrub-bytes-per-second", "100000000"];
  const server = spawnAnnals(["serve", "--data", data, "--port", `${port}`, ...scrub]);
  await printed(server, " serves on ");
  return server;
}

async function printed({ process, printed: text, ended }: Spawned, words: string): Promise<void> {
  const over = ended.then(() => {
    throw new Error(`the process ended: ${text()}`);
  });
  over.catch(() => {});
  while (!text().includes(words)) {
    const more = [process.stdout, process.stderr].flatMap((each) => each && once(each, "data"));
    await Promise.race([...more, over]);
  }
}

/** Its exit code, and all that it printed. */
async function annals(...argv: string[]): Promise<{ code: number | null; text: string }> {
  const command = spawnAnnals(argv);
  return { code: await command.ended, text: command.printed() };
}

async function fetched(port: number, path: string): Promise<[number, string]> {
  const answer = await fetch(`http://127.0.0.1:${port}${path}`);
  return [answer.status, await answer.text()];
}

function lines(): string {
  const line = (n: number) => ({ stream: `order-${n % 30}`, type: "Placed", json: { n } });
  const pad = "x".repeat(500);
  return Array.from({ length: events }, (_, n) =>
    JSON.stringify({ ...line(n), json: { n, pad } }),
  ).join("\n");
}

/** Flips bytes of the only table, near its beginning, where the log is. Answers its name. */
function damage(): string {
  const name = readdirSync(join(store, "log")).find((each) => each.endsWith(".ldb")) ?? "none";
  const path = join(store, "log", name);
  const bytes = readFileSync(path);
  const at = Math.floor(bytes.length / 10);
  for (let i = at; i < at + 8; i++) bytes[i] = (bytes[i] as number) ^ 0x55;
  // In place, as a disk does it.
  writeFileSync(path, bytes, { flag: "r+" });
  return name;
}

describe("a store whose table is damaged while it is served", () => {
  test("tells what happened, goes on with reads, and is served again after a salvage", async () => {
    const port = await freePort();
    const at = ["--address", `127.0.0.1:${port}`];
    const file = join(folder, "events.jsonl");
    writeFileSync(file, lines());
    const first = await serve(store, port);
    expect((await annals("import", file, "--namespace", "walk", ...at)).text).toContain(
      "600 stored",
    );
    first.kill("SIGTERM");
    expect(await first.ended).toBe(0);
    // This start turns the write-ahead log into a table.
    const server = await serve(store, port);
    const table = damage();

    await printed(server, "the store is read without LevelDB from now on");
    const told = server.printed();
    expect(told).toContain(`table ${table}: the block at byte`);
    expect(told).toContain("stop the server and run annals salvage, or restore a backup");
    // A supervisor must not start it anew: the next start would refuse the store.
    expect(await fetched(port, "/healthz")).toEqual([200, expect.stringContaining("reads go on")]);
    expect(await fetched(port, "/readyz")).toEqual([503, expect.stringContaining("is damaged")]);
    expect((await annals("health", ...at)).code).toBe(1);
    const append = await annals("append", "order-1", "Placed", "{}", ...at);
    expect(append).toEqual({ code: 1, text: expect.stringContaining("STORE_FAILED") });
    expect(append.text).toContain("run annals salvage, or restore a backup");
    const read = await annals("read", "order-29", ...at);
    expect(read).toEqual({ code: 0, text: expect.stringContaining('"n":599,') });
    const all = await annals("read", ...at);
    expect(all).toEqual({ code: 1, text: expect.stringContaining("DATA_LOSS") });
    for (const source of [at[1] as string, store]) {
      const backup = await annals("backup", source, join(folder, "backup"));
      expect(backup).toEqual({ code: 1, text: expect.stringContaining(`table ${table}`) });
      expect(backup.text).not.toContain("    at ");
    }
    server.kill("SIGTERM");
    expect(await server.ended).toBe(0);
    expect(existsSync(join(store, "DAMAGED-TABLES"))).toBe(true);

    const refused = await annals("serve", "--data", store, "--port", `${port}`);
    expect(refused.code).toBe(4);
    expect(refused.text).toContain(`table ${table}: the block at byte`);
    expect(refused.text).toContain(`annals salvage ${store} NEW-FOLDER`);
    const verified = await annals("verify", store);
    expect(verified).toEqual({ code: 1, text: expect.stringContaining("NOT SOUND") });
    expect(verified.text).toContain(`table ${table}`);

    const salvaged = join(folder, "salvaged");
    const made = await annals("salvage", store, salvaged);
    // The index has the events of the damaged block beside the log.
    expect(made).toEqual({ code: 0, text: expect.stringContaining("600 events, sound") });
    expect((await annals("verify", salvaged)).code).toBe(0);
    const again = await serve(salvaged, port);
    expect((await annals("append", "order-1", "Placed", "{}", ...at)).code).toBe(0);
    expect((await annals("read", ...at)).code).toBe(0);
    again.kill("SIGTERM");
    expect(await again.ended).toBe(0);
  }, 300_000);
});
