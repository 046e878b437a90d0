// Every client command against a real server in a process of its own.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Writable } from "node:stream";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { clientOf } from "../../src/client/rpc/service-client.ts";
import { Connection } from "../../src/client/rpc/connection.ts";
import { commandHelp } from "../../src/cli/help.ts";
import { runCommand } from "../../src/cli/run.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { jsonLines, run, type Situation } from "./captured-terminal.ts";
import { startServer, temporaryFolder, type RunningServer } from "./running-server.ts";

const folder = temporaryFolder();
let server: RunningServer;
beforeAll(async () => {
  server = await startServer(join(folder, "data"));
});
afterAll(() => server.stop());

function annals(argv: readonly string[], situation: Situation = {}) {
  return run(argv, { ...situation, environment: { ANNALS_ADDRESS: server.address } });
}

let streamCount = 0;
/** A stream of its own for each test. */
function freshStream(): string {
  streamCount += 1;
  return `stream${streamCount}-x`;
}

describe("append", () => {
  test("prints where the event is, for people and as JSON", async () => {
    const stream = freshStream();
    const first = await annals(["append", stream, "Opened", '{"by": "Ann"}']);
    expect(first).toMatchObject({ code: 0, errors: "" });
    expect(first.output).toMatch(
      new RegExp(`^appended: ${stream}@1 at position \\d+, id [0-9a-f-]{36}\n$`),
    );
    const second = await annals([
      "append",
      stream,
      "Closed",
      "--json",
      "--tag",
      "t",
      "--meta",
      "a=b",
    ]);
    expect(jsonLines(second.output)).toMatchObject([{ stream, version: 2, deduplicated: false }]);
    const events = jsonLines((await annals(["read", stream, "--json"])).output);
    expect(events).toMatchObject([
      { type: "Opened", contentType: "application/json", json: { by: "Ann" }, tags: [] },
      { type: "Closed", tags: ["t"], metadata: { a: "b" } },
    ]);
  });

  test("stores JSON as it was given, from standard input too, and files as they are", async () => {
    const stream = freshStream();
    await annals(["append", stream, "Paid", '{"cents":  12345678901234567890}']);
    await annals(["append", stream, "Paid", "-"], { input: "  [1.0]\n" });
    const file = join(folder, "payload.bin");
    writeFileSync(file, Buffer.from([0, 255, 10]));
    await annals(["append", stream, "Scanned", "--data-file", file, "--content-type", "image/png"]);
    const { output } = await annals(["read", stream, "--json"]);
    expect(output).toContain('"json":{"cents":  12345678901234567890}}');
    expect(output).toContain('"json":[1.0]}');
    expect(output).toContain('"contentType":"image/png","data":"AP8K"}');
  });

  test("ends with exit code 3 and both versions when an expectation does not hold", async () => {
    const stream = freshStream();
    await annals(["append", stream, "Opened", "--expected", "absent"]);
    const version = await annals(["append", stream, "Opened", "--expected-version", "7"]);
    expect(version).toMatchObject({ code: 3, output: "" });
    expect(version.errors).toContain("conflict: nothing was stored");
    expect(version.errors).toContain(
      `stream ${stream}: expected version 7, but it is at version 1`,
    );
    const absent = await annals(["append", stream, "Opened", "--expected", "absent"]);
    expect(absent.errors).toContain("expected no events, but it is at version 1");
    const exists = await annals(["append", freshStream(), "Opened", "--expected", "exists"]);
    expect(exists.errors).toContain("expected events, but it has no events");
  });

  test("with an id may be run again, but not with other content", async () => {
    const stream = freshStream();
    const id = "0190A1A2-0000-7000-8000-0000000000AA";
    const first = await annals(["append", stream, "Opened", "{}", "--id", id]);
    const again = await annals(["append", stream, "Opened", "{}", "--id", id]);
    expect(again.output).toBe(first.output.replace("appended", "already there"));
    const other = await annals(["append", stream, "Opened", "[]", "--id", id]);
    expect(other).toMatchObject({ code: 3 });
    expect(other.errors).toContain(`${id.toLowerCase()} at position`);
    expect(other.errors).toContain("other content");
  });

  test.each([
    [["append", "s"], "too few arguments"],
    [["append", "s", "T", "{}", "{}"], "unexpected argument"],
    [["append", "s", "T", "{"], "the JSON argument is not JSON"],
    [["append", "s", "T", "--expected", "any"], "neither exists nor absent"],
    [["append", "s", "T", "--expected", "exists", "--expected-version", "1"], "exclude each other"],
    [["append", "s", "T", "--meta", "x"], "is not KEY=VALUE"],
    [["append", "s", "T", "--tags", "x"], "Unknown option '--tags'\n"],
    [["append", "s", "T", "-1"], "write -- before arguments that begin with -, as in: -- -1"],
    [["append", "s", "T", "--address", "nowhere:x"], '"nowhere:x" is no address'],
    [["append", "s", "T", "--tls-cert", "x.pem"], "go together"],
  ])("%j is refused before anything is sent", async (argv, message) => {
    const { code, output, errors } = await annals(argv);
    expect({ code, output }).toEqual({ code: argv.includes("x.pem") ? 1 : 2, output: "" });
    expect(errors).toContain(argv.includes("x.pem") ? "--tls-cert" : message);
  });

  test("of what the server refuses names the field", async () => {
    const { code, errors } = await annals(["append", "s", "$T", "--tag", "a", "--tag", "a"]);
    expect(code).toBe(1);
    expect(errors).toContain("events[0].type");
    expect(errors).toContain("events[0].tags");
  });
});

describe("read", () => {
  const stream = "reading-1";
  beforeAll(async () => {
    for (let version = 1; version <= 5; version += 1) {
      const marks = ["--tag", version % 2 === 0 ? "even" : "odd", "--tag", "reading"];
      await annals(["append", stream, `Step${version}`, `{"step":${version}}`, ...marks]);
    }
  });

  const typesOf = async (...argv: string[]) => {
    const { output } = await annals(["read", ...argv, "--json"]);
    return jsonLines(output).map(({ type }) => type);
  };

  test("takes a stream, versions, a direction and a limit", async () => {
    expect(await typesOf(stream)).toEqual(["Step1", "Step2", "Step3", "Step4", "Step5"]);
    expect(await typesOf(stream, "--from-version", "2", "--to-version", "3")).toEqual([
      "Step2",
      "Step3",
    ]);
    expect(await typesOf(stream, "--backwards", "--limit", "2")).toEqual(["Step5", "Step4"]);
    expect(await typesOf("reading-none")).toEqual([]);
  });

  test("takes tags, types, prefixes and whole queries", async () => {
    expect(await typesOf("--tag", "reading", "--tag", "even")).toEqual(["Step2", "Step4"]);
    expect(await typesOf("--prefix", "reading-", "--type", "Step1", "--type", "Step5")).toEqual([
      "Step1",
      "Step5",
    ]);
    const query = '{"items":[{"types":["Step3"]},{"tags":["reading","even"]}]}';
    expect(await typesOf("--query-json", query)).toEqual(["Step2", "Step3", "Step4"]);
  });

  test("takes positions and times", async () => {
    const events = jsonLines((await annals(["read", stream, "--json"])).output);
    const [, second, , fourth] = events;
    const position = String(second?.["position"]);
    expect(await typesOf(stream, "--from-position", position, "--to-position", position)).toEqual([
      "Step2",
    ]);
    const from = String(second?.["recordedAt"]);
    const to = String(fourth?.["recordedAt"]);
    expect(await typesOf(stream, "--from-time", from, "--to-time", to)).toEqual([
      "Step2",
      "Step3",
      "Step4",
    ]);
  });

  test("of a narrow terminal has the payload on a line of its own", async () => {
    await annals(["append", "narrow-1", "Narrowed", '{"text":"a payload of some length"}']);
    await annals(["append", "narrow-1", "Empty"]);
    const { output } = await annals(["read", "narrow-1"], { columns: 80 });
    const lines = output.split("\n");
    expect(lines[0]).toMatch(/^POSITION +RECORDED AT +STREAM@VERSION$/);
    expect(lines[1]).toMatch(/^ {4}TYPE {2}PAYLOAD/);
    expect(lines[2]).toMatch(/^ *\d+ {2}\S+Z {2}narrow-1@1$/);
    expect(lines[3]).toBe('    Narrowed  {"text":"a payload of some length"}');
    expect(lines[4]).toMatch(/narrow-1@2$/);
    expect(lines[5]).toBe("    Empty");
    const wide = await annals(["read", "narrow-1"], { columns: 150 });
    expect(wide.output.split("\n")[1]).toMatch(/narrow-1@1 +Narrowed {2}\{"text"/);
  });

  test("fits its table into the terminal, and cuts nothing in a file", async () => {
    await annals(["append", "wide-1", "Wide", JSON.stringify({ text: "x".repeat(300) })]);
    const narrow = await annals(["read", "wide-1"], { columns: 90 });
    for (const line of narrow.output.split("\n")) expect(line.length).toBeLessThanOrEqual(90);
    expect(narrow.output).toContain("wide-1@1");
    expect(narrow.output).toContain("…");
    expect(narrow.errors).toContain("1 event; the stream is at version 1; head");
    const whole = await annals(["read", "wide-1"]);
    expect(whole.output).toContain("x".repeat(300));
    expect(whole.errors).toBe("");
  });

  test("escapes what others stored", async () => {
    const file = `${folder}/evil.txt`;
    writeFileSync(file, "\u001B[2J\u202Egone");
    await annals(["append", "evil-1", "Evil", "--data-file", file, "--content-type", "text/plain"]);
    const { output } = await annals(["read", "evil-1"], { columns: 120 });
    expect(output).toContain("\\u001b[2J\\u202egone");
    expect(output).not.toContain("\u001B");
  });

  test("whose output nobody takes ends as if by SIGPIPE, without a word", async () => {
    let errors = "";
    const closed = new Writable({
      write: (_chunk, _encoding, done) => done(new Error("write EPIPE")),
    });
    const code = await runCommand(["read", stream], {
      input: process.stdin,
      output: closed,
      errors: new Writable({
        write(chunk, _encoding, done) {
          errors += String(chunk);
          done();
        },
      }),
      environment: { ANNALS_ADDRESS: server.address },
      signal: new AbortController().signal,
    });
    expect({ code, errors }).toEqual({ code: 141, errors: "" });
  });
});

describe("what there is", () => {
  beforeAll(async () => {
    await annals(["append", "account-1", "AccountOpened", '{"owner":"Ann","limit":5}']);
    await annals(["append", "account-1", "LimitChanged", '{"limit":9}']);
    await annals(["append", "account-2", "AccountOpened", '{"owner":"Bob"}']);
  });

  test("streams are listed with their versions, and one in numbers", async () => {
    const { output } = await annals(["streams", "account-", "--json"]);
    expect(jsonLines(output)).toMatchObject([
      { stream: "account-1", version: 2, eventCount: 2 },
      { stream: "account-2", version: 1, eventCount: 1 },
    ]);
    const table = await annals(["streams", "account-"]);
    expect(table.output.split("\n")[0]).toMatch(/^STREAM +VERSION +EVENTS +LAST POSITION/);
    expect((await annals(["stream", "account-1"])).output).toMatch(/^version +2$/m);
    const missing = await annals(["stream", "account-none"]);
    expect(missing.code).toBe(1);
    expect(missing.errors).toContain("STREAM_NOT_FOUND");
  });

  test("types are listed with their counts", async () => {
    const { output } = await annals(["types", "AccountO", "--json"]);
    expect(jsonLines(output)).toMatchObject([{ type: "AccountOpened", recordedCount: 2 }]);
  });

  test("state shows the state now and as of a version", async () => {
    const now = await annals(["state", "account-1"]);
    expect(JSON.parse(now.output)).toEqual({ owner: "Ann", limit: 9 });
    expect(now.errors).toContain("account-1@2");
    const then = await annals(["state", "account-1", "--version", "1", "--json"]);
    expect(jsonLines(then.output)).toMatchObject([
      { version: 1, appliedCount: 1, state: { owner: "Ann", limit: 5 } },
    ]);
    const number = "9007199254740993";
    await annals(["append", "exact-1", "Counted", `{"n":${number},"\\ud800":1e400}`]);
    const exact = await annals(["state", "exact-1"]);
    expect(exact.output).toBe(`{\n  "n": ${number},\n  "\\ud800": 1e400\n}\n`);
    const line = await annals(["state", "exact-1", "--json"]);
    expect(line.output).toContain(`"state":{"n":${number},"\\ud800":1e400}}`);
    const never = await annals(["state", "account-1", "--time", "2001-01-01", "--json"]);
    expect(jsonLines(never.output)).toMatchObject([{ version: 0, state: null, recordedAt: "" }]);
  });

  test("snapshots are listed by kind", async () => {
    const connection = new Connection({ address: server.address });
    const store = clientOf(EventStoreService, connection);
    const state = { case: "data", value: new Uint8Array([1]) } as const;
    await store.saveSnapshot({ stream: "account-1", version: 1n, state });
    await store.saveSnapshot({ stream: "account-1", version: 2n, kind: "limits", state });
    connection.close();
    const all = await annals(["snapshots", "account-1", "--json"]);
    expect(jsonLines(all.output)).toMatchObject([
      { kind: "", version: 1 },
      { kind: "limits", version: 2 },
    ]);
    const one = await annals(["snapshots", "account-1", "--kind", "limits"]);
    expect(one.output).toMatch(/^limits +2/m);
    expect(one.output).not.toContain("(default)");
  });

  test("info and health speak of the server", async () => {
    const { code, output } = await annals(["info"]);
    expect(code).toBe(0);
    expect(output).toMatch(/^engine +leveldb/m);
    expect(output).toMatch(/^durability +synced$/m);
    expect(jsonLines((await annals(["info", "--json"])).output)).toMatchObject([
      { durability: "DURABILITY_SYNCED" },
    ]);
    expect(await annals(["health"])).toMatchObject({ code: 0, output: "serving\n" });
  });

  test("health finds the server where the server's own settings put it", async () => {
    const port = server.address.slice(server.address.indexOf(":") + 1);
    const there = await run(["health"], { environment: { ANNALS_PORT: port } });
    expect(there).toMatchObject({ code: 0, output: "serving\n" });
    const socket = { ANNALS_TCP: "false", ANNALS_UNIX_SOCKET: join(folder, "none.sock") };
    const elsewhere = await run(["health"], { environment: socket });
    expect(elsewhere).toMatchObject({ code: 1 });
    expect(elsewhere.errors).toContain("none.sock");
  });
});

describe("the command line", () => {
  test("without a server says so and ends with exit code 1", async () => {
    const { code, errors } = await annals(["health", "--address", "127.0.0.1:1"]);
    expect(code).toBe(1);
    expect(errors).toContain("no answer from 127.0.0.1:1: connect ECONNREFUSED 127.0.0.1:1");
  });

  test("explains itself and every command", async () => {
    const { code, output } = await run(["help"]);
    expect(code).toBe(0);
    for (const { name } of commandHelp) {
      expect(output).toContain(`\n  ${name}`);
      expect((await run(["help", name])).output).toContain(`annals ${name}`);
    }
    expect((await run(["read", "--help"])).output).toContain("annals read");
    expect((await run(["version"])).output).toMatch(/^annals \d+\.\d+\.\d+\n$/);
  });

  test.each([[[]], [["reed"]], [["help", "reed"]], [["read", "--from-time", "noon"]]])(
    "%j is a usage error",
    async (argv) => {
      const { code, output, errors } = await run(argv);
      expect({ code, output }).toEqual({ code: 2, output: "" });
      expect(errors).not.toBe("");
    },
  );
});
