// What a failed call looks like to its caller: typed from the status details, never from text.
import { create } from "@bufbuild/protobuf";
import { anyPack, type Any } from "@bufbuild/protobuf/wkt";
import { Metadata, type sendUnaryData, type ServiceError } from "@grpc/grpc-js";
import { afterEach, describe, expect, test } from "vitest";
import { appendFailure, CallError } from "../../../src/client/rpc/call-error.ts";
import { clientOf } from "../../../src/client/rpc/service-client.ts";
import { storeErrorOf } from "../../../src/client/store/call-failure.ts";
import { ConflictError } from "../../../src/client/store/errors.ts";
import { AppendFailureSchema } from "../../../src/gen/annals/v1/append_pb.js";
import {
  AppendConflictSchema,
  EventIdConflictSchema,
  EventIdProblem,
} from "../../../src/gen/annals/v1/errors_pb.js";
import { EventStoreService } from "../../../src/gen/annals/v1/event_store_service_pb.js";
import { BadRequestSchema, RetryInfoSchema } from "../../../src/gen/google/rpc/error_details_pb.js";
import { Connection } from "../../../src/client/rpc/connection.ts";
import { errorInfo, failureWith, scripted, type Scripted } from "./scripted-server.ts";

let server: Scripted | undefined;
afterEach(() => {
  server?.stop();
  server = undefined;
});

/** What `Append` fails with for a caller when the server ends it like this. */
async function appendAgainst(failure: Partial<ServiceError>): Promise<unknown> {
  server = await scripted({
    append: (_call: unknown, answer: sendUnaryData<unknown>) => answer(failure),
  });
  const client = clientOf(EventStoreService, server.connect());
  return client.append({ stream: "s" }).catch((error: unknown) => error);
}

const conflict = create(AppendConflictSchema, {
  streams: [
    { stream: "s", expected: { case: "expectedVersion", value: 3n }, actualVersion: 5n },
    { stream: "t", expected: { case: "expectedState", value: 3 }, actualVersion: 1n },
  ],
  conditions: [{ index: 1, position: 9n, after: 7n }],
});

function callErrorOf(error: unknown): CallError {
  if (!(error instanceof CallError)) throw new Error(`not a CallError: ${String(error)}`);
  return error;
}

describe("a failed call", () => {
  test("carries every violation of a conflict", async () => {
    const details = [errorInfo("APPEND_CONFLICT"), anyPack(AppendConflictSchema, conflict)];
    const error = callErrorOf(await appendAgainst(failureWith(10, "no", details)));
    expect(error.status).toBe("ABORTED");
    expect(error.failure).toEqual({ reason: "APPEND_CONFLICT", conflict });
  });

  test("names the event ids that are there already", async () => {
    const ids = create(EventIdConflictSchema, {
      events: [{ id: "x", position: 4n, problem: EventIdProblem.PARTLY_RECORDED }],
    });
    const details = [errorInfo("EVENT_ID_CONFLICT"), anyPack(EventIdConflictSchema, ids)];
    const error = callErrorOf(await appendAgainst(failureWith(6, "there", details)));
    expect(error.failure).toEqual({ reason: "EVENT_ID_CONFLICT", conflict: ids });
  });

  test("names the fields of a bad request", async () => {
    const violation = { field: "events[0].type", description: "required" };
    const bad = create(BadRequestSchema, { fieldViolations: [violation] });
    const details = [errorInfo("INVALID_FIELD"), anyPack(BadRequestSchema, bad)];
    const error = callErrorOf(await appendAgainst(failureWith(3, "bad", details)));
    expect(error.failure).toMatchObject({ reason: "INVALID_FIELD", violations: [violation] });
  });

  test("says how long to wait when the server is busy", async () => {
    const retry = create(RetryInfoSchema, { retryDelay: { seconds: 1n, nanos: 250_000_000 } });
    const details = [errorInfo("OVERLOADED"), anyPack(RetryInfoSchema, retry)];
    const error = callErrorOf(await appendAgainst(failureWith(8, "busy", details)));
    expect(error.failure).toEqual({ reason: "OVERLOADED", retryAfterMs: 1250 });
  });

  test.each([
    ["OUTCOME_UNKNOWN", 14],
    ["STOPPING", 14],
    ["DEADLINE_EXCEEDED", 4],
    ["STREAM_TOMBSTONED", 9],
  ])("has the reason the server gave: %s", async (reason, code) => {
    const error = callErrorOf(await appendAgainst(failureWith(code, "", [errorInfo(reason)])));
    expect(error.failure).toEqual({ reason });
  });

  test.each<[string, number, Any[], string]>([
    ["from another domain", 10, [errorInfo("APPEND_CONFLICT", "elsewhere")], "NOT_SAID"],
    ["with a reason nobody knows", 9, [errorInfo("NEW_IN_VERSION_9")], "NOT_SAID"],
    ["with a number for a reason", 9, [errorInfo("4")], "NOT_SAID"],
    ["with the reason that says nothing", 9, [errorInfo("UNSPECIFIED")], "NOT_SAID"],
    ["that lacks its typed detail", 10, [errorInfo("APPEND_CONFLICT")], "NOT_SAID"],
    ["without details, unavailable", 14, [], "UNREACHABLE"],
    ["without details, out of time", 4, [], "TIMED_OUT"],
    ["without details, cancelled by others", 1, [], "CUT_OFF"],
    ["without details, broken off", 13, [], "CUT_OFF"],
    ["without details, refused by something in between", 7, [], "NOT_SAID"],
  ])("%s still has its code", async (_, code, details, reason) => {
    const error = callErrorOf(await appendAgainst(failureWith(code, "text", details)));
    expect(error).toMatchObject({ code, reason, message: "text" });
  });

  // grpc-js, connect-node and proxies use the code for calls that were torn as well.
  test("with the code of a conflict and no details is no conflict, and may have been stored", async () => {
    const error = callErrorOf(await appendAgainst({ code: 10, details: "stream reset" }));
    expect(error.status).toBe("ABORTED");
    expect(error.failure.reason).not.toBe("APPEND_CONFLICT");
    expect(storeErrorOf(error)).not.toBeInstanceOf(ConflictError);
    expect(storeErrorOf(error)).toMatchObject({ mayHaveBeenStored: true });
  });

  test("with details that are no status keeps its code and message", async () => {
    const metadata = new Metadata();
    metadata.set("grpc-status-details-bin", Buffer.from([255, 255, 255]));
    const error = callErrorOf(await appendAgainst({ code: 13, details: "broken", metadata }));
    expect(error).toMatchObject({ code: 13, message: "broken", reason: "CUT_OFF" });
  });

  test("without a server says that it cannot be reached", async () => {
    server = await scripted({});
    const { address } = server.connect();
    server.stop();
    const connection = new Connection({ address });
    const error = await clientOf(EventStoreService, connection)
      .getInfo({})
      .catch((failure: unknown) => failure);
    connection.close();
    expect(callErrorOf(error)).toMatchObject({ reason: "NO_CONNECTION" });
  });
});

test("a refused append of a pipe is the same error as that of a call", () => {
  const details = [errorInfo("APPEND_CONFLICT"), anyPack(AppendConflictSchema, conflict)];
  const failure = create(AppendFailureSchema, { code: 10, message: "no", details });
  expect(appendFailure(failure)).toMatchObject({
    code: 10,
    message: "no",
    failure: { reason: "APPEND_CONFLICT", conflict },
  });
});
