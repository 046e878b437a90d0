// What a connection must do within a time, and how it ends: by its client, by age, by a stop.
import { createServer } from "node:http";
import { connect } from "node:http2";
import { connect as connectSocket } from "node:net";
import { afterEach, describe, expect, test } from "vitest";
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import type { Http2Limits } from "../../src/http2/limits.ts";
import { flag, preface, type } from "../../src/http2/protocol.ts";
import { data, frame, RawClient, request, settings, uint32 } from "./raw-client.ts";
import { answering, ok, serve, trailers, turn, type Script, type Served } from "./served.ts";

let served: Served;
const clients: RawClient[] = [];

async function started(limits: Partial<Http2Limits> = {}, script: Script = answering) {
  served = await serve(script, limits);
}

function raw(begin?: Buffer | false): RawClient {
  const client = new RawClient(served.port, begin);
  clients.push(client);
  return client;
}

afterEach(async () => {
  for (const client of clients.splice(0)) client.destroy();
  await served.finish();
});

describe("a client that is silent is cut off", () => {
  test.each<[string, Buffer | false]>([
    ["from the beginning", false],
    ["within its preface", preface.subarray(0, 10)],
  ])("%s", async (_, bytes) => {
    await started({ handshakeMs: 50 });
    const client = raw(false);
    if (bytes !== false) client.send(bytes);
    await client.closed;
    expect(served.refusals).toEqual(["handshakeMs"]);
  });

  test("behind its preface", async () => {
    await started({ handshakeMs: 50 });
    const client = raw(Buffer.alloc(0));
    await client.closed;
    expect(client.has(type.settings, 0)).toBe(true);
    expect(served.refusals).toEqual(["handshakeMs"]);
  });

  test.each<[string, Buffer]>([
    ["within a frame's head", data(1, 5).subarray(0, 4)],
    ["within a frame", data(1, 5).subarray(0, 12)],
    ["within a block of headers", frame(type.headers, 0, 3, hpackOf(ok.fields))],
  ])("%s", async (_, bytes) => {
    await started({ frameMs: 50 }, () => ({}));
    const client = raw();
    client.send(request(1, [], flag.endHeaders));
    await client.settle();
    client.send(bytes);
    expect(await client.goAway()).toMatchObject({ code: 11, reason: "frameMs" });
  });

  test("where it does not answer a PING", async () => {
    await started({ keepaliveMs: 50, keepaliveTimeoutMs: 50 });
    const client = raw();
    await client.frame(type.ping);
    await client.closed;
    expect(served.refusals).toEqual(["keepaliveTimeoutMs"]);
  });
});

test("a client that never acknowledges our settings is served: they hold from the beginning", async () => {
  await started({ concurrentStreamsMax: 1 });
  const socket = connectSocket(served.port, "127.0.0.1");
  const frames: Buffer[] = [];
  socket.on("data", (bytes: Buffer) => frames.push(bytes));
  socket.write(Buffer.concat([preface, settings(), request(1, [], flag.endHeaders), request(3)]));
  const refused = frame(type.resetStream, 0, 3, uint32(7));
  while (!Buffer.concat(frames).includes(refused)) await turn();
  socket.write(data(1, 0, flag.endStream));
  const answer = hpackOf(trailers.fields);
  while (!Buffer.concat(frames).includes(answer)) await turn();
  expect(served.refusals).toEqual([]);
  socket.destroy();
});

test("a client that answers PINGs lives on", async () => {
  await started({ keepaliveMs: 30, keepaliveTimeoutMs: 60 });
  const session = connect(`http://127.0.0.1:${served.port}`);
  const pings: unknown[] = [];
  session.on("ping", (payload) => pings.push(payload));
  while (pings.length < 10) await turn();
  expect(session.closed).toBe(false);
  session.close();
});

describe("a drain", () => {
  test("tells the client twice, takes what was under way, and ends when that is done", async () => {
    await started({}, (stream) => ({ onEnd: () => held.push(() => stream.respond(ok, true)) }));
    const held: (() => void)[] = [];
    const client = raw();
    client.send(request(1));
    await client.settle();
    const stopped = served.stop(60_000);
    expect(await client.goAway()).toEqual({ last: 2 ** 31 - 1, code: 0, reason: "" });
    const { payload } = await client.frame(type.ping);
    client.send(request(3));
    await client.settle();
    client.send(frame(type.ping, flag.ack, 0, payload), request(5));
    await client.settle();
    const goAways = client.frames.filter((each) => each.type === type.goAway);
    expect(goAways.map((each) => each.payload.readUInt32BE(0))).toEqual([2 ** 31 - 1, 3]);
    expect(await client.resetCode(5)).toBe(7);
    expect(client.isClosed).toBe(false);
    for (const answer of held.splice(0)) answer();
    await client.closed;
    expect([client.hasEnded(1), client.hasEnded(3)]).toEqual([true, true]);
    expect(await stopped).toBe(0);
  });

  test("of a client that is frozen takes the grace and no longer, and is counted", async () => {
    await started({}, (stream) => {
      stream.respond(ok);
      return {};
    });
    const client = raw();
    client.send(request(1, [], flag.endHeaders));
    await client.frame(type.headers, 1);
    client.socket.pause();
    expect(await served.stop(100)).toBe(1);
    await served.empty();
  });

  test("of idle clients is over at once", async () => {
    await started();
    const session = connect(`http://127.0.0.1:${served.port}`);
    await new Promise((resolve) => session.once("remoteSettings", resolve));
    expect(await served.stop(60_000)).toBe(0);
    session.destroy();
  });

  test("comes with a connection's age, and has a grace", async () => {
    await started({ connectionAgeMs: 50, connectionAgeGraceMs: 50 }, () => ({}));
    const client = raw();
    client.send(request(1));
    expect((await client.goAway()).code).toBe(0);
    await client.closed;
    const last = client.frames.findLast((each) => each.type === type.goAway);
    expect(last?.payload.toString("latin1", 8)).toBe("connectionAgeGraceMs");
  });
});

describe("a client that goes", () => {
  test("ends its streams, however it goes", async () => {
    const resets: number[] = [];
    await started({}, () => ({ onReset: (code) => resets.push(code) }));
    const ways: ((client: RawClient) => void)[] = [
      (client) => client.socket.end(),
      (client) => client.socket.destroy(),
      (client) => client.socket.resetAndDestroy(),
    ];
    for (const go of ways) {
      const client = raw();
      client.send(request(1), request(3, [], flag.endHeaders));
      await client.settle();
      go(client);
      await served.empty();
    }
    expect(resets).toEqual([8, 8, 8, 8, 8, 8]);
  });

  test("by GOAWAY gets the answers it waits for", async () => {
    const answers: (() => void)[] = [];
    await started({}, (stream) => ({
      onEnd: () => {
        answers.push(() => {
          stream.respond(ok);
          stream.end(trailers);
        });
      },
    }));
    const client = raw();
    client.send(request(1), frame(type.goAway, 0, 0, uint32(0, 0)));
    await client.settle();
    for (const answer of answers) answer();
    await client.closed;
    expect(client.hasEnded(1)).toBe(true);
  });
});

describe("another protocol", () => {
  test("on the port is closed, where nobody is there for it", async () => {
    await started();
    for (const bytes of ["GET / HTTP/1.1\r\n\r\n", "P", "PRI * HTTP/1.1\r\n\r\n", "\u0016\u0003"]) {
      const client = raw(false);
      client.socket.end(bytes, "latin1");
      await client.closed;
      expect(client.frames).toEqual([]);
    }
  });

  test("is handed on with its first bytes, and the server counts its connection no more", async () => {
    const http1 = createServer((_, response) => response.end("by HTTP/1.1"));
    served = await serve(
      answering,
      {},
      {
        onOtherProtocol: (socket, firstBytes) => {
          socket.unshift(firstBytes);
          http1.emit("connection", socket);
          socket.resume();
        },
      },
    );
    const answer = await fetch(`http://127.0.0.1:${served.port}/`);
    expect(await answer.text()).toBe("by HTTP/1.1");
    const posted = await fetch(`http://127.0.0.1:${served.port}/`, { method: "POST", body: "x" });
    expect(await posted.text()).toBe("by HTTP/1.1");
    const client = raw();
    client.send(request(1));
    await client.frame(type.headers, 1);
    expect(served.server.connectionCount).toBe(1);
    http1.closeAllConnections();
  });
});
