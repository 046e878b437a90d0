// Requests must go on, and come to their end; connections that are refused are told of once a
// minute.
import { describe, expect, test } from "vitest";
import { RequestDeadlines, type Awaited } from "../../../src/grpc/transport/request-deadlines.ts";
import { refusalLog } from "../../../src/grpc/transport/refusals.ts";
import { startBareServer } from "../../support/bare-server.ts";
import { handTimers, settled } from "../../support/hand-timers.ts";
import { messageFrame, RawConnection } from "../../support/raw-connection.ts";
import { recordingLogger } from "../../support/running-server.ts";

const times = { idleMs: 10_000, wholeMs: 60_000 };

function opened() {
  const timers = handTimers();
  const deadlines = new RequestDeadlines(times, timers);
  const failures: string[] = [];
  const request = (awaited: Awaited["awaited"]) => {
    const one = {
      awaited,
      fail: (error: Error) => void failures.push(error.message),
    };
    deadlines.watch(one);
    return one;
  };
  /** Seconds, in which `each` is called once a second. */
  const pass = (seconds: number, each = (): void => {}): void => {
    const until = timers.nowMs() + seconds * 1_000;
    timers.delay(seconds * 1_000, () => {});
    while (timers.nowMs() < until && timers.next()) each();
  };
  return { deadlines, failures, request, pass, timers };
}

describe("a request", () => {
  test("of which nothing comes is over after its idle time", () => {
    const { failures, request, pass } = opened();
    request({ message: 0, bytes: 100 });
    pass(9);
    expect(failures).toEqual([]);
    pass(3);
    expect(failures.map((each) => each.split(":")[0])).toEqual(["request_idle_seconds"]);
  });

  test("that grows by little at a time is over after its whole time", () => {
    const { failures, request, pass } = opened();
    const one = request({ message: 0, bytes: 0 });
    let bytes = 0;
    pass(58, () => (one.awaited = { message: 0, bytes: ++bytes }));
    expect(failures).toEqual([]);
    pass(5, () => (one.awaited = { message: 0, bytes: ++bytes }));
    expect(failures.map((each) => each.split(":")[0])).toEqual(["request_seconds"]);
  });

  test("that is not awaited, or is forgotten, may take its time", () => {
    const { deadlines, failures, request, pass, timers } = opened();
    request(undefined);
    const gone = request({ message: 0, bytes: 1 });
    pass(5);
    deadlines.forget(gone);
    pass(100);
    expect(failures).toEqual([]);
    expect(timers.waiting()).toEqual([1_000]);
  });

  test("of many messages has the time for each of them", () => {
    const { failures, request, pass } = opened();
    const pipe = request({ message: 1, bytes: 5 });
    let message = 1;
    pass(300, () => (pipe.awaited = { message: ++message, bytes: 5 }));
    expect(failures).toEqual([]);
    pass(12);
    expect(failures).toHaveLength(1);
  });
});

test("a client that sends half a request hears which limit it met", async () => {
  const timers = handTimers();
  const server = await startBareServer({}, { timers });
  const connection = new RawConnection(server.port);
  const stream = connection.request("/annals.v1.EventStoreService/Read");
  stream.write(messageFrame(Buffer.alloc(10), { length: 60_000 }));
  const outcome = connection.outcome(stream);
  // The request must have come before its time begins.
  while (timers.waiting().length === 0) await settled();
  for (let i = 0; i < 15; i++) timers.next();
  const { code, message } = await outcome;
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
