// Import and export against real servers: everything arrives, once, in order, byte for byte,
// however often somebody pulls a plug.
import { createReadStream, writeFileSync } from "node:fs";
import { join } from "node:path";
import { PassThrough, Readable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";
import {
  spawnAnnals,
  startServer,
  temporaryFolder,
  type RunningServer,
} from "../running-server.ts";

const folder = temporaryFolder();
let server: RunningServer;
let other: RunningServer;
beforeAll(async () => {
  server = await startServer(join(folder, "data"));
  other = await startServer(join(folder, "other"));
});
afterAll(async () => {
  await server.stop();
  await other.stop();
});

function annals(at: RunningServer, argv: readonly string[], situation: Situation = {}) {
  return run(argv, { ...situation, environment: { ANNALS_ADDRESS: at.address } });
}

let fileCount = 0;
function fileOf(lines: readonly object[]): string {
  fileCount += 1;
  const path = join(folder, `events-${fileCount}.ndjson`);
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
}

function idOf(number: number): string {
  return `00000000-0000-4000-8000-${String(number).padStart(12, "0")}`;
}

/** Numbered events of a run: over some streams, in one order. */
function numbered(name: string, count: number, offset = 0) {
  return Array.from({ length: count }, (_, index) => ({
    id: idOf(offset + index),
    stream: `${name}-${index % 7}`,
    type: "Counted",
    tags: [name],
    json: { number: index },
  }));
}

async function numbersIn(at: RunningServer, name: string): Promise<unknown[]> {
  const { output } = await annals(at, ["export", "--tag", name]);
  return jsonLines(output).map(({ json }) => (json as { number: number }).number);
}

/** An exported line without what the store adds. */
function own(line: string): string {
  return line.replace(/^\{"position":\d+,"version":\d+,"recordedAt":"[^"]+",/, "{");
}

describe("export and import", () => {
  test("carry every event to another store, byte for byte", async () => {
    const odd = [
      { stream: "odd-1", type: "Plain", json: { a: 1, b: [true, null, "é日本"] } },
      { stream: "odd-1", type: "Bytes", contentType: "image/png", data: "AP8K" },
      { stream: "odd-2", type: "Nothing" },
      { stream: "odd-2", type: "Empty", data: "" },
      {
        stream: "odd 3",
        type: "Marked",
        tags: ["z", "a", "é"],
        metadata: { b: "2", a: "", 7: "x" },
      },
      { stream: "odd-4", type: "Broken", contentType: "application/json", data: "eyI=" },
      { stream: "odd-4", type: "Text", contentType: "text/plain;charset=utf-8", data: "aGk=" },
      { stream: "odd-5", type: "Proto", metadata: JSON.parse('{"__proto__":"kept"}') as object },
    ];
    const raw =
      '{"stream":"odd-6","type":"Exact","json":{"n": 12345678901234567890.00,"n":1e400}}\n';
    const input = odd.map((line) => `${JSON.stringify(line)}\n`).join("") + raw;
    const imported = await annals(server, ["import", "--namespace", "odd"], { input });
    expect(imported).toMatchObject({ code: 0, output: "" });
    expect(imported.errors).toContain("9 stored, 0 were already there");

    const exported = await annals(server, ["export", "--prefix", "odd"]);
    expect(exported.errors).toMatch(/^exported 9 events up to position \d+; continue later with/);
    expect(exported.output).toContain('"json":{"n": 12345678901234567890.00,"n":1e400}}');
    await annals(other, ["import", "-"], { input: exported.output });
    const back = await annals(other, ["export"]);
    expect(back.output.split("\n").map(own)).toEqual(exported.output.split("\n").map(own));
    const again = await annals(server, ["import"], { input: back.output });
    expect(again.errors).toContain("0 stored, 9 were already there");
  });

  test("export goes on after an earlier one, and nothing is in both", async () => {
    await annals(other, ["import", fileOf(numbered("first", 10))]);
    const first = await annals(other, ["export"]);
    await annals(other, ["import", fileOf(numbered("second", 5, 100))]);
    const after = Number(/--after (\d+)/.exec(first.errors)?.[1]);
    const second = await annals(other, ["export", "--after", String(after)]);
    const both = await annals(other, ["export"]);
    expect(jsonLines(second.output)).toHaveLength(5);
    expect(first.output + second.output).toBe(both.output);
    expect((await annals(other, ["export", "--after", String(after + 5)])).output).toBe("");
  });
});

test("an export without a server says that, and not where to go on", async () => {
  const { code, output, errors } = await run(["export", "--address", "127.0.0.1:1"]);
  expect({ code, output }).toEqual({ code: 1, output: "" });
  expect(errors).toMatch(/^error: no server at 127\.0\.0\.1:1/);
  expect(errors).not.toContain("--after");
});

describe("an import", () => {
  test("run twice stores nothing twice, with ids in the file or derived ones", async () => {
    const path = fileOf(numbered("twice", 2_500, 10_000));
    const first = await annals(server, ["import", path, "--json"]);
    expect(jsonLines(first.output)).toMatchObject([{ storedCount: 2_500, alreadyThereCount: 0 }]);
    const second = await annals(server, ["import", path, "--json"]);
    expect(jsonLines(second.output)).toMatchObject([{ storedCount: 0, alreadyThereCount: 2_500 }]);

    const input = '{"type":"Ticked"}\n'.repeat(3);
    const derived = ["import", "--namespace", "ticks", "--stream", "ticks-1"];
    expect((await annals(server, derived, { input })).errors).toContain("3 stored");
    expect((await annals(server, derived, { input })).errors).toContain(
      "0 stored, 3 were already there",
    );
    const longer = await annals(server, derived, { input: `${input}{"type":"Ticked"}\n` });
    expect(longer.errors).toContain("1 stored, 3 were already there");
  });

  test("fills the holes between what is there, whatever it was cut into before", async () => {
    const events = numbered("holes", 2_300, 100_000);
    const there = new Set<number>();
    for (const [start, end] of [
      [0, 3],
      [700, 1_234],
      [1_999, 2_001],
      [2_299, 2_300],
    ] as const) {
      await annals(server, ["import", fileOf(events.slice(start, end))]);
      for (let index = start; index < end; index += 1) there.add(index);
    }
    const { errors } = await annals(server, ["import", fileOf(events)]);
    expect(errors).toContain(`${(2_300 - there.size).toLocaleString("en-US")} stored`);
    const missing = events.map((_, index) => index).filter((index) => !there.has(index));
    expect(await numbersIn(server, "holes")).toEqual([...there, ...missing]);
  });

  test("killed in the middle is run again to the same end", async () => {
    const path = fileOf(numbered("killed", 12_000, 200_000));
    const enough = (await head()) + 2_500;
    const first = spawnAnnals(["import", path, "--address", server.address]);
    await headAt(enough);
    first.kill();
    expect(await first.ended).toBe(null);
    const before = (await numbersIn(server, "killed")).length;
    const second = await annals(server, ["import", path, "--json"]);
    expect(jsonLines(second.output)).toMatchObject([
      { eventCount: 12_000, storedCount: 12_000 - before, alreadyThereCount: before },
    ]);
    expect(await numbersIn(server, "killed")).toEqual(Array.from({ length: 12_000 }, (_, n) => n));
  });

  test("outlives a server that is killed and comes back", async () => {
    const events = numbered("survivor", 6_000, 300_000);
    const path = fileOf(events);
    const enough = (await head()) + 1;
    let killed: Promise<unknown> | undefined;
    // The second half of the file is given only after the server has died and is back.
    async function* halves() {
      let seen = 0;
      for await (const chunk of createReadStream(path, { highWaterMark: 64 * 1024 })) {
        yield chunk as Buffer;
        seen += 1;
        if (seen === 4) {
          await headAt(enough);
          killed = server.kill().then(() => server.start());
        }
      }
    }
    const { code, errors } = await annals(server, ["import"], { input: Readable.from(halves()) });
    await killed;
    expect({ code, errors }).toMatchObject({ code: 0 });
    expect(await numbersIn(server, "survivor")).toEqual(events.map((_, index) => index));
  });

  test("stops at a bad line, says which, and keeps what stands before it", async () => {
    const good = numbered("stopped", 1_500, 50_000).map((line) => JSON.stringify(line));
    const input = [...good.slice(0, 1_200), "{", ...good.slice(1_200)].join("\n");
    const { code, errors } = await annals(server, ["import"], { input });
    expect(code).toBe(1);
    expect(errors).toMatch(/^error: line 1201: not JSON/);
    const reached = "everything up to line 1000 is stored (1,000 events)";
    expect(errors).toContain(`${reached}; correct the line and run the same command again`);
    expect(await numbersIn(server, "stopped")).toHaveLength(1_000);
  });

  test("names the line that the server refuses", async () => {
    const lines = numbered("refused", 20, 60_000);
    const bad = fileOf(
      lines.map((line, index) => (index === 13 ? { ...line, type: "$No" } : line)),
    );
    const refused = await annals(server, ["import", bad]);
    expect(refused.code).toBe(1);
    expect(refused.errors).toContain("line 14: type: ");
    await annals(server, ["import", fileOf(lines)]);
    const edited = lines.map((line, index) => (index === 7 ? { ...line, json: 0 } : line));
    const changed = await annals(server, ["import", fileOf(edited)]);
    expect(changed.code).toBe(1);
    expect(changed.errors).toContain(`line 8: the id ${idOf(60_007)} is already used at position`);
    expect(changed.errors).toContain("with other content");
    expect(changed.errors).toMatch(/\nnothing was stored\n$/);
  });

  test("counts a line that repeats an earlier one as that", async () => {
    const lines = numbered("repeated", 1_200, 80_000);
    const repeating = fileOf([...lines, ...lines.slice(0, 3), ...lines.slice(1_100)]);
    const counts = { eventCount: 1_303, byteCount: expect.any(Number) as number, line: 1_303 };
    const first = await annals(server, ["import", repeating, "--json"]);
    expect(jsonLines(first.output)).toEqual([
      { ...counts, storedCount: 1_200, alreadyThereCount: 0, repeatedCount: 103 },
    ]);
    const second = await annals(server, ["import", repeating, "--json"]);
    expect(jsonLines(second.output)).toEqual([
      { ...counts, storedCount: 0, alreadyThereCount: 1_303, repeatedCount: 0 },
    ]);
    expect(await numbersIn(server, "repeated")).toHaveLength(1_200);
    const again = fileOf(numbered("again", 2, 90_000).flatMap((line) => [line, line]));
    const { errors } = await annals(server, ["import", again]);
    expect(errors).toMatch(
      /^4 events, \d+ B: 2 stored, 0 were already there, 2 repeat an earlier line/,
    );
  });

  test("shows how much of the file is done, where somebody watches", async () => {
    const path = fileOf(numbered("watched", 3_000, 400_000));
    const { errors } = await annals(server, ["import", path], { columns: 80 });
    const shown = errors.split("\r\u001B[K");
    expect(shown).toContainEqual(expect.stringMatching(/^[\d,]+ events?, \d+ %/));
    expect(errors).toContain("3,000 stored");
  });

  test("as a dry run counts and sends nothing", async () => {
    const path = fileOf(numbered("dry", 10, 70_000));
    const { code, errors } = await annals(server, ["import", path, "--dry-run"]);
    expect(code).toBe(0);
    expect(errors).toContain("10 events");
    expect(errors).toContain("nothing was sent");
    expect(await numbersIn(server, "dry")).toEqual([]);
    const bad = await annals(server, ["import", "--dry-run"], { input: '{"type":"T"}' });
    expect(bad).toMatchObject({ code: 1 });
    expect(bad.errors).toContain("line 1");
  });

  test("waiting for its input ends at Ctrl-C", async () => {
    const interrupt = new AbortController();
    const silent = new Readable({ read: () => setImmediate(() => interrupt.abort()) });
    const { code } = await annals(server, ["import"], { input: silent, signal: interrupt.signal });
    expect(code).toBe(130);
  });

  test("that is interrupted says how far it got, and that the same command continues", async () => {
    const interrupt = new AbortController();
    const lines = numbered("interrupted", 1_000, 500_000).map(
      (line) => `${JSON.stringify(line)}\n`,
    );
    const [more] = numbered("interrupted", 1, 501_000);
    const input = new PassThrough();
    input.write(`${lines.join("")}${JSON.stringify(more)}\n`);
    const done = annals(server, ["import"], { input, signal: interrupt.signal });
    await expect.poll(() => numbersIn(server, "interrupted")).toHaveLength(1_000);
    interrupt.abort();
    const { code, errors } = await done;
    expect(code).toBe(130);
    expect(errors).toBe(
      "everything up to line 1000 is stored (1,000 events); run the same command again to continue\n",
    );
  });

  test("without a server says that first, and that nothing was stored", async () => {
    const input = '{"type":"T"}';
    const args = ["import", "--namespace", "n", "--stream", "s", "--address", "127.0.0.1:1"];
    const { code, errors } = await annals(server, args, { input });
    expect(code).toBe(1);
    expect(errors).toMatch(/^error: no server at 127\.0\.0\.1:1/);
    expect(errors).toMatch(/\nnothing was stored\n$/);
  });

  test("of a file that is not there says so", async () => {
    const { code, errors } = await annals(server, ["import", join(folder, "none")]);
    expect(code).toBe(1);
    expect(errors).toContain("cannot read");
  });
});

async function head(): Promise<number> {
  const { output } = await annals(server, ["info", "--json"]);
  return Number((jsonLines(output)[0] as { head?: string }).head ?? 0);
}

/** Waits until the head is there: events are on disk while others are on their way. */
async function headAt(position: number): Promise<void> {
  if ((await head()) < position) await headAt(position);
}
