// `--output`, `--json` and `--wide`: one way for all commands, which their help pages name.
import { afterAll, beforeAll, expect, test } from "vitest";
import { commandHelp } from "../../../src/cli/help.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";
import { temporaryFolder } from "../running-server.ts";

let server: TestServer;
const annals = (argv: readonly string[], situation: Situation = {}) =>
  run(argv, { ...situation, environment: { ANNALS_ADDRESS: server.address } });
const longName = `order-${"x".repeat(80)}`;

beforeAll(async () => {
  server = await startTestServer();
  for (const stream of ["a-1", "a-2", longName]) await annals(["append", stream, "Made", "{}"]);
  await annals(["groups", "create", "mails"]);
});
afterAll(() => server.stop());

test.each([
  ["streams", ["streams"]],
  ["streams by pages", ["streams", "a-"]],
  ["an empty list", ["streams", "nothing-"]],
  ["types", ["types"]],
  ["snapshots", ["snapshots", "a-1"]],
  ["groups", ["groups"]],
  ["parked events", ["parked", "list", "mails"]],
  ["checkpoints", ["checkpoints"]],
  ["events", ["read"]],
  ["no events", ["read", "nothing-1"]],
  ["the last events", ["tail", "-n", "2"]],
  ["deliveries", ["consume", "mails", "--limit", "3"]],
])("%s are one array with -o json, and lines with -o ndjson", async (_, argv) => {
  const whole = await annals([...argv, "-o", "json"]);
  expect(whole).toMatchObject({ code: 0 });
  const array = JSON.parse(whole.output) as unknown[];
  expect(Array.isArray(array)).toBe(true);
  if (argv[0] === "consume") return expect(array).toHaveLength(3);
  // Some figures are of the moment.
  const same = (rows: unknown) => JSON.stringify(rows).replaceAll(/"lagSeconds":[\d.]+/g, "");
  const lines = await annals([...argv, "--output=ndjson"]);
  expect(same(jsonLines(lines.output))).toBe(same(array));
  const also = await annals([...argv, "--json"]);
  expect(same(jsonLines(also.output))).toBe(same(array));
});

test.each([[["info"]], [["stream", "a-1"]], [["state", "a-1"]], [["groups", "get", "mails"]]])(
  "%j is one object in both forms",
  async (argv) => {
    const whole = await annals([...argv, "-ojson"]);
    expect(JSON.parse(whole.output)).toBeTypeOf("object");
    expect(Array.isArray(JSON.parse(whole.output))).toBe(false);
    expect(jsonLines((await annals([...argv, "-o", "ndjson"])).output)).toHaveLength(1);
  },
);

test("-o table is what is printed without it, and the last one counts", async () => {
  const plain = await annals(["streams"]);
  expect(await annals(["streams", "-o", "table"])).toEqual(plain);
  expect(await annals(["streams", "--json", "-o", "table"])).toEqual(plain);
});

test("--wide cuts nothing on a terminal, and shows columns that are left out otherwise", async () => {
  const narrow = await annals(["streams"], { columns: 80 });
  expect(narrow.output).not.toContain(longName);
  expect(narrow.output).not.toContain("FIRST POSITION");
  const wide = await annals(["streams", "--wide"], { columns: 80 });
  expect(wide.output).toContain(longName);
  expect(wide.output).toMatch(/FIRST POSITION .*KEEPS/);
  expect(wide.output).toMatch(/^a-1 .*keeps everything|^a-1 .*everything/m);
  const [event] = jsonLines((await annals(["read", "a-1", "--json"])).output);
  const events = await annals(["read", "a-1", "--wide"]);
  expect(events.output).toContain(String(event?.["id"]));
  expect(events.output).toContain("application/json");
  const groups = await annals(["groups", "--wide"]);
  expect(groups.output).toContain("in order by");
});

test.each([
  [["streams", "-o", "xml"], '--output: "xml" is not one of table, json, ndjson'],
  [["streams", "-o"], "--output: which one?"],
  [["export", "-o", "json"], "export has no --output"],
  [["export", "--json"], "export has no --output"],
  [["info", "--wide"], "info has no --wide"],
  [["tail", "-f", "-o", "json"], "tail -f has no end: use ndjson"],
  [["consume", "g", "-o", "json"], "consume without --limit has no end"],
  [["top", "-o", "json"], "top without --once has no end"],
  [["backup", "a", "b", "--every", "1h", "-o", "json"], "backup --every has no end"],
])("%j is refused", async (argv, message) => {
  const { code, output, errors } = await annals(argv);
  expect({ code, output }).toEqual({ code: 2, output: "" });
  expect(errors).toContain(message);
});

test("what comes behind -- is no option of the form", async () => {
  const { output } = await annals(["read", "-o", "json", "--", "--wide"]);
  expect(output).toBe("[]\n");
});

test("contexts and tokens are an array, too, also where there are none", async () => {
  const folder = temporaryFolder();
  const environment = { XDG_CONFIG_HOME: folder, ANNALS_TOKENS_FILE: `${folder}/tokens.json` };
  expect((await run(["context", "-o", "json"], { environment })).output).toBe("[]\n");
  await run(["context", "add", "prod", "--address", "db:7420"], { environment });
  const contexts = await run(["context", "list", "-o", "json"], { environment });
  expect(JSON.parse(contexts.output)).toMatchObject([{ context: "prod" }]);
  await run(["tokens", "create", "ann", "--role", "reader"], { environment });
  const tokens = await run(["tokens", "list", "-o", "json"], { environment });
  expect(JSON.parse(tokens.output)).toMatchObject([{ name: "ann" }]);
});

test("every command that prints tables of rows has --wide", () => {
  const wide = commandHelp.filter(({ details }) =>
    details.some((line) => line.startsWith("--wide")),
  );
  expect(wide.map(({ name }) => name).toSorted()).toEqual(
    "checkpoints consume groups parked read snapshots streams tail tokens types".split(" "),
  );
});
