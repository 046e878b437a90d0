// Few compressed messages are inflated at a time, however many connections send them at once: each
// chunk and each whole message that is done takes its part of a turn of the event loop.
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import type { Http2Stream } from "../../../src/http2/api.ts";
import {
  Stopping,
  type Call,
  type CallEnvironment,
} from "../../../src/grpc/transport/call-environment.ts";
import { grpcFormat } from "../../../src/grpc/transport/call-format.ts";
import { Incoming } from "../../../src/grpc/transport/incoming.ts";
import { Turns } from "../../../src/grpc/transport/turns.ts";
import { messageFrame } from "../../support/raw-connection.ts";

const atOnce = 3;
const callCount = 20;
const messageBytes = 1_000_000;

test("a crowd of compressed requests is inflated a few at a time, and all of it", async () => {
  const turns = new Turns(atOnce);
  let [running, most, heldBytes] = [0, 0, 0];
  const inflations = {
    make: <T>(call: Call, work: () => Promise<T>) =>
      turns.make(call, async () => {
        most = Math.max(most, ++running);
        return work().finally(() => running--);
      }),
  };
  const environment = { stopping: new Stopping(), inflations } as unknown as CallEnvironment;
  const stream = {
    take: (bytes: number) => ((heldBytes += bytes), true),
    release: (bytes: number) => void (heldBytes -= bytes),
    allow() {},
  } as unknown as Http2Stream;
  const options = {
    compression: "gzip",
    receiveBytesMax: 2 * messageBytes,
    isOneRequest: true,
    format: grpcFormat,
    requestTimes: { idleMs: 1_000, wholeMs: 1_000 },
  } as unknown as ConstructorParameters<typeof Incoming>[1];
  const frame = messageFrame(gzipSync(Buffer.alloc(messageBytes)), { flag: 1 });
  const whole = Array.from({ length: callCount }, () => {
    const call = { gate: {}, aborted: false, reason: undefined } as unknown as Call;
    let isRead = false;
    return new Promise<Buffer>((resolve) => {
      const incoming: Incoming = new Incoming(stream, options, call, environment, () => {
        const message = isRead ? undefined : incoming.single();
        if (message === undefined) return;
        isRead = true;
        resolve(message);
      });
      incoming.push(frame);
      incoming.complete();
    });
  });
  const lengths = (await Promise.all(whole)).map(({ length }) => length);
  expect(lengths).toEqual(Array.from({ length: callCount }, () => messageBytes));
  expect(most).toBe(atOnce);
});
