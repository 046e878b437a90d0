// Requests that are answered at once, while the client takes no answers: what still comes of them is
// given back to the budget.
import { expect, onTestFinished, test } from "vitest";
import { hpackOf } from "../../../src/http2/hpack-encoder.ts";
import { flag, setting, type } from "../../../src/http2/protocol.ts";
import { data, frame, RawClient, settings, uint32 } from "../../http2/raw-client.ts";
import { turn } from "../../http2/served.ts";
import { startBareServer } from "../../support/bare-server.ts";

const windowMax = 2 ** 31 - 1;

function headers(id: number, path: string): Buffer {
  const fields: [string, string][] = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "here"],
    ["content-type", "application/grpc"],
  ];
  return frame(type.headers, flag.endHeaders, id, hpackOf(fields));
}

test("what comes of a refused request is given back, also behind a full output", async () => {
  const piece = Buffer.alloc(100_000);
  const server = await startBareServer({
    async *read() {
      for (;;) yield piece;
    },
  });
  onTestFinished(() => server.stop());
  const client = new RawClient(server.port, settings([setting.initialWindowSize, windowMax]));
  client.send(frame(type.windowUpdate, 0, 0, uint32(windowMax - 65_535)));
  await client.settle();
  client.socket.pause();
  // More than the sockets of both sides hold.
  const reads = 60;
  for (let i = 0; i < reads; i++) {
    client.send(headers(2 * i + 1, "/annals.v1.EventStoreService/Read"));
    client.send(data(2 * i + 1, 5, flag.endStream));
  }
  const isFull = (): boolean => server.memory.bytes > reads * 100_000 * 0.9;
  await expect.poll(isFull, { timeout: 10_000 }).toBe(true);
  const before = server.memory.bytes;
  for (let i = reads; i < reads + 20; i++) {
    client.send(headers(2 * i + 1, "/none"), data(2 * i + 1, 10_000));
  }
  for (let i = 0; i < 100; i++) await turn();
  expect(server.memory.bytes - before).toBeLessThan(20 * 10_000);
  client.destroy();
  await expect.poll(() => server.memory.bytes, { timeout: 10_000 }).toBe(0);
});
