// The reading of sockets in turns: connections that send a lot wait, and no others; all of it arrives,
// and what a socket may hold meanwhile is drawn from the budget.
import { afterEach, describe, expect, test } from "vitest";
import { ReadPace } from "../../src/sockets/read-pace.ts";
import type { Http2Options } from "../../src/http2/api.ts";
import { flag } from "../../src/http2/protocol.ts";
import { data, RawClient, request } from "./raw-client.ts";
import { ok, serve, taken, trailers, turn, type Served } from "./served.ts";

const MiB = 1024 * 1024;

/** Reads what a turn may, and one more piece. Returns how many pieces that was. */
function exhaust(pace: ReadPace): number {
  for (let pieces = 1; ; pieces++) if (!pace.took(64 * 1024)) return pieces;
}

describe("a pace", () => {
  test("lets a turn read a quarter of a mebibyte", async () => {
    const pace = new ReadPace();
    expect(exhaust(pace)).toBe(4);
    expect(pace.took(64 * 1024)).toBe(false);
    await turn();
    expect(pace.took(64 * 1024)).toBe(true);
  });

  test("calls those that wait in their order, as many as fill a turn", async () => {
    const pace = new ReadPace();
    exhaust(pace);
    const called: number[] = [];
    const waiting = Array.from({ length: 12 }, (_, i) => () => void called.push(i));
    for (const each of waiting) pace.wait(each);
    await turn();
    expect(called).toEqual([...waiting.keys()].slice(0, 4));
    await turn();
    expect(called.length).toBe(8);
    await turn();
    expect(called).toEqual([...waiting.keys()]);
  });
});

describe("connections that send a lot", () => {
  let served: Served;
  const clients: RawClient[] = [];

  afterEach(async () => {
    for (const client of clients.splice(0)) client.destroy();
    await served.finish();
  });

  test("are all served, take turns, and hold up no small request", async () => {
    const largeCount = 40;
    const order: string[] = [];
    let receivedBytes = 0;
    served = await serve((stream) => ({
      onData: (part) => {
        receivedBytes += part.length;
        taken(stream, part.length);
      },
      onEnd: () => {
        order.push(stream.headers.get("x-size") ?? "");
        stream.respond(ok);
        stream.end(trailers);
      },
    }));
    const frames = Array.from({ length: 16 }, () => data(1, 16_000));
    const large = Array.from({ length: largeCount }, () => new RawClient(served.port));
    const small = new RawClient(served.port);
    clients.push(...large, small);
    await Promise.all(clients.map((client) => client.settle()));
    const begin = request(1, [["x-size", "large"]], flag.endHeaders);
    // 256 KB each, many turns together.
    for (const client of large) client.send(begin, ...frames, data(1, 0, flag.endStream));
    small.send(request(1, [["x-size", "small"]]));
    for (const client of clients) {
      while (!client.hasEnded(1)) await client.settle();
    }
    expect(receivedBytes).toBe(largeCount * 256_000);
    expect(receivedBytes).toBeGreaterThan(4 * 2 * MiB);
    expect(order.filter((size) => size === "small").length).toBe(1);
    expect(order.length).toBe(largeCount + 1);
    expect(served.budget.highest).toBeGreaterThan(0);
  });

  test("lose nothing where the budget has no room for a socket that waits", async () => {
    let receivedBytes = 0;
    served = await serve((stream) => ({
      onData: (part) => {
        receivedBytes += part.length;
        taken(stream, part.length);
        served.budget.max = served.budget.held + 32 * 1024;
      },
      onEnd: () => stream.respond(ok, true),
    }));
    const client = new RawClient(served.port);
    clients.push(client);
    await client.settle();
    client.send(request(1, [], flag.endHeaders));
    for (let i = 0; i < 256; i++) client.send(data(1, 16_000));
    client.send(data(1, 0, flag.endStream));
    while (!client.hasEnded(1)) await client.settle();
    expect(receivedBytes).toBe(256 * 16_000);
    served.budget.max = Infinity;
  });
});

test("clients of another protocol begin a few in a turn, and lose nothing", async () => {
  const said = "GET / HTTP/1.1\r\n\r\n";
  const came: string[] = [];
  let [inTurn, most] = [0, 0];
  const onOtherProtocol: Http2Options["onOtherProtocol"] = (socket, firstBytes) => {
    if (++inTurn === 1) setImmediate(() => (inTurn = 0));
    most = Math.max(most, inTurn);
    came.push(firstBytes.toString());
    socket.destroy();
  };
  const served = await serve(() => ({}), {}, { onOtherProtocol });
  const clients = Array.from({ length: 30 }, () => new RawClient(served.port, false));
  for (const client of clients) client.send(Buffer.from(said));
  while (came.length < clients.length) await turn();
  expect(came).toEqual(clients.map(() => said));
  expect(most).toBeLessThanOrEqual(4);
  await served.finish();
});
