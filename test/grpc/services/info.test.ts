// GetStream, the lists and GetInfo over a real socket, as a client of any language would use them.
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { nextOf } from "../../support/calls.ts";
import { startTestServer, type TestServer } from "../../support/running-server.ts";
import { events, m } from "./store-requests.ts";

let server: TestServer;
beforeEach(async () => {
  server = await startTestServer();
});
afterEach(() => server.stop());

describe("what there is", () => {
  test("a stream in numbers, with who follows it", async () => {
    await server.calls.unary(m.append, { stream: "s", events: events(3) });
    const stream = server.calls.stream(m.subscribe, { selection: { case: "stream", value: "s" } });
    await nextOf(stream[Symbol.asyncIterator]());
    const info = (await server.calls.unary(m.getStream, { stream: "s" })).stream;
    expect(info).toMatchObject({
      version: 3n,
      eventCount: 3n,
      firstPosition: 1n,
      lastPosition: 3n,
      subscriberCount: 1,
    });
    expect(info?.firstRecordedAt?.seconds).toBeGreaterThan(0n);
    stream.cancel();
    expect(await server.calls.failure(m.getStream, { stream: "nope" })).toMatchObject({
      code: 5,
      reason: "STREAM_NOT_FOUND",
      info: { stream: "nope" },
    });
  });

  test("streams and types, page by page", async () => {
    for (const stream of ["b", "a", "c", "ä"])
      await server.calls.unary(m.append, { stream, events: events(2) });
    const streams: string[] = [];
    let pageToken = "";
    do {
      const page = await server.calls.unary(m.listStreams, { pageSize: 3, pageToken });
      streams.push(...page.streams.map(({ stream }) => stream));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(streams).toEqual(["a", "b", "c", "ä"]);
    const types = await server.calls.unary(m.listEventTypes, { prefix: "T" });
    expect(types.eventTypes).toMatchObject([
      { type: "T1", recordedCount: 4n, firstPosition: 1n, lastPosition: 7n },
      { type: "T2", recordedCount: 4n },
    ]);
    expect(await server.calls.failure(m.listStreams, { pageToken: "made up" })).toMatchObject({
      code: 3,
      badRequest: { fieldViolations: [{ field: "page_token" }] },
    });
    expect(await server.calls.failure(m.listStreams, { prefix: "x".repeat(513) })).toMatchObject({
      code: 3,
    });
  });

  test("the server, its limits and its store", async () => {
    const info = await server.calls.unary(m.getInfo, {});
    expect(info).toMatchObject({ head: 0n, engine: "leveldb", durability: 2, writeState: 1 });
    expect(info.serverVersion).toMatch(/^\d+\.\d+\.\d+/);
    expect(info.limits).toMatchObject({
      eventBytesMax: 3_145_728n,
      positionMax: 2n ** 53n - 1n,
      concurrentCallsMax: 16_384,
    });
    expect(info.checkpointIntervalDefault).toMatchObject({ seconds: 10n });
  });
});
