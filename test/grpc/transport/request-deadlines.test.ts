// Requests must go on, and come to their end; connections that are refused are told of once a
// minute.
import { describe, expect, test } from "vitest";
import { RequestDeadline, type Awaited } from "../../../src/grpc/transport/request-deadlines.ts";
import { refusalLog } from "../../../src/grpc/transport/grpc-server.ts";
import { startBareServer } from "../../support/bare-server.ts";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";
import { recordingLogger } from "../../support/running-server.ts";

const times = { idleMs: 10_000, wholeMs: 60_000 };

/** A request that is looked at once a second. */
function looked() {
  const deadline = new RequestDeadline(times);
  let nowMs = 1_000_000;
  /** The limit that was met within so many seconds. Undefined: none. */
  const pass = (seconds: number, awaited: () => Awaited | undefined): string | undefined => {
    for (let i = 0; i < seconds; i++) {
      nowMs += 1_000;
      const overdue = deadline.overdue(awaited(), nowMs);
      if (overdue !== undefined) return overdue.message.split(":")[0];
    }
    return undefined;
  };
  return { pass };
}

describe("a request", () => {
  test("of which nothing comes is over after its idle time", () => {
    const { pass } = looked();
    const awaited = { message: 0, bytes: 100 };
    expect(pass(10, () => awaited)).toBe(undefined);
    expect(pass(1, () => awaited)).toBe("request_idle_seconds");
  });

  test("that grows by little at a time is over after its whole time", () => {
    const { pass } = looked();
    let bytes = 0;
    const growing = () => ({ message: 0, bytes: ++bytes });
    expect(pass(60, growing)).toBe(undefined);
    expect(pass(1, growing)).toBe("request_seconds");
  });

  test("that is not awaited may take its time, and has all of it anew afterwards", () => {
    const { pass } = looked();
    const awaited = { message: 0, bytes: 1 };
    expect(pass(5, () => awaited)).toBe(undefined);
    expect(pass(100, () => undefined)).toBe(undefined);
    expect(pass(10, () => awaited)).toBe(undefined);
    expect(pass(1, () => awaited)).toBe("request_idle_seconds");
  });

  test("of many messages has the time for each of them", () => {
    const { pass } = looked();
    let message = 1;
    expect(pass(300, () => ({ message: ++message, bytes: 5 }))).toBe(undefined);
    expect(pass(10, () => ({ message, bytes: 5 }))).toBe("request_idle_seconds");
  });
});

test("a client that sends half a request hears which limit it met", async () => {
  const server = await startBareServer({}, { requestTimes: { idleMs: 1, wholeMs: 60_000 } });
  const connection = new RawConnection(server.port);
  const stream = connection.request("/annals.v1.EventStoreService/Read");
  stream.write(messageFrame(Buffer.alloc(10), { length: 60_000 }));
  const { code, message } = await connection.outcome(stream);
  expect(code).toBe(4);
  expect(message).toContain("request_idle_seconds");
  connection.close();
  await server.stop();
});

test("a limit that keeps connections out is logged once a minute", () => {
  const { logger, lines } = recordingLogger();
  let nowMs = 0;
  const refused = refusalLog(logger, () => nowMs);
  const warnings = () => lines.filter(({ level }) => level === "warn");
  for (let i = 0; i < 1_000; i++) refused("connectionsMax", "10.0.0.1:1");
  refused("handshakeMs", "10.0.0.1:1");
  expect(warnings()).toHaveLength(1);
  nowMs = 60_000;
  refused("connectionsMax", "10.0.0.1:1");
  refused("connectionsPerAddressMax", "10.0.0.1:1");
  expect(warnings()).toHaveLength(3);
  expect(warnings()[1]).toMatchObject({ refusedSinceLastReport: 1_000 });
});
