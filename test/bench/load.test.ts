// Every kind of load against a real server: what it counts is what the server stored and sent, and
// what is refused is counted as failed. Nothing here looks at how fast it was.
import { afterAll, beforeAll, expect, test } from "vitest";
import { runJob } from "../../bench/load/run-job.ts";
import type { LoadJob, Part } from "../../bench/load/job.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const preloaded = 1_000;
let server: TestServer;

/** Until every part, all of which are bounded, is done. */
function jobOf(parts: readonly Part[]): LoadJob {
  const [host = "", port] = server.address.split(":");
  return { host, port: Number(port), protocol: "annals", parts, warmUpMs: 0, measureMs: 0 };
}

async function run(...parts: Part[]) {
  const { parts: results } = await runJob(jobOf(parts));
  return results;
}

async function head(): Promise<number> {
  const [reader] = await run({
    kind: "calls",
    call: { verb: "read-all" },
    concurrency: 1,
    connections: 1,
    unary: false,
    requests: 1,
  });
  return reader?.events ?? 0;
}

beforeAll(async () => {
  server = await startTestServer();
  const call = { verb: "preload", events: 100, from: 0, total: preloaded } as const;
  const part: Part = { kind: "pipe", call, window: 4, connections: 1, requests: 10 };
  const { parts } = await runJob(jobOf([part]));
  if (parts[0]?.events !== preloaded) throw new Error(parts[0]?.firstFailure ?? "not preloaded");
});

afterAll(() => server.stop());

test.each([
  ["read-stream", { verb: "read-stream", streams: preloaded / 10 }],
  ["read-tag", { verb: "read-tag", tags: preloaded / 10 }],
] as const)("%s finds the ten events of each name", async (_, call) => {
  const bounds = { concurrency: 4, connections: 2, requests: 100, expectEvents: 10 };
  const [part] = await run({ kind: "calls", call, unary: false, ...bounds });
  expect(part).toMatchObject({ calls: 100, events: 1_000, failed: 0 });
});

test("an answer of another size than expected is a failure", async () => {
  const call = { verb: "read-stream", streams: preloaded / 10 } as const;
  const bounds = { concurrency: 1, connections: 1, requests: 3, expectEvents: 9 };
  const [part] = await run({ kind: "calls", call, unary: false, ...bounds });
  expect(part).toMatchObject({ failed: 3, firstFailure: "10 events instead of 9" });
});

test("unary appends and pipes count what they appended", async () => {
  const before = await head();
  const call = { verb: "append", events: 3, streams: 10 } as const;
  const bounds = { call, connections: 2, requests: 20 };
  const results = await run(
    { kind: "calls", concurrency: 5, unary: true, ...bounds },
    { kind: "pipe", window: 6, ...bounds },
  );
  expect(results.map(({ failed }) => failed)).toEqual([0, 0]);
  expect(await head()).toBe(before + 2 * 20 * 3);
});

test("conditions hold against a store that has such events already", async () => {
  const bounds = { connections: 1, concurrency: 4, unary: true, requests: 50 };
  const condition = { verb: "append-on-condition", tags: preloaded / 10 } as const;
  const [part] = await run({ kind: "calls", call: condition, ...bounds });
  expect(part).toMatchObject({ failed: 0 });
});

test("a version that is expected again is refused, and the refusal is counted", async () => {
  const call = { verb: "append-expecting-version", group: 1 } as const;
  const bounds = { connections: 1, concurrency: 2, unary: true, requests: 10 };
  const [first] = await run({ kind: "calls", call, ...bounds });
  expect(first).toMatchObject({ failed: 0 });
  const [again] = await run({ kind: "calls", call, ...bounds });
  expect(again?.failed).toBeGreaterThan(0);
  expect(again?.firstFailure).toMatch(/^status 10/);
});

test("followers get what is appended while they follow, each of them all of it", async () => {
  const follow: Part = {
    kind: "follow",
    call: { verb: "subscribe-all" },
    subscribers: 3,
    events: 3 * 50,
    connections: 2,
  };
  const call = { verb: "append", events: 10, streams: 10, timed: true } as const;
  const append: Part = { kind: "pipe", call, window: 2, connections: 1, requests: 5 };
  const parts = await run(follow, append);
  expect(parts[0]).toMatchObject({ events: 3 * 50, failed: 0 });
  expect(parts[0]?.p50).toBeGreaterThan(0);
});

test("members of a group share what is appended while they are there", async () => {
  const consume: Part = {
    kind: "consume",
    call: { verb: "consume" },
    members: 3,
    permits: 4,
    inFlightMax: 10,
    events: 50,
    connections: 2,
  };
  const call = { verb: "append", events: 10, streams: 10, timed: true } as const;
  const append: Part = { kind: "pipe", call, window: 2, connections: 1, requests: 5 };
  const parts = await run(consume, append);
  expect(parts[0]).toMatchObject({ events: 50, failed: 0 });
  expect(parts[0]?.p50).toBeGreaterThan(0);
});

test("the grpc-js client does the same work", async () => {
  const call = { verb: "append", events: 2, streams: 10 } as const;
  const bounds = { call, connections: 1, client: "grpc-js", requests: 4 } as const;
  for (const part of [
    { kind: "calls", concurrency: 2, unary: true, ...bounds },
    { kind: "pipe", window: 4, ...bounds },
    { ...bounds, kind: "calls", concurrency: 1, unary: false, call: { verb: "read-all" } },
  ] as const) {
    const [result] = await run(part);
    expect(result).toMatchObject({ calls: 4, failed: 0 });
    expect(result?.events).toBeGreaterThanOrEqual(8);
  }
});
