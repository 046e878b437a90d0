// Calls about consumer groups that arrive at another server than the one that runs them: over TLS,
// by KurrentDB's protocol, and while the groups change hands in the middle of a call.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { credentials, Metadata, type ChannelCredentials } from "@grpc/grpc-js";
import { Client } from "pg";
import { describe, expect, test } from "vitest";
import { ForwardedProofs, forwardedHeader } from "../../src/access/forwarded-proof.ts";
import { createToken } from "../../src/access/token-file.ts";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { append } from "../protocols/kurrentdb/kurrent-client.ts";
import {
  bySource,
  create,
  infoOf,
  p,
  Reader,
  texts,
  types,
} from "../protocols/kurrentdb/persistent/persistent-client.ts";
import { Calls, failedOf } from "../support/calls.ts";
import { makeAuthority, sign } from "../support/certificates.ts";
import { StoreServers } from "./store-servers.ts";

const servers = new StoreServers();
const isMissing = servers.programs === undefined;
const { getGroup, updateGroup } = ConsumerGroupService.method;
const unavailable = 14;

/** Of a file of tokens. */
interface Known {
  readonly id: string;
  readonly hash: string;
}

interface Secured {
  readonly ca: Buffer;
  readonly cert: Buffer;
  readonly key: Buffer;
}

describe.skipIf(isMissing)("over TLS", () => {
  test("servers show their certificates, and trust no others", async () => {
    const folder = mkdtempSync(join(tmpdir(), "annals-forwarding-"));
    servers.afterwards(() => rmSync(folder, { recursive: true }));
    const [own, foreign] = [makeAuthority(folder, "own"), makeAuthority(folder, "foreign")];
    const { cert, key } = sign(folder, "server", own);
    const file = join(folder, "tokens.json");
    const wish = { name: "boss", roles: ["admin"], nowMs: Date.now(), expiresMs: Infinity };
    const { text: token } = await createToken(file, wish);
    const read = (path: string) => readFileSync(path);
    const secured = { ca: read(own.cert), cert: read(cert), key: read(key) };
    const bearer = showing(secured, "authorization", `Bearer ${token}`);
    const shown = { tls: secured, token, credentials: bearer };
    // Certificates are asked of everybody, and so of other servers.
    const tls = ["--tls-cert", cert, "--tls-key", key, "--tls-client-ca", own.cert];
    const flags = (ca: string) => [...tls, "--tokens-file", file, "--peer-tls-ca", ca];
    const one = await servers.served("secure", flags(own.cert), shown);
    await one.client.groups.create("mails");
    const other = await servers.served("secure", flags(own.cert), shown);
    const stranger = await servers.served("secure", flags(foreign.cert), shown);

    for (let n = 1; n <= 3; n++) {
      await other.client.append("s", { type: "Happened", data: { n } });
    }
    const taken: number[] = [];
    for await (const { event, ack } of other.client.group("mails", { permits: 1 })) {
      await ack();
      taken.push(event.data.n);
      if (taken.length === 3) break;
    }
    expect(taken).toEqual([1, 2, 3]);
    expect((await other.client.groups.get("mails"))?.lagEvents).toBe(0);

    // What it would forward to shows a certificate of an authority that it does not know.
    const untrusted = await stranger.calls.failure(getGroup, { name: "mails" });
    expect(untrusted).toMatchObject({ code: unavailable, reason: "GROUPS_ELSEWHERE" });

    // A call is forwarded once. This one says that it has been, and is signed as by a server.
    const [[secret] = []] = await servers.asked("SELECT secret FROM secure.store");
    const { tokens } = JSON.parse(readFileSync(file, "utf8")) as { tokens: [Known] };
    const [{ id, hash }] = tokens;
    const proofs = new ForwardedProofs(secret as Uint8Array, () => Date.now());
    const name = `${getGroup.parent.typeName}/${getGroup.name}`;
    const signed = proofs.sign(name, { kind: "token", id, hash });
    const forwarded = (at: string) => {
      const calls = new Calls(at, showing(secured, forwardedHeader, signed));
      servers.afterwards(() => calls.close());
      return calls;
    };
    expect((await forwarded(one.address).unary(getGroup, { name: "mails" })).group?.name).toBe(
      "mails",
    );
    expect(await forwarded(other.address).failure(getGroup, { name: "mails" })).toMatchObject({
      code: unavailable,
      reason: "GROUPS_ELSEWHERE",
    });
  });
});

describe.skipIf(isMissing)("persistent subscriptions of KurrentDB", () => {
  test("are served at any server, also when the one that runs them dies", async () => {
    const flags = ["--protocol", "kurrentdb"];
    const one = await servers.served("kurrent", flags);
    await create(one.calls);
    const other = await servers.served("kurrent", flags);
    await append(other.calls, "s", types("A", "B", "C", "D"));

    // Both servers' consumers share the events.
    const there = await new Reader(other.calls, 2).confirmed();
    const held = await there.get(2);
    expect(texts(held)).toEqual(["A 0", "B 0"]);
    const here = await new Reader(one.calls, 2).confirmed();
    const also = await here.get(2);
    expect(texts(also)).toEqual(["C 0", "D 0"]);
    expect((await infoOf(other.calls))?.connections).toHaveLength(2);
    here.ack(...also);
    there.nack(1, ...held.slice(0, 1));
    there.ack(...held.slice(1));
    await expect.poll(async () => (await infoOf(other.calls))?.parkedMessageCount).toBe(1n);

    // What is parked at one server is replayed through the other one.
    here.cancel();
    const stopAtOption = { case: "noLimit", value: {} } as const;
    await other.calls.unary(p.replayParked, { options: { ...bySource, stopAtOption } });
    const replayed = await there.get(1);
    expect(replayed[0]?.text).toMatch(/^A /);
    there.ack(...replayed);
    await expect.poll(async () => (await infoOf(one.calls))?.parkedMessageCount).toBe(0n);
    const listed = await other.calls.unary(p.list, {
      options: { listOption: { case: "listAllSubscriptions", value: {} } },
    });
    expect(listed.subscriptions.map(({ groupName }) => groupName)).toEqual(["g"]);

    await one.kill();
    expect(await failedOf(there.next())).toMatchObject({ code: unavailable });
    await append(other.calls, "s", types("E"));
    const again = await joined(other.calls);
    const got = await again.get(1);
    expect(got[0]?.text).toMatch(/^E /);
    again.ack(...got);
    await expect
      .poll(async () => (await infoOf(other.calls))?.lastCheckpointedEventPosition)
      .toBe("4");
    await other.calls.unary(p.delete, { options: bySource });
    expect(await failedOf(again.next())).toMatchObject({ code: expect.any(Number) as number });
  });
});

describe.skipIf(isMissing)("the groups change hands in the middle of a call", () => {
  test("a change that waited is not made, and the caller is told to try again", async () => {
    const [one, other] = [await servers.served("changing"), await servers.served("changing")];
    await one.client.groups.create("mails", { attemptsMax: 5 });
    const head = new Client({ connectionString: servers.url });
    await head.connect();
    servers.afterwards(() => head.end());
    await head.query("BEGIN; SELECT * FROM changing.head FOR UPDATE");
    const failed = other.calls.failure(updateGroup, { name: "mails", attemptsMax: 9 });
    const waits = `SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'
      AND application_name = 'annals' AND query LIKE '%FOR UPDATE%'`;
    await expect.poll(async () => servers.asked(waits), { timeout: 20_000 }).toHaveLength(1);
    await takeLease("changing");
    await head.query("ROLLBACK");
    expect(await failed).toMatchObject({ code: unavailable, reason: "RECOVERING" });
    const options = { timeoutMs: 30_000 };
    expect(await other.client.groups.get("mails", options)).toMatchObject({
      settings: { attemptsMax: 5 },
    });
    await other.client.groups.update("mails", { attemptsMax: 9 }, options);
    expect(await one.client.groups.get("mails", options)).toMatchObject({
      settings: { attemptsMax: 9 },
    });
  });

  test("a member goes on: what was settled is, and the rest comes again", async () => {
    const [one, other] = [await servers.served("midway"), await servers.served("midway")];
    await one.client.groups.create("mails");
    for (let n = 1; n <= 6; n++) {
      await one.client.append(`s-${n}`, { type: "Happened", data: { n } });
    }
    const taken: number[] = [];
    const settled: number[] = [];
    for await (const { event, ack } of other.client.group("mails", { permits: 1 })) {
      const { n } = event.data;
      taken.push(n);
      // The third is under way when another server takes the groups.
      if (taken.length === 3) await takeLease("midway");
      await ack().then(
        () => settled.push(n),
        () => {},
      );
      if (new Set(settled).size === 6) break;
    }
    expect(settled.toSorted((a, b) => a - b)).toEqual([1, 2, 3, 4, 5, 6]);
    const again = taken.filter((n, i) => taken.indexOf(n) !== i);
    expect(again.every((n) => n === 3)).toBe(true);
    const info = await one.client.groups.get("mails", { timeoutMs: 30_000 });
    expect(info?.lagEvents).toBe(0);
  });
});

/** As a server that takes the lease, and then is never heard of again. */
async function takeLease(schema: string): Promise<void> {
  const rows =
    await servers.asked(`UPDATE "${schema}".lease SET holder = gen_random_uuid(), address = '127.0.0.1:1',
      number = number + 1, until = clock_timestamp() + interval '3 seconds' RETURNING number`);
  expect(rows).toHaveLength(1);
}

/** As clients do: again, until a server runs the groups. */
async function joined(calls: Calls): Promise<Reader> {
  for (;;) {
    try {
      return await new Reader(calls).confirmed();
    } catch (error) {
      if ((error as { code?: number }).code !== unavailable) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }
}

function showing({ ca, key, cert }: Secured, header: string, value: string): ChannelCredentials {
  const metadata = new Metadata();
  metadata.set(header, value);
  return credentials.combineChannelCredentials(
    credentials.createSsl(ca, key, cert),
    credentials.createFromMetadataGenerator((_, done) => done(null, metadata)),
  );
}
