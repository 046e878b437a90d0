// Clients that stop reading or writing: the handler stops with them, what waits in the server is
// bounded in bytes, and when they are gone nothing of them is left.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { AppendResponseSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { clientMemory, startBareServer, type BareServer } from "../../support/bare-server.ts";
import { deferred, encode, type Calls } from "../../support/calls.ts";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";

const { getInfo } = EventStoreService.method;
const readPath = "/annals.v1.EventStoreService/Read";
const pipePath = "/annals.v1.EventStoreService/AppendPipe";

const messageBytes = 32 * 1024;
/** The client's window, what may be on its way, the message that went past it, and frames. */
const stoppedBytesMax = 65_535 + 192 * 1024 + 2 * messageBytes;

let server: BareServer;
let sent: number;
let taken: number;
let over: ReturnType<typeof deferred<string>>;
beforeEach(async () => {
  sent = 0;
  taken = 0;
  over = deferred();
  server = await startBareServer({
    async *read(_, call) {
      try {
        for (;;) {
          sent += messageBytes;
          yield Buffer.alloc(messageBytes);
        }
      } finally {
        over.resolve(call.reason?.reason ?? "not over");
      }
    },
    appendPipe: {
      async *bytes(requests, call) {
        const { promise: never } = deferred<void>();
        const cut = new Promise((resolve) => call.signal.addEventListener("abort", resolve));
        for await (const some of requests) {
          for (const request of some) {
            taken += request.length;
            await Promise.race([never, cut]);
          }
        }
        yield [encode(AppendResponseSchema, {})];
      },
    },
  });
});
afterEach(() => server.stop());

/** Turns of the event loop, with the network in between, in which nothing more happens. */
async function quiet(calls: Calls, progress: () => number): Promise<void> {
  let still = 0;
  for (let last = progress(); still < 20;) {
    await calls.failure(getInfo, {});
    still = progress() === last ? still + 1 : 0;
    last = progress();
  }
}

describe("a client that stops reading", () => {
  test.each([8, 0, 2])(
    "stops the handler near the bound, until it resets with %i",
    async (code) => {
      const connection = new RawConnection(server.port);
      const stream = connection.request(readPath);
      stream.end(messageFrame(Buffer.alloc(0)));
      await quiet(server.calls, () => sent);
      expect(sent).toBeGreaterThan(65_535);
      expect(sent).toBeLessThanOrEqual(stoppedBytesMax);
      stream.close(code);
      expect(await over.promise).toBe("CANCELLED");
      connection.close();
    },
  );

  test("and vanishes with its connection lets the handler go too", async () => {
    const connection = new RawConnection(server.port);
    const stream = connection.request(readPath);
    stream.end(messageFrame(Buffer.alloc(0)));
    await quiet(server.calls, () => sent);
    connection.close();
    expect(await over.promise).toBe("CANCELLED");
  });

  test("beyond its deadline lets the handler go", async () => {
    const connection = new RawConnection(server.port);
    const stream = connection.request(readPath, { "grpc-timeout": "80m" });
    stream.end(messageFrame(Buffer.alloc(0)));
    expect(await over.promise).toBe("DEADLINE_EXCEEDED");
    expect(sent).toBeLessThanOrEqual(stoppedBytesMax);
    connection.close();
  });

  test("and reads on gets everything in order", async () => {
    const connection = new RawConnection(server.port);
    const stream = connection.request(readPath);
    stream.end(messageFrame(Buffer.alloc(0)));
    await quiet(server.calls, () => sent);
    let received = 0;
    for await (const data of stream) {
      received += (data as Buffer).length;
      if (received > 50 * messageBytes) break;
    }
    expect(sent).toBeGreaterThan(50 * messageBytes);
    expect(await over.promise).toBe("CANCELLED");
    connection.close();
  });

  test("costs the same whether there is one of them or a hundred", async () => {
    const connection = new RawConnection(server.port);
    for (let i = 0; i < 100; i++) {
      connection.request(readPath).end(messageFrame(Buffer.alloc(0)));
    }
    await quiet(server.calls, () => sent);
    expect(sent).toBeGreaterThan(100 * messageBytes);
    expect(sent).toBeLessThanOrEqual(100 * stoppedBytesMax);
    connection.close();
  });

  test("is one of many that together hold what is allowed, and a message each", async () => {
    const connection = new RawConnection(server.port);
    const streams = Array.from({ length: 200 }, () => connection.request(readPath));
    for (const stream of streams) stream.end(messageFrame(Buffer.alloc(0)));
    await quiet(server.calls, () => sent);
    const { memory } = server;
    expect(memory.isLarge).toBe(true);
    const largeBytes = clientMemory.bytesMax / 2;
    const eachBytes = 2 * messageBytes;
    expect(memory.bytes).toBeLessThanOrEqual(largeBytes + 200 * eachBytes);
    expect(sent).toBeLessThanOrEqual(largeBytes + 200 * eachBytes + 2 * 65_535);
    // One that reads on gets on, whatever the others do.
    let received = 0;
    for await (const data of streams[150] as (typeof streams)[number]) {
      received += (data as Buffer).length;
      if (received > 50 * messageBytes) break;
    }
    for (const [i, stream] of streams.entries()) stream.close([8, 0, 2][i % 3]);
    connection.close();
    await quiet(server.calls, () => memory.bytes);
    expect(memory.bytes).toBeLessThan(largeBytes / 50);
  });
});

test.each([8, 0])("a pipe that is reset with %i while it is answered is over", async (code) => {
  const { promise: ended, resolve } = deferred<unknown>();
  const talking = await startBareServer({
    appendPipe: {
      async *bytes(requests, call) {
        call.signal.addEventListener("abort", () => resolve(call.reason?.reason));
        for await (const _ of requests) {
          for (;;) yield [Buffer.alloc(messageBytes)];
        }
      },
    },
  });
  const connection = new RawConnection(talking.port);
  const stream = connection.request(pipePath);
  stream.write(messageFrame(Buffer.alloc(0)));
  await new Promise((responded) => stream.once("response", responded));
  await talking.calls.failure(getInfo, {});
  stream.close(code);
  expect(await ended).toBe("CANCELLED");
  connection.close();
  await talking.stop();
});

describe("requests that never come to their end", () => {
  test("are refused as they grow beyond the bound of all; others pass", async () => {
    const bytesMax = 512 * 1024;
    const bounded = await startBareServer({}, {}, { bytesMax });
    const { memory, calls } = bounded;
    await calls.failure(getInfo, {});
    const before = memory.bytes;
    const connection = new RawConnection(bounded.port);
    const begun = Array.from({ length: 40 }, () => {
      const stream = connection.request(readPath);
      stream.write(messageFrame(Buffer.alloc(40_000), { length: 60_000 }));
      return { stream, outcome: connection.outcome(stream) };
    });
    await quiet(calls, () => memory.bytes);
    expect(memory.bytes).toBeGreaterThan(bytesMax / 2);
    expect(memory.bytes).toBeLessThanOrEqual(bytesMax);
    // As every answer of this server: not scripted, but it came to the handler.
    expect(await calls.failure(getInfo, {})).toMatchObject({ code: 13 });
    for (const each of begun) each.stream.close(8);
    const outcomes = await Promise.all(begun.map(({ outcome }) => outcome));
    const refused = outcomes.filter(({ code }) => code === 8);
    expect(refused.length).toBeGreaterThan(20);
    expect(refused[0]?.message).toContain("try again");
    connection.close();
    await quiet(calls, () => memory.bytes);
    expect(memory.bytes).toBe(before);
    await bounded.stop();
  });
});

describe("a pipe whose handler is busy", () => {
  test("is read ahead by bytes, not by messages", async () => {
    const connection = new RawConnection(server.port);
    const stream = connection.request(pipePath);
    let accepted = 0;
    const message = messageFrame(Buffer.alloc(60_000));
    for (let i = 0; i < 100; i++) stream.write(message, () => (accepted += message.length));
    await quiet(server.calls, () => accepted + taken);
    expect(taken).toBe(60_000);
    // One in the handler, one read ahead beyond 64 KiB, one in grpc-js, and HTTP/2's window.
    expect(accepted).toBeLessThan(6 * 60_000);
    stream.close(8);
    connection.close();
  });
});
