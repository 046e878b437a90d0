// Where there is no server: told soon and in words, whatever patience there is with a server that was
// reached before; and an error that is printed fits a screen.
import { createServer, type AddressInfo, type Server, type Socket } from "node:net";
import { inspect } from "node:util";
import type { sendUnaryData } from "@grpc/grpc-js";
import { create } from "@bufbuild/protobuf";
import { afterEach, describe, expect, test } from "vitest";
import {
  connect,
  type AnnalsClient,
  type ConnectOptions,
  type JsonEvent,
} from "../../../src/client/sdk.ts";
import { CallError } from "../../../src/client/rpc/call-error.ts";
import { GetInfoResponseSchema } from "../../../src/gen/annals/v1/info_pb.js";
import { startTestServer } from "../../support/running-server.ts";
import { scripted } from "../rpc/scripted-server.ts";

const cleanUp: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const step of cleanUp.splice(0).toReversed()) await step();
});

const hour = 3_600_000;
/** What would go on for an hour, were it not for the first connection. */
const patient = {
  timeoutMs: hour,
  attemptTimeoutMs: hour,
  connectTimeoutMs: 50,
  retry: { attemptsMax: 1_000_000, delayMinMs: 1, delayMaxMs: 1 },
};

function clientOf(options: ConnectOptions): AnnalsClient<JsonEvent> {
  const client = connect({ ...patient, ...options });
  cleanUp.push(() => client.close());
  return client;
}

/** A port that takes connections and says nothing. */
async function silentAddress(): Promise<string> {
  const sockets: Socket[] = [];
  const server: Server = createServer((socket) => sockets.push(socket));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  cleanUp.push(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

const event = { type: "A" };

describe("without a server", () => {
  const nobody = "127.0.0.1:1";
  const told = {
    code: "UNAVAILABLE",
    reason: "UNREACHABLE",
    message: `no server at ${nobody}: connect ECONNREFUSED ${nobody}`,
    isTransient: true,
    mayHaveBeenStored: false,
  };

  test.each<[string, (client: AnnalsClient<JsonEvent>) => Promise<unknown>]>([
    ["a call", (client) => client.info()],
    ["an append", (client) => client.append("s", event)],
    ["a read", (client) => client.read().toArray()],
    [
      "a load",
      (client) => client.load("s", { initial: () => 0, evolve: () => 0, fromSnapshot: () => 0 }),
    ],
    ["a subscription", (client) => client.subscribe()[Symbol.asyncIterator]().next()],
    [
      "a subscription from now on",
      (client) => client.subscribe({ after: "end" })[Symbol.asyncIterator]().next(),
    ],
    ["a member of a group", (client) => client.group("g").work(() => {})],
    ["a list", (client) => client.streams()[Symbol.asyncIterator]().next()],
  ])("%s fails soon, and says where nobody is", async (_, call) => {
    await expect(call(clientOf({ address: nobody }))).rejects.toMatchObject(told);
  });

  test("an append of a pipe is refused, and the pipe can be used again", async () => {
    const appender = clientOf({ address: nobody }).appender();
    for (let round = 0; round < 2; round += 1) {
      const { outcome } = await appender.append("s", event);
      expect(await outcome).toMatchObject({ kind: "refused", error: told });
    }
    await appender.close();
  });

  test("a name that nobody knows is named", async () => {
    const info = clientOf({ address: "no-such-host.invalid:7420" }).info();
    await expect(info).rejects.toMatchObject({ code: "UNAVAILABLE", mayHaveBeenStored: false });
    await expect(info).rejects.toThrow("no-such-host.invalid:7420");
  });

  test("a port that says nothing is as good as none", async () => {
    const address = await silentAddress();
    const info = clientOf({ address }).info();
    await expect(info).rejects.toMatchObject({ code: "UNAVAILABLE", mayHaveBeenStored: false });
    await expect(info).rejects.toThrow(`no server answers at ${address}`);
  });

  test("a signal ends the wait with its own reason, and work that is left in order", async () => {
    const address = await silentAddress();
    const client = clientOf({ address, connectTimeoutMs: hour });
    const reason = new Error("enough");
    const stop = new AbortController();
    const { signal } = stop;
    const working = clientOf({ address, connectTimeoutMs: hour })
      .group("g", { signal })
      .work(() => {});
    const info = client.info({ signal });
    setTimeout(() => stop.abort(reason), 20);
    await expect(info).rejects.toBe(reason);
    await expect(working).resolves.toBeUndefined();
  });
});

describe("a read with a bound on its time", () => {
  test("keeps it, also while the store is asked who it is", async () => {
    const server = await scripted({ getInfo: () => {}, read: () => {} });
    cleanUp.push(() => server.stop());
    const { address } = server.connect();
    const client = clientOf({ address, connectTimeoutMs: hour });
    const reading = client.read({ timeoutMs: 100 }).toArray();
    await expect(reading).rejects.toMatchObject({ code: "TIMED_OUT" });
  });
});

test("a server that was reached is tried again for as long as the call may take", async () => {
  let calls = 0;
  const server = await scripted({
    getInfo: (_: unknown, answer: sendUnaryData<unknown>) => {
      calls += 1;
      if (calls % 4 === 0) answer(null, create(GetInfoResponseSchema, { storeId: "s" }));
      else answer({ code: 14, details: "not now" });
    },
  });
  cleanUp.push(() => server.stop());
  const { address } = server.connect();
  const client = clientOf({ address });
  await client.info();
  await client.info();
  expect(calls).toBe(8);
});

test("a conflict that is printed says what it is about, and fits a screen", async () => {
  const server = await startTestServer();
  cleanUp.push(() => server.stop());
  const client = clientOf({ address: server.address, connectTimeoutMs: hour });
  const append = () => client.append("account-1", event, { expect: 0 });
  await append();
  const error: unknown = await append().catch((caught: unknown) => caught);
  const printed = inspect(error);
  expect(printed.split("\n").length).toBeLessThanOrEqual(20);
  expect(printed).toContain('stream "account-1" is at version 1, expected version 0');
  expect(printed).toContain("{ stream: 'account-1', expected: 0, actualVersion: 1 }");
  expect(printed).toContain("[cause]: [CallError: ABORTED, APPEND_CONFLICT");
  const { cause } = error as Error;
  expect(inspect(cause).split("\n").length).toBeLessThanOrEqual(40);
  expect(inspect(cause)).toContain("APPEND_CONFLICT");
  expect(cause).toBeInstanceOf(CallError);
});
