// Who may call what: every method with every kind of credential over every transport. What a method
// needs is written here once more, so that a slip in the server's table is found.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DescMethod } from "@bufbuild/protobuf";
import { credentials } from "@grpc/grpc-js";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { builtInRoles } from "../../src/access/access-file.ts";
import { permissions, type Permission } from "../../src/access/grants.ts";
import { revokeTokens } from "../../src/access/token-file.ts";
import { BackupService } from "../../src/gen/annals/v1/backup_service_pb.js";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { Health } from "../../src/gen/grpc/health/v1/health_pb.js";
import { ServerReflection as V1 } from "../../src/gen/grpc/reflection/v1/reflection_pb.js";
import { ServerReflection as V1Alpha } from "../../src/gen/grpc/reflection/v1alpha/reflection_pb.js";
import { accessFolder, showing, type AccessFolder } from "../support/access.ts";
import { Calls, failureOf } from "../support/calls.ts";
import { makeAuthority, sign, type Authority } from "../support/certificates.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";
import { webOutcome } from "../support/web-outcome.ts";

/** `any`: of any principal. `open`: of nobody. */
type Needed = Permission | "any" | "open";

const stream = "orders-1";
const eventId = "0190a1a2-0000-7000-8000-000000000001";
const event = { type: "Placed", payload: { case: "data", value: new Uint8Array() } };
const append = { stream, events: [event] };
const expected = { case: undefined };

/** A request of each method, and what it needs. */
const rows: Record<string, Record<string, [Needed, Record<string, unknown>]>> = {
  [EventStoreService.typeName]: {
    Append: ["append", append],
    AppendPipe: ["append", { append }],
    Read: ["read", {}],
    Subscribe: ["read", {}],
    SaveSnapshot: ["append", { stream, version: 1n }],
    GetSnapshot: ["read", { stream }],
    ListSnapshots: ["read", { stream }],
    DeleteSnapshots: ["manage", { stream }],
    Load: ["read", { stream }],
    GetState: ["read", { stream }],
    GetEvent: ["read", { id: eventId, stream }],
    GetStream: ["read", { stream }],
    ListStreams: ["read", {}],
    ListEventTypes: ["read", {}],
    GetInfo: ["any", {}],
  },
  [StreamService.typeName]: {
    UpdateStream: ["manage", { stream, policy: {}, expected }],
    DeleteStream: ["manage", { stream: "nothing", expected }],
  },
  [CheckpointService.typeName]: {
    SaveCheckpoint: ["consume", { consumer: "c" }],
    GetCheckpoint: ["consume", { consumer: "c" }],
    ListCheckpoints: ["consume", {}],
    DeleteCheckpoint: ["consume", { consumer: "c" }],
    WaitFor: ["consume", { who: { case: "consumer", value: "c" }, timeout: { seconds: 0n } }],
  },
  [ConsumerGroupService.typeName]: {
    CreateGroup: ["manage", { name: "g" }],
    UpdateGroup: ["manage", { name: "g", attemptsMax: 3 }],
    DeleteGroup: ["manage", { name: "nothing" }],
    GetGroup: ["consume", { name: "g" }],
    ListGroups: ["consume", {}],
    ResetGroup: ["manage", { name: "g" }],
    Consume: ["consume", { message: { case: "join", value: { group: "g", permits: 1 } } }],
    ListParked: ["consume", { group: "g" }],
    ReplayParked: ["consume", { group: "g" }],
    DiscardParked: ["consume", { group: "g" }],
  },
  [BackupService.typeName]: { Copy: ["admin", {}], Promote: ["admin", {}] },
  [Health.typeName]: { Check: ["open", {}], List: ["open", {}], Watch: ["open", {}] },
  [V1.typeName]: {
    ServerReflectionInfo: ["open", { messageRequest: { case: "listServices", value: "" } }],
  },
  [V1Alpha.typeName]: {
    ServerReflectionInfo: ["open", { messageRequest: { case: "listServices", value: "" } }],
  },
};
/** They need a second permission: what a group delivers, and what its definition selects, is read. */
const alsoRead = new Set(["CreateGroup", "Consume", "ListParked"]);
/** Either permission will do. */
const alsoManaged = new Set(["GetGroup", "ListGroups"]);

const services = [
  EventStoreService,
  StreamService,
  BackupService,
  CheckpointService,
  ConsumerGroupService,
  Health,
];
const methods: DescMethod[] = [...services, V1, V1Alpha].flatMap(({ methods: all }) => [...all]);

const credentialKinds = ["none", "wrong", "expired", "revoked", "other role", "right"] as const;
type CredentialKind = (typeof credentialKinds)[number];
const transports = ["TCP", "TLS", "mutual TLS", "Unix socket"] as const;
type Transport = (typeof transports)[number];
/** HTTP/JSON has the calls that need no stream of requests. */
const webMethods = methods.filter(({ methodKind }) => methodKind !== "bidi_streaming");

/** A role with this permission alone, and one with every other permission but admin. */
const roles = Object.fromEntries(
  permissions.flatMap((permission) => {
    const others = permissions.filter((one) => one !== permission && one !== "admin");
    return [
      [`only-${permission}`, { [permission]: "*" }],
      [`but-${permission}`, Object.fromEntries(others.map((one) => [one, "*"]))],
    ];
  }),
);

let folder: AccessFolder;
const servers: TestServer[] = [];
const clients = new Map<Transport, Calls>();
const webClients = new Map<Transport, Parameters<typeof webOutcome>[0]>();
const tokens = new Map<string, string>();
let byCertificate: Calls;
const lines = () => servers.flatMap((server) => server.lines);

beforeAll(async () => {
  const service = { certificates: ["CN=mapped"], roles: ["reader"] };
  folder = accessFolder({
    roles: {
      ...roles,
      "read-manage": { read: "*", manage: "*" },
      "read-consume": { read: "*", consume: "*" },
    },
    principals: { service, nobody: {} },
  });
  for (const role of [...Object.keys(roles), "read-manage", "read-consume", "admin"]) {
    tokens.set(role, await folder.token("somebody", [role]));
  }
  tokens.set("none", await folder.token("nobody", []));
  tokens.set("expired", await folder.token("late", ["admin"], Date.now() - 1));
  tokens.set("revoked", await folder.token("gone", ["admin"]));
  await revokeTokens(folder.tokensFile, "gone", Date.now());
  const [right = "", other = ""] = [tokens.get("admin"), tokens.get("expired")];
  tokens.set("wrong", right.slice(0, 20) + other.slice(20));

  const authority = makeAuthority(folder.path, "authority");
  const identity = sign(folder.path, "server", authority);
  const socket = join(folder.path, "run", "s");
  const tls = ["--tls-cert", identity.cert, "--tls-key", identity.key];
  const plain = await startTestServer([...folder.flags, "--unix-socket", socket]);
  const secure = await startTestServer([...folder.flags, ...tls]);
  const mutual = await startTestServer([
    ...folder.flags,
    ...tls,
    "--tls-client-ca",
    authority.cert,
  ]);
  servers.push(plain, secure, mutual);
  const client = sign(folder.path, "client", authority);
  const trusting = (own?: Authority) => {
    const pair = own === undefined ? [] : [readFileSync(own.key), readFileSync(own.cert)];
    return credentials.createSsl(readFileSync(authority.cert), ...pair);
  };
  clients.set("TCP", new Calls(plain.address));
  clients.set("TLS", new Calls(secure.address, trusting()));
  clients.set("mutual TLS", new Calls(mutual.address, trusting(client)));
  clients.set("Unix socket", new Calls(`unix:${socket}`));
  const at = (address: string) => ({ host: "127.0.0.1", port: Number(address.split(":").at(-1)) });
  const ca = readFileSync(authority.cert);
  const pair = { cert: readFileSync(client.cert), key: readFileSync(client.key) };
  const named = { ca, servername: "localhost", checkServerIdentity: () => undefined };
  webClients.set("TCP", at(plain.address));
  webClients.set("TLS", { ...at(secure.address), ...named });
  webClients.set("mutual TLS", { ...at(mutual.address), ...named, ...pair });
  webClients.set("Unix socket", { socketPath: socket });
  const mapped = sign(folder.path, "mapped", authority);
  byCertificate = new Calls(mutual.address, trusting(mapped));
  for (const calls of clients.values()) {
    const options = showing(tokens.get("admin"));
    await calls.unary(ConsumerGroupService.method.createGroup, { name: "g" }, options);
  }
});
afterAll(async () => {
  for (const calls of [...clients.values(), byCertificate]) calls.close();
  for (const server of servers) await server.stop();
  folder.remove();
});

/** The reason of a call's failure, or `served` with its first answer. */
async function outcome(
  calls: Calls,
  method: DescMethod,
  request: Record<string, unknown>,
  token: string | undefined,
): Promise<string> {
  const options = { ...showing(token), deadline: Date.now() + 20_000 };
  try {
    if (method.methodKind === "unary") {
      await calls.unary(method, request, options);
      return "served";
    }
    const call =
      method.methodKind === "server_streaming"
        ? calls.stream(method, request, options)
        : calls.pipe(method, options);
    try {
      const answers = "answers" in call ? call.answers : call[Symbol.asyncIterator]();
      if ("send" in call) call.send(request);
      const { value } = (await answers.next()) as { value?: { outcome?: { case: string } } };
      if (value?.outcome?.case === "failure") return "refused in the pipe";
      return "served";
    } finally {
      call.cancel();
    }
  } catch (error) {
    const { reason, info } = failureOf(error);
    return reason === "UNAUTHENTICATED" ? `${reason} ${info["credential"]}` : reason;
  }
}

function tokenFor(kind: CredentialKind, name: string, needed: Needed): string | undefined {
  switch (kind) {
    case "none":
      return undefined;
    case "other role":
      if (needed === "any" || needed === "open") return tokens.get("none");
      return tokens.get(alsoManaged.has(name) ? "only-read" : `but-${needed}`);
    case "right":
      if (needed === "any" || needed === "open") return tokens.get("none");
      return tokens.get(alsoRead.has(name) ? `read-${needed}` : `only-${needed}`);
    default:
      return tokens.get(kind);
  }
}

const refusals: Partial<Record<CredentialKind, string>> = {
  none: "UNAUTHENTICATED missing",
  wrong: "UNAUTHENTICATED invalid",
  expired: "UNAUTHENTICATED expired",
  revoked: "UNAUTHENTICATED revoked",
};
const denied = ["UNAUTHENTICATED", "PERMISSION_DENIED"];

/** A call's outcome is that which its credential deserves. */
function expectDeserved(
  found: string,
  method: DescMethod,
  kind: CredentialKind,
  transport: Transport,
) {
  const [needed] = rows[method.parent.typeName]?.[method.name] ?? ["any"];
  const where = `${method.parent.typeName}/${method.name}`;
  if (needed === "open") expect(found, where).toBe("served");
  else if (kind === "other role" && needed !== "any") {
    expect(found, where).toBe(
      method.name === "AppendPipe" ? "refused in the pipe" : "PERMISSION_DENIED",
    );
  } else if (kind === "other role" || kind === "right") {
    expect(denied, `${where} ${found}`).not.toContain(found.split(" ")[0]);
    expect(found, where).not.toBe("refused in the pipe");
  } else {
    // A certificate is a credential, too: this one is that of no principal.
    const isUnmapped = kind === "none" && transport === "mutual TLS";
    expect(found, where).toBe(isUnmapped ? "UNAUTHENTICATED unknown" : refusals[kind]);
  }
}

function asked(method: DescMethod, kind: CredentialKind) {
  const [needed, request] = rows[method.parent.typeName]?.[method.name] ?? ["any", {}];
  return { request, token: tokenFor(kind, method.name, needed) };
}

describe.each(transports)("over %s", (transport) => {
  test.each(credentialKinds)("each method with the credential: %s", async (kind) => {
    const calls = clients.get(transport) as Calls;
    for (const method of methods) {
      const { request, token } = asked(method, kind);
      expectDeserved(await outcome(calls, method, request, token), method, kind, transport);
    }
  });

  test.each(credentialKinds)("each method by HTTP/JSON with the credential: %s", async (kind) => {
    const where = webClients.get(transport) ?? {};
    for (const method of webMethods) {
      const { request, token } = asked(method, kind);
      expectDeserved(await webOutcome(where, method, request, token), method, kind, transport);
    }
  });
});

test("every method is in the matrix", () => {
  const named = Object.entries(rows).flatMap(([service, all]) =>
    Object.keys(all).map((name) => `${service}/${name}`),
  );
  const known = methods.map(({ name, parent }) => `${parent.typeName}/${name}`);
  expect(named.toSorted()).toEqual(known.toSorted());
  expect(builtInRoles.has("admin")).toBe(true);
});

test("a certificate is that of its principal, unless a token is shown", async () => {
  const { read, append: appending } = EventStoreService.method;
  expect(await outcome(byCertificate, read, {}, undefined)).toBe("served");
  expect(await outcome(byCertificate, appending, append, undefined)).toBe("PERMISSION_DENIED");
  expect(await outcome(byCertificate, appending, append, tokens.get("only-append"))).toBe("served");
  expect(await outcome(byCertificate, read, {}, tokens.get("only-append"))).toBe(
    "PERMISSION_DENIED",
  );
  const wrong = tokens.get("wrong");
  expect(await outcome(byCertificate, read, {}, wrong)).toBe("UNAUTHENTICATED invalid");
});

test("no log line has a secret", () => {
  const text = JSON.stringify(lines());
  expect(text.length).toBeGreaterThan(10_000);
  for (const token of tokens.values()) expect(text).not.toContain(token.slice(20));
  expect(text).not.toContain("scrypt");
});
