// What others stored may hold characters that do something to a terminal: control characters, those
// that turn the direction of the text, and those that nobody sees. No command prints them raw.
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { commandHelp } from "../../../src/cli/help.ts";
import { connect } from "../../../src/client/sdk.ts";
import { jsonLines, run, type Situation } from "../captured-terminal.ts";
import {
  spawnAnnals,
  startServer,
  temporaryFolder,
  type RunningServer,
} from "../running-server.ts";

const unsafe = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;
/** Names may not hold control characters, but all the others; payloads may hold any. */
const name = "n\u202E\u200B\u00AD\u2028\u2029\u{E0041}\uFEFFx";
const text = `${name}\u007F\u009B2J\u0085`;
/** Of an event with all of them. */
const eventId = "019e5a00-0000-7000-8000-00000000002a";

let server: RunningServer;
const folder = temporaryFolder();
beforeAll(async () => {
  server = await startServer(join(folder, "data"));
  const client = connect({ address: server.address });
  const event = {
    type: name,
    tags: [name],
    metadata: { [`k${name}`]: text },
    data: { [text]: text },
  };
  await client.append(
    name,
    Array.from({ length: 8 }, () => event),
  );
  await client.snapshots.save({ stream: name, version: 1, kind: name, state: new Uint8Array([1]) });
  await client.groups.create(name, { query: { tags: [name] }, attemptsMax: 1 });
  for (const consumer of [name, `kept${name}`]) {
    await client.checkpoints.save(consumer, 1, { metadata: { [`k${name}`]: text } });
  }
  client.close();
  const plain = Buffer.from(`\u001B[2J${text}`).toString("base64");
  const line = { id: eventId, stream: name, type: name, contentType: "text/plain", data: plain };
  const input = `${JSON.stringify(line)}\n`;
  await annals(["import", "--namespace", "n"], { input });
  await annals(["streams", "update", name, "--label", `k${name}=${name}`]);
  const failing = ["--exec", "cat >/dev/null; printf '\\033[2J\\302\\233' >&2; exit 1"];
  await annals(["consume", name, "-n", "1", ...failing]);
});
afterAll(() => server.stop());

function annals(argv: readonly string[], situation: Situation = {}) {
  return run(argv, { ...situation, environment: { ANNALS_ADDRESS: server.address } });
}

/** What is printed for layout alone. */
function withoutLayout(output: string): string {
  return output.replaceAll("\n", "").replaceAll("\r\u001B[K", "");
}

const commands: readonly (readonly string[])[] = [
  ["read"],
  ["read", "--with-removed", "--backwards"],
  ["event", eventId],
  ["tail"],
  ["top", "--once"],
  ["streams"],
  ["stream", name],
  ["types"],
  ["state", name],
  ["snapshots", name],
  ["groups"],
  ["groups", "get", name],
  ["groups", "update", name, "--attempts", "2"],
  ["parked", "list", name],
  ["parked", "discard", name, "1"],
  ["checkpoints"],
  ["checkpoints", "get", name],
  ["checkpoints", "save", name, "1", "--meta", `k=${name}`],
  ["append", name, name, "{}"],
  ["streams", "update", name, "--max-count", "9"],
  ["consume", name, "-n", "1"],
  ["groups", "delete", name],
  ["checkpoints", "delete", name],
  ["verify"],
  ["version"],
];

/** What the caller gives is printed, too. A path or an argument may come from somebody else. */
const refused: readonly (readonly string[])[] = [
  [name],
  ["help", name],
  ["info", "--address", name],
  ["ui", "--address", name],
  ["context", "add", text],
  ["info", "--context", name],
  ["completion", name],
  ["health", "--address", `127.0.0.1:1${name}`],
  ["import", `/dev/null/${text}`],
  ["import", `kurrentdb://${text}`],
  ["follow", name],
  ["export", "--after", name],
  ["verify", `/dev/null/${text}`],
  ["backup", `/dev/null/${text}`, `/dev/null/${text}`],
  ["restore", `/dev/null/${text}`, join(folder, text)],
  ["salvage", `/dev/null/${text}`, join(folder, text)],
  ["copy", "--from", `/dev/null/${text}`, "--to", join(folder, text)],
  ["bench", "--seconds", name],
  ["event", name],
  ["top", name],
  ["promote", `/dev/null/${text}`],
  ["tokens", "list", "--tokens-file", `/dev/null/${text}`],
  ["append", name, name, name],
  ["append", name, name, "--data-file", `/dev/null/${text}`],
  ["read", "--tls-ca", `/dev/null/${text}`],
  ["salvage", `/dev/null/${text}`, join(folder, text)],
  ["tokens", "create", name],
  ["tokens", "revoke", name, "--tokens-file", join(folder, "none")],
  ["tokens", "list", "--tokens-file", `/dev/null/${text}`],
];

describe("with names and payloads of invisible characters", () => {
  test.each(commands)("annals %s %s prints none of them", async (...argv) => {
    for (const columns of [80, 200]) {
      const { output, errors } = await annals(argv, { columns });
      expect(withoutLayout(output)).not.toMatch(unsafe);
      expect(withoutLayout(errors)).not.toMatch(unsafe);
    }
    const shown = await annals([...argv, "--json"], { columns: 80 });
    expect(withoutLayout(shown.output)).not.toMatch(unsafe);
    expect(withoutLayout(shown.errors)).not.toMatch(unsafe);
  });

  test.each([["read"], ["tail"], ["streams"], ["types"], ["state", name], ["checkpoints"]])(
    "annals %s --json gives a terminal the same JSON as a file",
    async (...argv) => {
      const shown = await annals([...argv, "--json"], { columns: 80 });
      const written = await annals([...argv, "--json"]);
      expect(shown.output).not.toBe("");
      expect(jsonLines(shown.output)).toEqual(jsonLines(written.output));
    },
  );

  test("an export to a file has payloads byte for byte, and one to a terminal is escaped", async () => {
    const file = await annals(["export"]);
    expect(file.output).toContain(JSON.stringify({ [text]: text }));
    const shown = await annals(["export"], { columns: 80 });
    expect(withoutLayout(shown.output)).not.toMatch(unsafe);
    expect(jsonLines(shown.output)).toEqual(jsonLines(file.output));
  });

  test("every command is tried", () => {
    const tried = new Set([...commands, ...refused, ["serve"]].map(([command]) => command));
    expect(commandHelp.map((known) => known.name).filter((each) => !tried.has(each))).toEqual([]);
  });

  test.each(refused)("annals %s %s is refused without them", async (...argv) => {
    const environment = { ANNALS_ADDRESS: server.address, [`ANNALS_DATA${name}`]: "x" };
    const { code, output, errors } = await run(argv, { columns: 80, environment });
    expect(code).not.toBe(0);
    expect(withoutLayout(output + errors)).not.toMatch(unsafe);
  });

  test("a token with roles of such names is created, listed and revoked", async () => {
    const file = ["--tokens-file", join(folder, "tokens")];
    const created = await annals(["tokens", "create", "ann", "--role", name, ...file]);
    expect(created.code).toBe(0);
    for (const argv of [
      ["create", "ben", "--role", name, "--json"],
      ["list"],
      ["list", "--json"],
    ]) {
      const { code, output, errors } = await annals(["tokens", ...argv, ...file], { columns: 80 });
      expect(code).toBe(0);
      expect(withoutLayout(output + created.errors + errors)).not.toMatch(unsafe);
    }
  });

  test("a server that refuses to start says so without them", async () => {
    const path = `/dev/null/${text}`;
    for (const argv of [
      [`--log-level=${name}`],
      ["--data", path, "--port", "0", "--log-format=text"],
    ]) {
      const { ended, printed } = spawnAnnals(["serve", ...argv]);
      expect(await ended).not.toBe(0);
      expect(printed()).not.toBe("");
      expect(withoutLayout(printed())).not.toMatch(unsafe);
    }
  });

  test("a refusal that names them is escaped", async () => {
    for (const argv of [
      ["stream", `none${name}`],
      ["append", name, name, "--expected", "absent"],
    ]) {
      const { code, errors } = await annals(argv);
      expect(code).not.toBe(0);
      expect(withoutLayout(errors)).not.toMatch(unsafe);
    }
  });
});
