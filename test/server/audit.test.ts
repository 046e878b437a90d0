// The audit trail of a running server, in its file and in `$audit`.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { revokeTokens } from "../../src/access/token-file.ts";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { StreamService } from "../../src/gen/annals/v1/stream_service_pb.js";
import { startServer } from "../../src/server.ts";
import { run } from "../cli/captured-terminal.ts";
import { accessFolder, showing, type AccessFolder } from "../support/access.ts";
import { Calls, collect, failedOf } from "../support/calls.ts";
import { configOf, recordingLogger } from "../support/running-server.ts";

const { append, appendPipe, read } = EventStoreService.method;
const { updateStream, deleteStream } = StreamService.method;

let folder: AccessFolder;
let data: string;
let file: string;
let admin: string;
let web: string;
let calls: Calls;
let address: string;
let stop: (() => Promise<void>) | undefined;
beforeEach(async () => {
  folder = accessFolder({ roles: { web: { append: ["order-"] } } });
  data = mkdtempSync(join(tmpdir(), "annals-"));
  file = join(data, "audit.jsonl");
  admin = await folder.token("root", ["admin"]);
  web = await folder.token("web", ["web"]);
  await serve();
});
afterEach(async () => {
  await stop?.();
  folder.remove();
  rmSync(data, { recursive: true });
});

async function serve(more: readonly string[] = []): Promise<void> {
  const flags = ["--data", join(data, "store"), "--audit-file", file, ...folder.flags, ...more];
  const { logger } = recordingLogger();
  const server = await startServer(configOf("--port", "0", ...flags), logger);
  [address = ""] = server.addresses;
  calls = new Calls(address);
  stop = async () => {
    calls.close();
    stop = undefined;
    await server.stop();
  };
}

type Line = Record<string, unknown>;
const lines = (): Line[] =>
  readFileSync(file, "utf8")
    .trimEnd()
    .split("\n")
    .map((line) => JSON.parse(line) as Line);

const event = (stream: string) => ({ stream, events: [{ type: "T" }] });

describe("the audit trail", () => {
  test("has denied calls, management and changes of tokens, and nothing else", async () => {
    await calls.unary(append, event("order-1"), showing(web));
    await calls.failure(append, event("invoice-1"), showing(web));
    await calls.failure(append, event("order-1"));
    await calls.failure(append, event("order-1"), showing("annals_nonsense"));
    const pipe = calls.pipe(appendPipe, showing(web));
    pipe.send({ append: event("invoice-2") });
    pipe.end();
    await pipe.answers.next();
    await calls.unary(
      updateStream,
      { stream: "order-1", policy: { maxCount: 5n } },
      showing(admin),
    );
    await calls.failure(deleteStream, { stream: "nothing" }, showing(admin));
    await calls.failure(deleteStream, { stream: "order-1" }, showing(web));
    // Nobody judged what a malformed request touches, so it is no act of management.
    const path = "/annals.v1.StreamService/DeleteStream";
    await failedOf(calls.bytes(path, Buffer.of(0x0a, 0xff), showing(web)));
    await revokeTokens(folder.tokensFile, "web", Date.now());
    while ((await calls.failure(read, {}, showing(web))).code !== 16);
    await stop?.();

    const store = "annals.v1.EventStoreService";
    const denied = { event: "denied", peer: "127.0.0.1", reason: "PERMISSION_DENIED" };
    const found = lines().filter(({ method }) => method !== `${store}/Read`);
    expect(found).toMatchObject([
      {
        ...denied,
        principal: "web",
        method: `${store}/Append`,
        permission: "append",
        scope: "invoice-1",
      },
      { event: "denied", reason: "UNAUTHENTICATED", credential: "missing" },
      { event: "denied", reason: "UNAUTHENTICATED", credential: "invalid" },
      { ...denied, method: `${store}/AppendPipe`, scope: "invoice-2" },
      {
        event: "managed",
        principal: "root",
        method: "annals.v1.StreamService/UpdateStream",
        subject: "order-1",
        outcome: "done",
      },
      { event: "managed", subject: "nothing", outcome: "failed" },
      { ...denied, permission: "manage", scope: "order-1" },
      { event: "access-changed", change: "token revoked", principal: "web" },
    ]);
    const text = readFileSync(file, "utf8");
    expect(text).not.toContain(web.slice(20));
    expect(text).not.toContain("scrypt");
  });

  test("is a stream that admin reads, in a store that is sound and opens again", async () => {
    await calls.failure(append, event("invoice-1"), showing(web));
    await stop?.();
    await serve();
    const ofAudit = { selection: { case: "stream", value: "$audit" } } as const;
    const answers = await collect(calls.stream(read, ofAudit, showing(admin)));
    const events = answers.flatMap(({ message }) =>
      message.case === "batch" ? message.value.events : [],
    );
    expect(events).toMatchObject([{ type: "$AuditDenied", version: 1n, principal: "" }]);
    expect(JSON.parse(Buffer.from(events[0]?.data ?? []).toString())).toMatchObject({
      principal: "web",
      scope: "invoice-1",
    });
    expect(await calls.failure(read, ofAudit, showing(web))).toMatchObject({ code: 7 });
    const environment = { ANNALS_ADDRESS: address, ANNALS_TOKEN: admin };
    const shown = await run(["read", "$audit"], { environment });
    expect(shown.output).toContain("$AuditDenied");
    await stop?.();
    expect(await run(["verify", join(data, "store")])).toMatchObject({ code: 0 });
  });

  test("is kept for as long as the option says, which is recorded once", async () => {
    const policies = async () => {
      await calls.failure(append, event("invoice-1"), showing(web));
      await stop?.();
      await serve();
      const ofPolicy = { selection: { case: "stream", value: "$lifecycle-$audit" } } as const;
      const answers = await collect(calls.stream(read, ofPolicy, showing(admin)));
      return answers
        .flatMap(({ message }) => (message.case === "batch" ? message.value.events : []))
        .map(({ data: bytes }) => JSON.parse(Buffer.from(bytes).toString()) as object);
    };
    const days = (count: number) => ({ maxAgeMicros: count * 24 * 60 * 60 * 1e6 });
    expect(await policies()).toMatchObject([{ policy: days(365), actor: "annals" }]);
    expect(await policies()).toHaveLength(1);
    await stop?.();
    await serve(["--audit-keep-days", "30"]);
    expect(await policies()).toMatchObject([{ policy: days(365) }, { policy: days(30) }]);
    await stop?.();
    await serve(["--audit-keep-days", "0"]);
    const all = await policies();
    expect(all).toHaveLength(3);
    expect(all[2]).toMatchObject({ policy: { truncateBefore: 0 } });
    expect(all[2]).not.toMatchObject({ policy: { maxAgeMicros: expect.anything() } });
  });
});
