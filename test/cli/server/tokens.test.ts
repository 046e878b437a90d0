// `annals tokens`, and commands that show a token.
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { accessFolder, type AccessFolder } from "../../support/access.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { jsonLines, run } from "../captured-terminal.ts";

let folder: AccessFolder;
let server: TestServer;
beforeAll(async () => {
  folder = accessFolder({
    roles: { billing: { append: ["invoice-"] } },
    principals: { billing: { roles: ["billing"] } },
  });
  server = await startTestServer(folder.flags);
});
afterAll(async () => {
  await server.stop();
  folder.remove();
});

function annals(argv: readonly string[], environment: Record<string, string> = {}) {
  return run(argv, { environment: { ANNALS_ADDRESS: server.address, ...environment } });
}

const files = () => ["--tokens-file", folder.tokensFile, "--access-file", folder.accessFile];

/** Until the server has read its files. */
async function eventually(argv: readonly string[], environment: Record<string, string>) {
  for (;;) {
    const done = await annals(argv, environment);
    if (!done.errors.includes("UNAUTHENTICATED")) return done;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

describe("annals tokens", () => {
  test("makes a token that is printed alone, lists it without its hash, and revokes it", async () => {
    const made = await annals(["tokens", "create", "svc", "--role", "admin", ...files()]);
    expect(made.code).toBe(0);
    expect(made.output).toMatch(/^annals_[0-9a-f]{12}_[\w-]{43}\n$/);
    const token = made.output.trim();
    const environment = { ANNALS_TOKENS_FILE: folder.tokensFile };
    const listed = await annals(["tokens", "list", "--json"], environment);
    const [row] = jsonLines(listed.output).filter(({ name }) => name === "svc");
    expect(row).toMatchObject({ name: "svc", roles: ["admin"], state: "valid" });
    expect(listed.output).not.toContain("scrypt");
    const id = String(row?.["id"]);
    expect(await eventually(["info"], { ANNALS_TOKEN: token })).toMatchObject({ code: 0 });

    const revoked = await annals(["tokens", "revoke", id], environment);
    expect(revoked.output).toBe(`revoked: ${id}\n`);
    expect((await annals(["tokens", "revoke", "svc"], environment)).output).toBe(
      "was revoked before\n",
    );
    expect((await annals(["tokens"], environment)).output).toMatch(new RegExp(`${id} .*revoked`));
    let last = await annals(["info"], { ANNALS_TOKEN: token });
    while (last.code === 0) last = await annals(["info"], { ANNALS_TOKEN: token });
    expect(last.errors).toContain("the token was revoked (UNAUTHENTICATED)");
  });

  test("takes the principal's roles from the access file, and an expiry", async () => {
    const argv = ["tokens", "create", "billing", "--expires", "90d", "--json", ...files()];
    const made = await annals(argv);
    const [row] = jsonLines(made.output);
    expect(row).toMatchObject({ name: "billing", roles: [], state: "valid" });
    const days = (Date.parse(String(row?.["expires"])) - Date.now()) / 86_400_000;
    expect(days).toBeGreaterThan(89);
    const file = join(folder.path, "billing.token");
    writeFileSync(file, `${String(row?.["token"])}\n`);
    const shown = ["--token-file", file];
    const append = ["append", "invoice-1", "Sent", "{}", ...shown];
    expect(await eventually(append, {})).toMatchObject({ code: 0 });
    const denied = await annals(["append", "order-1", "Placed", "{}"], { ANNALS_TOKEN_FILE: file });
    expect(denied).toMatchObject({ code: 1 });
    expect(denied.errors).toContain('principal "billing" lacks append for "order-1"');
  });

  test("warns of a principal that may do nothing, and of a role that it cannot check", async () => {
    const nothing = await annals(["tokens", "create", "new", ...files()]);
    expect(nothing.errors).toContain("may do nothing until the access file gives it a role");
    const file = ["--tokens-file", folder.tokensFile];
    const unknown = await annals(["tokens", "create", "new", "--role", "special", ...file]);
    expect(unknown.errors).toContain("access file must define the role special");
  });

  test.each<[string[], string]>([
    [["create", "a b"], '"a b" is no name'],
    [["create", "a", "--expires", "soon"], "--expires"],
    [["create", "a", "--expires", "99999d"], "more than 100 years"],
    [["create"], "too few arguments"],
    [["forget", "a"], '"forget" is not one of create, list, revoke'],
    [["revoke", "nobody"], "there is no token nobody"],
    [["create", "a", "--role", "nothing"], "there is no role nothing"],
  ])("refuses %j", async (argv, text) => {
    const options = argv[0] === "create" ? files() : files().slice(0, 2);
    const refused = await annals(["tokens", ...argv, ...options]);
    expect(refused.code).toBeGreaterThan(0);
    expect(refused.errors).toContain(text);
  });

  test("asks for its file", async () => {
    const refused = await annals(["tokens", "list"]);
    expect(refused.errors).toContain("give --tokens-file, or set ANNALS_TOKENS_FILE");
  });
});

describe("a command", () => {
  test("without a token is told what is missing; a health probe needs none", async () => {
    const refused = await annals(["info"]);
    expect(refused.errors).toContain("this server asks who calls");
    expect(await annals(["health"])).toMatchObject({ code: 0 });
  });

  test("whose token file cannot be read says so", async () => {
    const refused = await annals(["info", "--token-file", "/nothing/here"]);
    expect(refused.errors).toContain("--token-file: ENOENT");
  });
});

test("no file of tokens has a secret", () => {
  expect(readFileSync(folder.tokensFile, "utf8")).not.toMatch(/annals_/);
});
