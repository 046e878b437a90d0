// Contexts against a real server: a command has their options where it names them, and never else.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";

const folder = mkdtempSync(join(tmpdir(), "annals-contexts-"));
const file = join(folder, "annals/contexts.json");
let server: TestServer;

beforeAll(async () => {
  server = await startTestServer();
});

afterAll(async () => {
  await server.stop();
  rmSync(folder, { recursive: true });
});

function annals(argv: readonly string[], more: Record<string, string> = {}) {
  return run(argv, { environment: { XDG_CONFIG_HOME: folder, ...more } });
}

test("what is kept under a name reaches its server, by option and by variable", async () => {
  expect(await annals(["context", "add", "mine", "-a", server.address])).toMatchObject({
    code: 0,
    output: "kept the context mine\n",
  });
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const variable = { ANNALS_CONTEXT: "mine" };
  for (const result of [
    await annals(["health", "--context", "mine"]),
    await annals(["health", "--context=mine"]),
    await annals(["health"], variable),
    await annals(["health", "--context", "mine"], { ANNALS_CONTEXT: "other" }),
    await annals(["groups", "list"], variable),
    await annals(["append", "s-1", "T", "--", "{}"], variable),
    await annals(["streams", "--context", "mine", "--", "--context"]),
  ]) {
    expect(result).toMatchObject({ code: 0 });
  }
});

test("a command's own options count more, and without a name none of the context's do", async () => {
  await annals(["context", "add", "mine", "-a", server.address]);
  const own = await annals(["health", "--context", "mine", "--address", "127.0.0.1:1"]);
  expect(own.errors).toContain("no answer from 127.0.0.1:1");
  const plain = await annals(["health"], { ANNALS_ADDRESS: "127.0.0.1:1" });
  expect(plain.errors).toContain("no answer from 127.0.0.1:1");
});

test("a context is for commands with verbs, too", async () => {
  await annals(["context", "add", "mine", "-a", server.address]);
  const created = await annals(["groups", "create", "mails", "--context", "mine"]);
  expect(created).toMatchObject({ code: 0, errors: "" });
  const got = await annals(["groups", "get", "mails", "-o", "json", "--context=mine"]);
  expect(JSON.parse(got.output)).toMatchObject({ name: "mails" });
  const listed = await annals(["groups", "--json"], { ANNALS_CONTEXT: "mine" });
  expect(jsonLines(listed.output)).toHaveLength(1);
});

test("files are kept with whole paths, and contexts are listed and removed", async () => {
  const flags = ["--tls", "--tls-ca", "ca.pem", "--token-file", "/run/token"];
  await annals(["context", "add", "prod", "-a", "db:7420", ...flags]);
  const kept = { address: "db:7420", tls: true, "tls-ca": resolve("ca.pem") };
  const listed = jsonLines((await annals(["context", "--json"])).output);
  expect(listed).toContainEqual({
    context: "prod",
    options: { ...kept, "token-file": "/run/token" },
  });
  expect((await annals(["context", "list"])).output).toContain("prod  --address db:7420 --tls ");
  expect((await annals(["context", "remove", "prod"])).output).toBe("removed the context prod\n");
  expect((await annals(["context", "remove", "prod"])).output).toContain("there was no context");
  expect(readFileSync(file, "utf8")).not.toContain("prod");
});

test.each([
  [["health", "--context", "nowhere"], 'there is no context "nowhere"; there are: mine'],
  [["health", "--context", "__proto__"], "there is no context"],
  [["health", "--context"], "--context: which one?"],
  [["context", "add", "x"], "--address is missing"],
  [["context", "add", "x", "-a", "a b"], "is no address"],
  [["context", "add"], "which one?"],
  [["context", "use", "x"], 'there is no "use"'],
])("%j is a usage error that says what is wrong", async (argv, message) => {
  await annals(["context", "add", "mine", "-a", server.address]);
  const { code, output, errors } = await annals(argv);
  expect({ code, output }).toEqual({ code: 2, output: "" });
  expect(errors).toContain(message);
});

test("a file that cannot be read is named", async () => {
  writeFileSync(file, "{");
  const { code, errors } = await annals(["health", "--context", "mine"]);
  expect(code).toBe(1);
  expect(errors).toContain(file);
  rmSync(file);
});
