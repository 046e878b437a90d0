// From an error that a user reports to the server's line about it, and calls that take long.
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { InterceptingCall, type CallOptions } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { EventStoreService } from "../../src/gen/annals/v1/event_store_service_pb.js";
import { RequestInfoSchema } from "../../src/gen/google/rpc/error_details_pb.js";
import { StatusCode } from "../../src/grpc/transport/status.ts";
import { SlowCalls } from "../../src/observe/slow-calls.ts";
import { decodeDetails, nextOf, type Failed } from "../support/calls.ts";
import { startTestServer, type TestServer } from "../support/running-server.ts";

const { append, appendPipe, getStream, read } = EventStoreService.method;

function requestIdOf({ details }: Failed): string | undefined {
  const last = details.at(-1);
  return last && anyUnpack(last, RequestInfoSchema)?.requestId;
}

describe("a request id", () => {
  let server: TestServer;
  afterEach(() => server.stop());

  test("is in every error and in the line about it, with the trace if there is one", async () => {
    server = await startTestServer();
    const traceId = "0af7651916cd43dd8448eb211c80319c";
    const traced: CallOptions = {
      interceptors: [
        (options, next) =>
          new InterceptingCall(next(options), {
            start(metadata, listener, begin) {
              metadata.set("traceparent", `00-${traceId}-b7ad6b7169203331-01`);
              begin(metadata, listener);
            },
          }),
      ],
    };
    const expected = { case: "expectedVersion", value: 9n } as const;
    const conflict = { stream: "s", events: [{ type: "T" }], expected };
    const pipe = server.calls.pipe(appendPipe);
    pipe.send({ append: conflict });
    const { outcome: answered } = await nextOf(pipe.answers);
    if (answered.case !== "failure") throw new Error("the append of the pipe was not refused");
    const { code, message, details } = answered.value;
    pipe.cancel();
    const errors = [
      await server.calls.failure(getStream, { stream: "none" }, traced),
      await server.calls.failure(append, conflict),
      await server.calls.failure(read, { from: { case: "fromVersion", value: 1n } } as never),
      decodeDetails(code, message, details),
    ];
    const ids = errors.map(requestIdOf);
    expect(new Set(ids).size).toBe(errors.length);
    const lines = server.lines.filter(({ message: text }) => text === "call failed");
    for (const id of ids) {
      expect(id).toMatch(/^[\da-f]{10}-[\da-z]+$/);
      expect(lines.filter(({ requestId }) => requestId === id)).toHaveLength(1);
    }
    expect(lines.filter((line) => line["traceId"] === traceId)).toHaveLength(1);
    expect(errors[0]?.reason).toBe("STREAM_NOT_FOUND");
  });

  test("is in the refusal of what is no method at all", async () => {
    server = await startTestServer();
    const none = { ...getStream, name: "None" } as unknown as typeof getStream;
    const failure = await server.calls.failure(none, {});
    expect(failure).toMatchObject({ code: StatusCode.UNIMPLEMENTED, reason: "UNIMPLEMENTED" });
    expect(requestIdOf(failure)).toBeDefined();
  });

  test("is of a call that took long, with how long, and not of a stream", async () => {
    server = await startTestServer(["--log-slow-ms", "1"]);
    const events = Array.from({ length: 1_000 }, () => ({ type: "T", data: Buffer.alloc(1_000) }));
    const payload = events.map(({ type, data }) => ({
      type,
      payload: { case: "data", value: data } as const,
    }));
    await server.calls.unary(append, { stream: "s", events: payload });
    const slow = server.lines.filter(({ message }) => message === "slow call");
    expect(slow).toHaveLength(1);
    expect(slow[0]).toMatchObject({
      level: "warn",
      method: "/annals.v1.EventStoreService/Append",
      status: "OK",
    });
    expect(slow[0]?.["requestBytes"]).toBeGreaterThan(1_000_000);
    expect(slow[0]?.["requestId"]).toMatch(/-/);
  });
});

describe("slow calls", () => {
  const call = { path: "/a/B", peer: "unix", isStream: false, headers: new Map() };
  const end = { code: StatusCode.OK, ms: 5, requestBytes: 1, answerBytes: 1 };

  test("that all come at once are ten lines, and the next one says how many there were", () => {
    const lines: Readonly<Record<string, unknown>>[] = [];
    let nowMs = 0;
    const warn = (_: string, fields: Readonly<Record<string, unknown>>): void =>
      void lines.push(fields);
    const slow = new SlowCalls({ slowMs: 5, nowMs: () => nowMs, warn });
    for (let i = 0; i < 1_000; i++) slow.ended(call, end);
    slow.ended(call, { ...end, ms: 4.9 });
    slow.ended({ ...call, isStream: true }, end);
    expect(lines).toHaveLength(10);
    nowMs = 1_000;
    slow.ended(call, end);
    expect(lines).toHaveLength(11);
    expect(lines[10]?.["notLogged"]).toBe(990);
  });
});
