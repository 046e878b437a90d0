// A client that shows a token: as a text, or from a function that is asked before each call.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AccessDeniedError, connect, type ConnectOptions } from "../../../src/client/sdk.ts";
import { accessFolder, type AccessFolder } from "../../support/access.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";

let folder: AccessFolder;
let server: TestServer;
const cleanUp: (() => void)[] = [];
beforeEach(() => {
  folder = accessFolder();
});
afterEach(async () => {
  for (const step of cleanUp.splice(0)) step();
  await server.stop();
  folder.remove();
});

async function start(): Promise<void> {
  server = await startTestServer(folder.flags);
}

function clientWith(options: ConnectOptions) {
  const client = connect({ address: server.address, ...options });
  cleanUp.push(() => client.close());
  return client;
}

const event = { type: "A", data: {} };

describe("a client", () => {
  test("shows its token with calls of every kind", async () => {
    const token = await folder.token("svc", ["service"]);
    await start();
    const client = clientWith({ token });
    await client.append("s", event);
    const appender = client.appender();
    await appender.append("s", event);
    await appender.close();
    const read = [];
    for await (const one of client.read({ stream: "s" })) read.push(one.version);
    expect(read).toEqual([1, 2]);
    for await (const one of client.subscribe({ stream: "s" })) {
      if (one.version === 2) break;
    }
  });

  test("without a token, or without the grant, fails with a reason and does not retry", async () => {
    const token = await folder.token("svc", ["reader"]);
    await start();
    const nobody = clientWith({});
    await expect(nobody.append("s", event)).rejects.toMatchObject({
      code: "ACCESS_DENIED",
      reason: "UNAUTHENTICATED",
      isTransient: false,
      mayHaveBeenStored: false,
    });
    const denied = await clientWith({ token })
      .append("s", event)
      .catch((error: unknown) => error);
    expect(denied).toBeInstanceOf(AccessDeniedError);
    expect(denied).toMatchObject({ reason: "PERMISSION_DENIED", isTransient: false });
  });

  test("whose function fails makes no call, and says why", async () => {
    await start();
    const token = () => Promise.reject(new Error("no issuer"));
    await expect(clientWith({ token }).append("s", event)).rejects.toMatchObject({
      code: "ACCESS_DENIED",
      message: "no token: no issuer",
    });
    expect(server.lines.filter(({ message }) => message === "call failed")).toEqual([]);
  });

  test("goes on with a subscription after its token has expired, with the next one", async () => {
    const endsMs = Date.now() + 2_500;
    const first = await folder.token("svc", ["service"], endsMs);
    const second = await folder.token("svc", ["service"]);
    await start();
    const asked: string[] = [];
    const token = async () => {
      const next = Date.now() < endsMs ? first : second;
      asked.push(next);
      return next;
    };
    const client = clientWith({ token });
    await client.append("s", event);
    const versions = [];
    for await (const { version } of client.subscribe({ stream: "s" })) {
      versions.push(version);
      if (version === 2) break;
      while (Date.now() <= endsMs) await new Promise((resolve) => setTimeout(resolve, 50));
      await client.append("s", event);
    }
    expect(versions).toEqual([1, 2]);
    expect(new Set(asked)).toEqual(new Set([first, second]));
  });
});
