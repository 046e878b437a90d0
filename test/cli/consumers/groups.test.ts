// Consumer groups and checkpoints at a terminal: tables for people, JSON lines for programs, and a
// member that prints what it is handed.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";
import { startServer, temporaryFolder, type RunningServer } from "../running-server.ts";

const folder = temporaryFolder();
let server: RunningServer;
beforeAll(async () => {
  server = await startServer(join(folder, "data"));
});
afterAll(() => server.stop());

function annals(argv: readonly string[], situation: Situation = {}) {
  return run(argv, { ...situation, environment: { ANNALS_ADDRESS: server.address } });
}

let names = 0;
/** A group over events of its own type: `aab` is two of a stream a and one of b. */
async function groupOver(streams: string, ...options: string[]): Promise<string> {
  const name = `cli-${names++}`;
  for (const stream of streams) await annals(["append", `${name}-${stream}`, name, '{"n":1}']);
  const created = await annals(["groups", "create", name, "--type", name, ...options]);
  expect(created).toMatchObject({ code: 0, errors: "" });
  return name;
}

describe("groups", () => {
  test("are created, shown, listed, updated, reset and deleted, for people", async () => {
    const name = await groupOver("ab", "--lease", "5s", "--ordering", "tag:customer:");
    const shown = await annals(["groups", "get", name]);
    expect(shown).toMatchObject({ code: 0, errors: "" });
    expect(shown.output).toContain(`group        ${name}\n`);
    expect(shown.output).toMatch(/lag {10}2 events, /);
    expect(shown.output).toContain(`events       type ${name}\n`);
    expect(shown.output).toContain("in order by  tag:customer:\n");
    expect(shown.output).toContain("lease        5s\n");
    expect(shown.output).toContain("tried again  1s, at most 1m\n");
    const listed = await annals(["groups", "list", name], { columns: 100 });
    const [title = "", row = ""] = listed.output.split("\n");
    expect(title).toMatch(/^GROUP +POSITION +LAG +BEHIND +IN FLIGHT +MEMBERS +PARKED$/);
    expect(row).toMatch(new RegExp(`^${name} +\\d+ +2 +\\S+ +0 +0 +0$`));
    expect((await annals(["groups"])).output).toContain(name);

    const updated = await annals(["groups", "update", name, "--attempts", "3"]);
    expect(updated.output).toMatch(new RegExp(`^updated: ${name} at position \\d+, \\d+ events`));
    const settings = {
      attemptsMax: 3,
      ordering: "tag:customer:",
      lease: "5s",
      query: { items: [{ types: [name] }] },
    };
    const [json] = jsonLines((await annals(["groups", "get", name, "--json"])).output);
    expect(json).toMatchObject({ name, settings, members: [], parkedCount: 0 });

    const reset = await annals(["groups", "reset", name, "--from-end"]);
    expect(reset.output).toContain("0 events to do");
    expect((await annals(["groups", "get", name])).output).toContain("lag          none");
    expect((await annals(["groups", "delete", name])).output).toBe(`deleted: ${name}\n`);
    const again = await annals(["groups", "delete", name, "--json"]);
    expect(jsonLines(again.output)).toEqual([{ name, deleted: false }]);
    const missing = await annals(["groups", "get", name]);
    expect(missing).toMatchObject({ code: 1, output: "" });
    expect(missing.errors).toContain(`there is no group "${name}"`);
  });

  test("keep what an update does not speak of", async () => {
    const name = await groupOver("", "--retry-delay", "0s", "--retry-delay-max", "1h");
    await annals(["groups", "update", name, "--in-flight", "7"]);
    const [json] = jsonLines((await annals(["groups", "list", name, "--json"])).output);
    expect(json).toMatchObject({
      settings: {
        retryDelay: "0s",
        retryDelayMax: "1h",
        inFlightMax: 7,
        attemptsMax: 10,
        query: { items: [{ types: [name] }] },
      },
    });
  });

  test("with other events begin where a group is, beside it or in its place", async () => {
    const name = await groupOver("ab");
    const create = ["groups", "create", `${name}-all`, "--after-group", name, "--prefix", name];
    const beside = await annals(create);
    expect(beside).toMatchObject({ code: 0, errors: "" });
    expect(beside.output).toContain("2 events to do");
    const own = ["groups", "create", name, "--after-group", name, "--stream", `${name}-a`];
    expect((await annals(own)).errors).toContain(`there is a group "${name}" with other settings`);
    const instead = await annals([...own, "--replace"]);
    expect(instead.output).toContain("1 event to do");
    expect((await annals(["groups", "get", name])).output).toContain(`stream ${name}-a\n`);
    const reset = await annals(["groups", "reset", `${name}-all`, "--after-group", name]);
    expect(reset).toMatchObject({ code: 0, errors: "" });
  });

  test.each([
    [["groups", "make", "x"], '"make" is not one of'],
    [["groups", "create"], "too few arguments"],
    [["groups", "create", "g", "--ordering", "key"], "not one of stream, category"],
    [["groups", "create", "g", "--lease", "5"], "is not a duration"],
    [["groups", "create", "g", "--attempts", "0"], "not a whole number from 1"],
    [["groups", "create", "g", "--every-event", "--type", "T"], "exclude each other"],
    [["groups", "create", "g", "--query-json", "{", "--type", "T"], "exclude each other"],
    [["groups", "create", "g", "--after", "1", "--from-end"], "exclude each other"],
    [["groups", "create", "g", "--after", "1", "--after-group", "h"], "exclude each other"],
    [["groups", "create", "g", "--after", "1", "--replace"], "--replace goes with --after-group"],
    [["groups", "update", "g", "--type", "T"], "--type"],
    [["groups", "update", "g", "--ordering", "none"], "--ordering"],
    [["groups", "reset", "g"], "missing option"],
    [["parked", "g"], '"g" is not one of'],
    [["parked", "replay", "g"], "missing argument"],
    [["parked", "discard", "g", "1", "--all"], "missing argument"],
    [["parked", "replay", "g", "x"], "not a whole number"],
    [["consume"], "too few arguments"],
    [["consume", "g", "--permits", "0"], "--permits"],
    [["checkpoints", "take"], '"take" is not one of'],
    [["checkpoints", "save", "c"], "too few arguments"],
  ])("%j is refused before anything is sent", async (argv, message) => {
    const { code, output, errors } = await annals(argv);
    expect({ code, output }).toEqual({ code: 2, output: "" });
    expect(errors).toContain(message);
  });

  test("of what the server refuses names the field", async () => {
    const { code, errors } = await annals(["groups", "create", "g", "--lease", "13h"]);
    expect(code).toBe(1);
    expect(errors).toContain("settings.lease: is 46800000 ms, not in 100 to 43200000 ms");
  });
});

describe("consume", () => {
  test("prints deliveries and acknowledges each, as lines and as a table", async () => {
    const name = await groupOver("aab");
    const two = await annals(["consume", name, "--json", "-n", "2"]);
    expect(two).toMatchObject({ code: 0, errors: "" });
    expect(jsonLines(two.output)).toMatchObject([
      { attempt: 1, stream: `${name}-a`, version: 1, json: { n: 1 } },
      { attempt: 1, stream: `${name}-b`, version: 1 },
    ]);
    const rest = await annals(["consume", name, "--limit", "1"], { columns: 150 });
    const [title = "", row = ""] = rest.output.split("\n");
    expect(title).toMatch(/^ATTEMPT +POSITION +RECORDED AT/);
    expect(row).toContain(`${name}-a@2`);
    const [group] = jsonLines((await annals(["groups", "get", name, "--json"])).output);
    expect(group).toMatchObject({ lagEvents: 0, memberCount: 0 });
  });

  test("goes on through a restart of the server, until Ctrl-C", async () => {
    const name = await groupOver("a");
    const stop = new AbortController();
    let printed = (_: number): void => {};
    const reached = (count: number) =>
      new Promise<void>((resolve) => {
        printed = (events) => (events >= count ? resolve() : undefined);
      });
    const first = reached(1);
    const placesIn = (text: string) => {
      const whole = text.slice(0, text.lastIndexOf("\n") + 1);
      const places = jsonLines(whole).map(
        ({ stream, version }) => `${String(stream)}@${String(version)}`,
      );
      return new Set(places);
    };
    // What was printed right before the kill may come again: events are counted once.
    const onOutput = (text: string) => printed(placesIn(text).size);
    const situation = { signal: stop.signal, onOutput };
    const consuming = annals(["consume", name, "--json", "--member", "me"], situation);
    await first;
    await annals(["append", name, name]);
    const [group] = jsonLines((await annals(["groups", "get", name, "--json"])).output);
    expect(group).toMatchObject({ members: [{ name: "me", permits: 16 }] });
    const third = reached(3);
    await server.kill();
    await server.start();
    await annals(["append", name, name]);
    await third;
    stop.abort();
    const { code, output, errors } = await consuming;
    expect(code).toBe(130);
    expect(errors).toContain("joining again");
    expect(placesIn(output)).toEqual(new Set([`${name}-a@1`, `${name}@1`, `${name}@2`]));
  });

  test("hands deliveries to a command, whose exit code says what becomes of them", async () => {
    const name = await groupOver("ab", "--attempts", "1");
    const script = `read -r line; case "$line" in *-a\\"*) echo "cannot" >&2; exit 3;; esac; echo "$line"`;
    const { code, output, errors } = await annals(["consume", name, "-n", "2", "--exec", script]);
    expect(code).toBe(0);
    expect(jsonLines(output)).toMatchObject([{ attempt: 1, stream: `${name}-b` }]);
    expect(errors).toMatch(
      /^cannot\nposition \d+: cannot; it will be delivered again or parked\n$/,
    );
    const listed = await annals(["parked", "list", name, "--json"]);
    expect(jsonLines(listed.output)).toMatchObject([
      { attempts: 1, reason: "cannot", event: { stream: `${name}-a`, json: { n: 1 } } },
    ]);
  });

  test("of a group that is not there says so at once", async () => {
    const missing = await annals(["consume", "nobody"]);
    expect(missing).toMatchObject({ code: 1, output: "" });
    expect(missing.errors).toContain('there is no group "nobody"');
  });

  test("waits for a server that is not up yet, and says so", async () => {
    const stop = new AbortController();
    const onErrors = (text: string) => text.includes("no server at ") && stop.abort();
    const situation = { signal: stop.signal, onErrors };
    const { code, errors } = await annals(["consume", "g", "--address", "127.0.0.1:1"], situation);
    expect(code).toBe(130);
    expect(errors).toMatch(/^no server at .*; joining again\n$/);
  });
});

describe("parked", () => {
  test("events are listed, replayed and discarded", async () => {
    const name = await groupOver("abc", "--attempts", "1");
    await annals(["consume", name, "-n", "3", "--exec", "echo no >&2; false"]);
    const listed = await annals(["parked", "list", name], { columns: 160 });
    const [title = "", ...rows] = listed.output.trimEnd().split("\n");
    expect(title).toMatch(/^POSITION +PARKED AT +ATTEMPTS +STREAM@VERSION +TYPE +REASON$/);
    expect(rows.map((row) => / (\S+)@1 .* (\S+)$/.exec(row)?.slice(1))).toEqual(
      ["a", "b", "c"].map((stream) => [`${name}-${stream}`, "no"]),
    );
    const [first = "", second = ""] = rows.map((row) => row.trim().split(" ")[0]);
    const replayed = await annals(["parked", "replay", name, first]);
    expect(replayed.output).toBe(`replayed: 1 event of ${name}\n`);
    const again = await annals(["consume", name, "-n", "1", "--json"]);
    expect(jsonLines(again.output)).toMatchObject([{ attempt: 1, position: Number(first) }]);
    const discarded = await annals(["parked", "discard", name, second, "--json"]);
    expect(jsonLines(discarded.output)).toEqual([{ group: name, discarded: 1 }]);
    expect((await annals(["parked", "discard", name, "--all"])).output).toContain("1 event");
    expect(jsonLines((await annals(["parked", "list", name, "--json"])).output)).toEqual([]);
  });
});

describe("checkpoints", () => {
  test("are saved, read, listed and deleted", async () => {
    await groupOver("ab");
    const saved = await annals(["checkpoints", "save", "mailer", "2", "--meta", "run=7"]);
    expect(saved.output).toMatch(/^mailer is at position 2, saved \S+Z, run=7\n$/);
    const backwards = await annals(["checkpoints", "save", "mailer", "1"]);
    expect(backwards).toMatchObject({ code: 1 });
    expect(backwards.errors).toContain("CHECKPOINT_BACKWARDS");
    await annals(["checkpoints", "save", "mailer", "1", "--reset"]);
    const [one] = jsonLines((await annals(["checkpoints", "get", "mailer", "--json"])).output);
    expect(one).toMatchObject({ consumer: "mailer", position: 1, metadata: {} });
    const listed = await annals(["checkpoints", "list", "mail"], { columns: 100 });
    expect(listed.output).toMatch(/^CONSUMER +POSITION +SAVED AT +KEY=VALUE\nmailer +1 /);
    expect((await annals(["checkpoints", "--json"])).output).toContain('"mailer"');
    expect((await annals(["checkpoints", "delete", "mailer"])).output).toBe("deleted: mailer\n");
    const gone = await annals(["checkpoints", "delete", "mailer", "--json"]);
    expect(jsonLines(gone.output)).toEqual([{ consumer: "mailer", deleted: false }]);
    expect((await annals(["checkpoints", "get", "mailer"])).code).toBe(1);
  });
});
