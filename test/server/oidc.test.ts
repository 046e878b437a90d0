// OIDC access tokens from a real issuer on the loopback address (the package oidc-provider), and
// tokens that only look like its own.
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { exportJWK, generateKeyPair, SignJWT, UnsecuredJWT, type JWTPayload } from "jose";
import Provider from "oidc-provider";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { accessFolder, showing, type AccessFolder } from "../support/access.ts";
import { collect, failureOf } from "../support/calls.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const { append, getInfo, read, subscribe } = EventStoreService.method;

type Key = Awaited<ReturnType<typeof generateKeyPair>>["privateKey"];

let http: Server;
let issuer: string;
let keys: Record<"RS256" | "ES256" | "EdDSA", Key>;
let folder: AccessFolder;
let server: TestServer;

beforeAll(async () => {
  http = createServer();
  await new Promise<void>((resolve) => http.listen(0, "127.0.0.1", resolve));
  issuer = `http://127.0.0.1:${(http.address() as AddressInfo).port}`;
  const made = await Promise.all(
    (["RS256", "ES256", "EdDSA"] as const).map(async (alg) => {
      const { privateKey } = await generateKeyPair(alg, { extractable: true });
      return [alg, privateKey] as const;
    }),
  );
  keys = Object.fromEntries(made) as typeof keys;
  const jwks = await Promise.all(
    made.map(async ([alg, key]) => ({ ...(await exportJWK(key)), kid: alg, use: "sig" })),
  );
  http.on("request", issuing(jwks).callback());
  folder = accessFolder(accessTo(issuer));
  server = await startTestServer(folder.flags);
});
afterAll(async () => {
  await server.stop();
  http.closeAllConnections();
  http.close();
  folder.remove();
});

const accessTo = (from: string, clockSkewSeconds = 0) => ({
  roles: { orders: { read: ["order-"], append: ["order-"] } },
  principals: { shop: { roles: ["orders"], subjects: ["shop-service"] } },
  oidc: { issuer: from, audience: "annals", rolesClaim: "annals.roles", clockSkewSeconds },
});

/** An issuer whose clients get signed access tokens for the resource they name. */
function issuing(jwks: object[]): Provider {
  const client = (id: string) => ({
    client_id: id,
    client_secret: "secret",
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
  });
  return new Provider(issuer, {
    clients: [client("shop-service"), client("someone-else")],
    jwks: { keys: jwks },
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_: unknown, resource: string) => ({
          scope: "",
          audience: resource.replace("urn:", ""),
          accessTokenTTL: 60,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "RS256" } },
        }),
      },
    },
  });
}

async function tokenOf(client: string, resource = "urn:annals"): Promise<string> {
  const answer = await fetch(`${issuer}/token`, {
    method: "POST",
    headers: { authorization: `Basic ${btoa(`${client}:secret`)}` },
    body: new URLSearchParams({ grant_type: "client_credentials", resource }),
  });
  const { access_token: token } = (await answer.json()) as { access_token: string };
  return token;
}

const now = (): number => Math.floor(Date.now() / 1_000);

interface Signing {
  readonly alg?: string;
  readonly kid?: string;
  readonly key?: Key | Uint8Array;
}

/** A token like the issuer's, but for what is said. */
function forged(
  claims: JWTPayload,
  { alg = "RS256", kid = alg, key = keys.RS256 }: Signing = {},
): Promise<string> {
  const usual = { iss: issuer, aud: "annals", sub: "shop-service", exp: now() + 60 };
  const given = Object.entries({ ...usual, ...claims }).filter(([, value]) => value !== undefined);
  return new SignJWT(Object.fromEntries(given)).setProtectedHeader({ alg, kid }).sign(key);
}

async function outcome(token: string, at = server): Promise<string> {
  try {
    await at.calls.unary(getInfo, {}, showing(token));
    return "served";
  } catch (error) {
    const { reason, info } = failureOf(error);
    return `${reason} ${info["credential"] ?? ""}`.trim();
  }
}

describe("an access token", () => {
  test("of the issuer is that of the principal with its subject", async () => {
    const token = await tokenOf("shop-service");
    const event = { stream: "order-1", events: [{ type: "T" }] };
    await server.calls.unary(append, event, showing(token));
    const denied = { stream: "invoice-1", events: [{ type: "T" }] };
    expect(await server.calls.failure(append, denied, showing(token))).toMatchObject({
      reason: "PERMISSION_DENIED",
      info: { principal: "shop" },
    });
    const of = { selection: { case: "stream", value: "order-1" } } as const;
    const answers = await collect(server.calls.stream(read, of, showing(token)));
    expect(answers[0]?.message).toMatchObject({ value: { events: [{ principal: "shop" }] } });
  });

  test("of another subject has the roles that the issuer says, and else none", async () => {
    expect(await outcome(await tokenOf("someone-else"))).toBe("UNAUTHENTICATED unknown");
    const roles = ["reader", "no-such-role", 5];
    const token = await forged({ sub: "ann", annals: { roles } });
    expect(await outcome(token)).toBe("served");
    const event = { stream: "order-1", events: [{ type: "T" }] };
    expect(await server.calls.failure(append, event, showing(token))).toMatchObject({
      info: { principal: "oidc:ann" },
    });
    expect(await outcome(await forged({ sub: "ann", "annals.roles": "orders reader" }))).toBe(
      "served",
    );
    expect(await outcome(await forged({ sub: "ann", annals: { roles: ["x"] } }))).toBe(
      "UNAUTHENTICATED unknown",
    );
  });

  test.each(["ES256", "EdDSA", "Ed25519"] as const)("may be signed with %s", async (alg) => {
    const kid = alg === "Ed25519" ? "EdDSA" : alg;
    expect(await outcome(await forged({}, { alg, kid, key: keys[kid] }))).toBe("served");
  });

  test.each<[string, JWTPayload, string]>([
    ["for another audience", { aud: "other" }, "invalid"],
    ["of another issuer", { iss: "https://id.example.com" }, "invalid"],
    ["that has expired", { exp: now() - 1 }, "expired"],
    ["that is not in force yet", { nbf: now() + 3_600 }, "invalid"],
    ["that never expires", { exp: undefined } as never, "invalid"],
    ["without a subject", { sub: undefined } as never, "invalid"],
    ["whose subject is a number", { sub: 5 as never }, "invalid"],
    ["whose subject is too long", { sub: "x".repeat(257) }, "invalid"],
    ["whose subject has a line break", { sub: "a\nb" }, "invalid"],
  ])("%s is refused", async (_, claims, credential) => {
    expect(await outcome(await forged(claims))).toBe(`UNAUTHENTICATED ${credential}`);
  });

  test("that the issuer did not sign is refused", async () => {
    // From here on the attempts of this address would be too many.
    const fresh = await startTestServer(folder.flags);
    const usual = { iss: issuer, aud: "annals", sub: "shop-service", exp: now() + 60 };
    const { privateKey: other } = await generateKeyPair("RS256");
    const publicKey = JSON.stringify(await exportJWK(keys.RS256));
    const symmetric = Buffer.from(publicKey);
    const forgeries = [
      await forged({}, { key: other }),
      await forged({}, { key: other, kid: "unknown" }),
      await forged({}, { alg: "HS256", kid: "RS256", key: symmetric }),
      new UnsecuredJWT(usual).encode(),
      (await tokenOf("shop-service")).replace(/\.[^.]*$/, ".AAAA"),
      "not.a.token",
    ];
    for (const token of forgeries) {
      expect(await outcome(token, fresh)).toBe("UNAUTHENTICATED invalid");
    }
    expect(await outcome(await tokenOf("shop-service", "urn:other"), fresh)).toBe(
      "UNAUTHENTICATED invalid",
    );
    await fresh.stop();
  });

  test("ends the open subscription when it expires", async () => {
    const fresh = await startTestServer(folder.flags);
    const options = showing(
      await forged({ sub: "ann", exp: now() + 2, annals: { roles: ["reader"] } }),
    );
    const ended = await collect(fresh.calls.stream(subscribe, {}, options)).catch(failureOf);
    expect(ended).toMatchObject({ reason: "UNAUTHENTICATED", info: { credential: "expired" } });
    await fresh.stop();
  });
});

describe("an issuer", () => {
  test("that the access file does not name any more ends what its tokens allowed", async () => {
    const other = accessFolder(accessTo(issuer));
    const fresh = await startTestServer(other.flags);
    const token = await forged({ sub: "ann", annals: { roles: ["reader"] } });
    const open = fresh.calls.stream(subscribe, {}, showing(token));
    const ended = collect(open).catch(failureOf);
    expect(await outcome(token, fresh)).toBe("served");
    other.write({ roles: {} });
    expect(await ended).toMatchObject({
      reason: "UNAUTHENTICATED",
      info: { credential: "unknown" },
    });
    expect(await outcome(token, fresh)).toBe("UNAUTHENTICATED invalid");
    await fresh.stop();
    other.remove();
  });

  test("that cannot be reached is no fault of the token, and is reported", async () => {
    const other = accessFolder(accessTo("http://127.0.0.1:1"));
    const fresh = await startTestServer(other.flags);
    expect(await outcome(await tokenOf("shop-service"), fresh)).toBe("OVERLOADED");
    expect(fresh.lines.find(({ level }) => level === "warn")?.message).toContain("OIDC issuer");
    await fresh.stop();
    other.remove();
  });

  test("whose clock differs is allowed for, as far as that is configured", async () => {
    const other = accessFolder(accessTo(issuer, 60));
    const fresh = await startTestServer(other.flags);
    expect(await outcome(await forged({ exp: now() - 30, nbf: now() + 30 }), fresh)).toBe("served");
    expect(await outcome(await forged({ exp: now() - 90 }), fresh)).toBe("UNAUTHENTICATED expired");
    await fresh.stop();
    other.remove();
  });
});
