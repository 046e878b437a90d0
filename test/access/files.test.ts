// The access file and the tokens file: what they say, and how each fault is named.
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parseAccessFile } from "../../src/access/access-file.ts";
import { FileFaults, parseJsonText, pathText } from "../../src/access/json-lines.ts";
import {
  createToken,
  parseTokenFile,
  readTokenFile,
  revokeTokens,
} from "../../src/access/token-file.ts";
import {
  hashSecret,
  isHash,
  isSecretOf,
  newToken,
  parseToken,
  tokenText,
} from "../../src/access/token.ts";

function faultsOf(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof FileFaults) return error.message.split("\n");
    throw error;
  }
  return [];
}

const faults = (text: string): string[] => faultsOf(() => parseAccessFile(text, "access.json"));

describe("an access file", () => {
  test("has roles, principals, certificates and subjects", () => {
    const access = parseAccessFile(
      `{
        "roles": { "billing": { "read": ["orders-"], "append": ["invoices-"] }, "audit": { "read": "*" } },
        "principals": {
          "billing": { "roles": ["billing"], "certificates": ["DNS:billing", "CN=billing"] },
          "alice": { "roles": ["audit", "admin"], "subjects": ["u1"] }
        },
        "oidc": { "issuer": "https://id.example.com", "audience": "annals" }
      }`,
      "f",
    );
    expect(access.roles.get("billing")).toEqual({ read: ["orders-"], append: ["invoices-"] });
    expect(access.roles.get("audit")).toEqual({ read: "everything" });
    expect(access.roles.has("admin")).toBe(true);
    expect(access.certificates.get("CN=billing")).toBe("billing");
    expect(access.subjects.get("u1")).toBe("alice");
    expect(access.oidc).toMatchObject({ audience: "annals", clockSkewSeconds: 30 });
    expect(parseAccessFile("{}", "f").oidc).toBeUndefined();
  });

  test("names each fault with its line and path", () => {
    const text = `{
  "roles": {
    "admin": {},
    "a b": {},
    "x": {
      "read": ["", "*",
               "$audit", 5],
      "write": "*",
      "append": "all"
    }
  },
  "principals": {
    "one": { "roles": ["x", "nobody"], "certificates": ["billing"] },
    "two": { "roles": "x", "subjects": ["s"] },
    "three": { "certificates": ["CN=a"] },
    "four": { "certificates": ["CN=a"] }
  },
  "oidc": { "issuer": "http://id.example.com", "clockSkewSeconds": -1 }
}`;
    expect(faults(text)).toEqual([
      'access.json:4: roles."a b": is no name: use letters, digits, and _ . @ -, at most 128',
      "access.json:3: roles.admin: is built in and cannot be defined again",
      "access.json:8: roles.x.write: is none of read, append, consume, manage, observe, admin",
      "access.json:7: roles.x.read[3]: is not a text",
      'access.json:6: roles.x.read[0]: is empty: write "*" for everything',
      'access.json:6: roles.x.read[1]: is "*" in a list: write "*" alone',
      "access.json:7: roles.x.read[2]: begins with $: what belongs to a stream follows its own name",
      'access.json:9: roles.x.append: is neither "*" nor a list of prefixes',
      'access.json:13: principals.one.roles[1]: there is no role "nobody"',
      "access.json:13: principals.one.certificates[0]: is no name of a certificate: " +
        "write CN=NAME, DNS:NAME, URI:NAME or email:NAME",
      "access.json:14: principals.two.roles: is not a list of texts",
      'access.json:16: principals.four.certificates[0]: is already that of "three"',
      "access.json:18: oidc.issuer: is no https URL (http is for the loopback address only)",
      "access.json:18: oidc.audience: is required",
      "access.json:18: oidc.clockSkewSeconds: is no number from 0 to 600",
    ]);
  });

  test.each<[string, string]>([
    ["", "access.json:1: Unexpected end of JSON input"],
    ["[]", "access.json:1: is not an object"],
    ['{"roles":[]}', "access.json:1: roles: is not an object"],
    ['{\n"oidc": 5}', "access.json:2: oidc: is not an object"],
    [
      '{"principals":{"p":{"subjects":["s"]}}}',
      'access.json:1: principals: "subjects" need "oidc", which says who issues their tokens',
    ],
    ['{"roles":{"a":{},\n"a":{}}}', "access.json:2: roles.a: is written twice"],
    ['{"role":{}}', "access.json:1: role: is none of roles, principals, oidc"],
  ])("refuses %j", (text, fault) => {
    expect(faults(text)[0]).toBe(fault);
  });

  test("allows an issuer without TLS on the loopback address", () => {
    const text = (issuer: string) => JSON.stringify({ oidc: { issuer, audience: "a" } });
    expect(faults(text("http://127.0.0.1:9000"))).toEqual([]);
    expect(faults(text("http://localhost/x"))).toEqual([]);
    expect(faults(text("http://127.0.0.1.example.com"))).toHaveLength(1);
    expect(faults(text("nonsense"))).toHaveLength(1);
  });
});

describe("lines of JSON", () => {
  test("are those on which the values begin, whatever the value", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const read = parseJsonText(JSON.stringify({ v: value }, undefined, 1), "f");
        expect(read.value).toEqual(JSON.parse(JSON.stringify({ v: value })));
        expect(read.lineOf(["v"])).toBe(2);
      }),
    );
  });

  test("are named with paths that can be found", () => {
    expect(pathText(["roles", "a.b", "read", 2])).toBe('roles."a.b".read[2]');
  });
});

describe("a token", () => {
  test("is recognised by its form, and names its id", () => {
    const token = newToken();
    expect(tokenText(token)).toMatch(/^annals_[0-9a-f]{12}_[\w-]{43}$/);
    expect(parseToken(tokenText(token))).toEqual(token);
    expect(parseToken(`${tokenText(token)}x`)).toBeUndefined();
    expect(parseToken("annals_0_x")).toBeUndefined();
  });

  test("is checked against its hash, which differs each time", async () => {
    const { secret } = newToken();
    const [one, other] = [await hashSecret(secret), await hashSecret(secret)];
    expect(one).not.toBe(other);
    expect(one).not.toContain(secret);
    expect(await isSecretOf(secret, one)).toBe(true);
    expect(await isSecretOf(newToken().secret, one)).toBe(false);
    expect(isHash(one)).toBe(true);
    expect(isHash(one.replace("$12$", "$31$"))).toBe(false);
  });
});

describe("a tokens file", () => {
  let folder: string;
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), "annals-"));
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  const wish = { roles: ["reader"], nowMs: 1_000, expiresMs: Infinity };

  test("gets and loses tokens, is for its owner alone, and never has a secret", async () => {
    const file = join(folder, "tokens.json");
    const one = await createToken(file, { name: "a", ...wish });
    const two = await createToken(file, { name: "a", ...wish, expiresMs: 5_000 });
    const text = readFileSync(file, "utf8");
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(text).not.toContain(parseToken(one.text)?.secret);
    const tokens = await readTokenFile(file);
    expect([...tokens.values()]).toEqual([one.entry, two.entry]);
    expect(await revokeTokens(file, one.entry.id, 2_000)).toMatchObject({ found: 1 });
    const { revoked } = await revokeTokens(file, "a", 3_000);
    expect(revoked.map(({ id }) => id)).toEqual([two.entry.id]);
    const after = await readTokenFile(file);
    expect([...after.values()].map(({ revokedMs }) => revokedMs)).toEqual([2_000, 3_000]);
    expect(await revokeTokens(file, "nobody", 0)).toEqual({ found: 0, revoked: [] });
  });

  test("is changed by one command at a time", async () => {
    const file = join(folder, "busy.json");
    writeFileSync(`${file}.new`, "");
    await expect(createToken(file, { name: "a", ...wish })).rejects.toThrow("another change");
    rmSync(`${file}.new`);
    await createToken(file, { name: "a", ...wish });
  });

  test("that cannot be read is not changed", async () => {
    const file = join(folder, "broken.json");
    writeFileSync(file, "{");
    await expect(createToken(file, { name: "a", ...wish })).rejects.toThrow("broken.json:1");
    expect(readFileSync(file, "utf8")).toBe("{");
  });

  test("names each fault without the hash", async () => {
    const hash = await hashSecret("s");
    const token = {
      id: "0123456789ab",
      name: "a",
      roles: [],
      created: "2026-01-01T00:00:00Z",
      hash,
    };
    const list = (...tokens: object[]) => JSON.stringify({ tokens });
    const cases: [string, string][] = [
      ["{}", "f:1: tokens: is not a list"],
      [list({ ...token, id: "x" }), "f:1: tokens[0].id: is missing or malformed"],
      [list({ ...token, name: "a b" }), "f:1: tokens[0].name: is missing or malformed"],
      [list({ ...token, roles: [1] }), "f:1: tokens[0].roles: is missing or malformed"],
      [list({ ...token, expires: "soon" }), "f:1: tokens[0].expires: is missing or malformed"],
      [list({ ...token, hash: "plain" }), "f:1: tokens[0].hash: is missing or malformed"],
      [list(token, token), "f:1: tokens[1]: has an id that another token has"],
    ];
    for (const [text, fault] of cases) {
      expect(faultsOf(() => parseTokenFile(text, "f"))).toEqual([fault]);
    }
    expect(parseTokenFile(list(token), "f").size).toBe(1);
  });
});
