// Access control of a running server: what is revoked ends, what changes is in effect within a
// second, and what a request touches is judged.
import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { MessageInitShape } from "@bufbuild/protobuf";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { revokeTokens } from "../../src/access/token-file.ts";
import { startFailure } from "../../src/cli/server/start-failure.ts";
import { CheckpointService } from "../../src/gen/annals/v1/checkpoint_service_pb.js";
import { ConsumerGroupService } from "../../src/gen/annals/v1/consumer_group_service_pb.js";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { startServer } from "../../src/server.ts";
import { accessFolder, showing, type AccessFolder } from "../support/access.ts";
import { failedOf, nextOf } from "../support/calls.ts";
import {
  configOf,
  recordingLogger,
  startTestServer,
  type TestServer,
} from "../support/running-server.ts";

const { append, appendPipe, getInfo, getStream, read, subscribe } = EventStoreService.method;
const { consume, createGroup, listParked } = ConsumerGroupService.method;
const { waitFor } = CheckpointService.method;

const orders = { read: ["orders-"], append: ["orders-"], consume: ["shipping"] };

let folder: AccessFolder;
let server: TestServer;
beforeEach(async () => {
  folder = accessFolder({ roles: { orders } });
  server = await startTestServer(folder.flags);
});
afterEach(async () => {
  await server.stop();
  folder.remove();
});

const event = (stream: string) => ({ stream, events: [{ type: "T" }] });
const ofOrders: MessageInitShape<typeof subscribe.input> = {
  selection: { case: "query", value: { items: [{ streamPrefixes: ["orders-"] }] } },
} as const;

/** A token that the server knows. */
async function known(name: string, roles: string[], expiresMs?: number) {
  const token = await folder.token(name, roles, expiresMs);
  await eventually(async () => {
    await server.calls.unary(getInfo, {}, showing(token));
  });
  return showing(token);
}

/** The server looks at its files twice a second. */
async function eventually(check: () => Promise<void>): Promise<void> {
  for (let i = 0; ; i++) {
    try {
      return await check();
    } catch (error) {
      if (i === 100) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

describe("what is revoked", () => {
  test("ends open subscriptions, pipes, memberships and waits, and is refused from then on", async () => {
    const admin = await known("root", ["admin"]);
    await server.calls.unary(createGroup, { name: "g" }, admin);
    const options = await known("svc", ["admin"]);
    const subscription = server.calls.stream(subscribe, {}, options)[Symbol.asyncIterator]();
    await nextOf(subscription);
    const pipe = server.calls.pipe(appendPipe, options);
    pipe.send({ append: event("a") });
    await nextOf(pipe.answers);
    const member = server.calls.pipe(consume, options);
    member.send({ message: { case: "join", value: { group: "g", permits: 1 } } });
    await nextOf(member.answers);
    const waiting = failedOf(
      server.calls.unary(waitFor, { who: { case: "group", value: "g" }, position: 99n }, options),
    );
    const others = server.calls.stream(subscribe, {}, admin)[Symbol.asyncIterator]();
    await nextOf(others);

    await revokeTokens(folder.tokensFile, "svc", Date.now());
    const ended = [drained(subscription), drained(pipe.answers), drained(member.answers), waiting];
    for (const failure of await Promise.all(ended)) {
      expect(failure).toMatchObject({
        code: 16,
        reason: "UNAUTHENTICATED",
        info: { credential: "revoked" },
      });
    }
    expect(await server.calls.failure(getInfo, {}, options)).toMatchObject({ code: 16 });
    // Nobody else notices.
    await server.calls.unary(append, event("b"), admin);
    let next = await nextOf(others);
    while (next.message.case !== "batch") next = await nextOf(others);
    expect(next.message.value.events[0]?.stream).toBe("b");
  });

  test("ends a pipe in the middle of its appends, each of which is answered or unknown", async () => {
    const options = await known("svc", ["admin"]);
    const pipe = server.calls.pipe(appendPipe, options);
    const sending = setInterval(() => {
      for (let i = 0; i < 50; i++) pipe.send({ append: event("busy") });
    }, 1);
    await nextOf(pipe.answers);
    await revokeTokens(folder.tokensFile, "svc", Date.now());
    const failure = await drained(pipe.answers);
    clearInterval(sending);
    expect(failure).toMatchObject({ code: 16, info: { credential: "revoked" } });
  });

  test("may be a role, which ends what it allowed", async () => {
    const options = await known("svc", ["orders"]);
    const subscription = server.calls.stream(subscribe, ofOrders, options)[Symbol.asyncIterator]();
    await nextOf(subscription);
    folder.write({ roles: { orders: { ...orders, read: ["other-"] } } });
    expect(await drained(subscription)).toMatchObject({
      code: 7,
      reason: "PERMISSION_DENIED",
      info: { principal: "svc", permission: "read", scope: "orders-" },
    });
    await server.calls.unary(append, event("orders-1"), options);
  });

  test("may have expired by itself", async () => {
    const options = await known("svc", ["reader"], Date.now() + 3_000);
    const subscription = server.calls.stream(subscribe, {}, options)[Symbol.asyncIterator]();
    await nextOf(subscription);
    expect(await drained(subscription)).toMatchObject({
      code: 16,
      info: { credential: "expired" },
    });
  });
});

/** How the answers end. */
async function drained(answers: AsyncIterator<unknown>) {
  return failedOf(
    (async () => {
      while ((await answers.next()).done !== true);
    })(),
  );
}

describe("a change of the files", () => {
  test("that cannot be read leaves what was read before, and is reported", async () => {
    const options = await known("svc", ["orders"]);
    writeFileSync(folder.accessFile, '{"roles":{"orders":{"reed":"*"}}}');
    await eventually(async () => {
      const line = server.lines.find(({ level }) => level === "error");
      expect(line?.message).toContain("what was read before is in force");
      expect(line?.["error"]).toContain("access.json:1: roles.orders.reed: is none of read");
    });
    rmSync(folder.tokensFile);
    await server.calls.unary(append, event("orders-1"), options);
    folder.write({ roles: { orders: { read: "*" } } });
    writeFileSync(folder.tokensFile, '{"tokens":[]}');
    await eventually(async () => {
      expect(await server.calls.failure(getInfo, {}, options)).toMatchObject({ code: 16 });
    });
  });
});

describe("what a request touches", () => {
  test("is judged for each append of a pipe", async () => {
    const options = await known("svc", ["orders"]);
    const pipe = server.calls.pipe(appendPipe, options);
    pipe.send({ append: event("orders-1") });
    pipe.send({ append: event("invoices-1") });
    pipe.send({ append: event("orders-1") });
    pipe.end();
    const outcomes = [];
    for (let i = 0; i < 3; i++) outcomes.push((await nextOf(pipe.answers)).outcome);
    expect(outcomes).toMatchObject([
      { case: "appended" },
      { case: "failure", value: { code: 7 } },
      { case: "appended" },
    ]);
  });

  test("is judged for a group by the query of its definition", async () => {
    const admin = await known("root", ["admin"]);
    const options = await known("svc", ["orders"]);
    const items = [{ streamPrefixes: ["orders-"] }];
    await server.calls.unary(createGroup, { name: "shipping-all" }, admin);
    await server.calls.unary(
      createGroup,
      { name: "shipping", settings: { query: { items } } },
      admin,
    );
    const joining = async (group: string) => {
      const member = server.calls.pipe(consume, options);
      member.send({ message: { case: "join", value: { group, permits: 1 } } });
      try {
        return await nextOf(member.answers);
      } finally {
        member.cancel();
      }
    };
    expect((await joining("shipping")).message.case).toBe("joined");
    expect(await failedOf(joining("shipping-all"))).toMatchObject({ info: { scope: "*" } });
    expect(
      await server.calls.failure(listParked, { group: "shipping-all" }, options),
    ).toMatchObject({
      code: 7,
    });
    expect(await failedOf(joining("nothing"))).toMatchObject({
      code: 7,
      info: { scope: "nothing" },
    });
  });

  test("is refused with what is missing, and nothing is stored", async () => {
    const options = await known("svc", ["orders"]);
    const everything = { query: { items: [] }, after: 0n };
    const conditions = [everything];
    const request: MessageInitShape<typeof append.input> = { ...event("orders-1"), conditions };
    expect(await server.calls.failure(append, request, options)).toMatchObject({
      code: 7,
      message: 'principal "svc" lacks read for everything',
      info: { principal: "svc", permission: "read", scope: "*" },
    });
    expect(await server.calls.failure(read, {}, options)).toMatchObject({ code: 7 });
    const missing = { stream: "orders-1" };
    expect(await server.calls.failure(getStream, missing, options)).toMatchObject({ code: 5 });
  });
});

describe("guesses", () => {
  test("from one address are refused before they are looked at", async () => {
    const options = await known("svc", ["reader"]);
    const reasons = [];
    for (let i = 0; i < 40; i++) {
      const guess = showing(`annals_0123456789ab_${String(i).padStart(43, "x")}`);
      reasons.push((await server.calls.failure(getInfo, {}, guess)).reason);
    }
    expect(reasons.slice(0, 10)).toEqual(Array<string>(10).fill("UNAUTHENTICATED"));
    expect(reasons).toContain("OVERLOADED");
    await server.calls.unary(getInfo, {}, options);
  });
});

describe("a start", () => {
  test("is refused with a line for each fault of the files", async () => {
    writeFileSync(folder.accessFile, '{"roles":{"a":{"read":"all"}},\n"principals":5}');
    const config = configOf("--memory", "--port", "0", ...folder.flags);
    const { logger } = recordingLogger();
    const failure: unknown = await startServer(config, logger).catch((error: unknown) => error);
    expect(startFailure(failure, config)?.split("\n").slice(1)).toEqual([
      `${folder.accessFile}:1: roles.a.read: is neither "*" nor a list of prefixes`,
      `${folder.accessFile}:2: principals: is not an object`,
    ]);
  });

  test("is refused where a file is missing", async () => {
    const missing = join(folder.path, "nothing.json");
    const config = configOf("--memory", "--port", "0", "--tokens-file", missing);
    const { logger } = recordingLogger();
    const failure: unknown = await startServer(config, logger).catch((error: unknown) => error);
    expect(startFailure(failure, config)).toContain(
      `--tokens-file (ANNALS_TOKENS_FILE): ${missing}: no such file`,
    );
  });

  test("says where tokens would cross the network in the clear", async () => {
    const remote = ["--host", "0.0.0.0", "--allow-remote", ...folder.flags];
    const open = await startTestServer(remote);
    const warning = open.lines.find(({ level }) => level === "warn");
    expect(warning?.message).toContain("in the clear");
    await open.stop();
  });
});
