// Failures as statuses: the table of the contract, its details, and trailers that stay small.
import { status as grpcJsCodes } from "@grpc/grpc-js";
import { describe, expect, test } from "vitest";
import type { EventIdMismatch, StreamConflict } from "../../../src/domain/append.ts";
import { AnnalsError, invalidField, type Failure } from "../../../src/domain/errors.ts";
import { ErrorReason } from "../../../src/gen/annals/v1/errors_pb.js";
import {
  severityOf,
  StatusCode,
  statusFields,
  statusOf,
  StatusError,
} from "../../../src/grpc/transport/status.ts";
import { fitting, shorten } from "../../../src/grpc/transport/wire-text.ts";
import { decodeDetails, type Failed } from "../../support/calls.ts";

const conflict: StreamConflict = {
  stream: "s",
  expected: { kind: "version", version: 3 },
  actualVersion: 4,
};
const mismatch: EventIdMismatch = {
  id: "an-id",
  position: 7,
  isElsewhere: false,
  problem: "partly-recorded",
};

/** A failure of every reason, its code in errors.proto, and what its details must say. */
const table: [Failure, number, object][] = [
  [
    { reason: "INVALID_FIELD", violations: [{ field: "events[3].type", description: "is empty" }] },
    3,
    { badRequest: { fieldViolations: [{ field: "events[3].type", description: "is empty" }] } },
  ],
  [
    {
      reason: "APPEND_CONFLICT",
      conflict: {
        kind: "conflict",
        streams: [conflict, { stream: "t", expected: { kind: "exists" }, actualVersion: 0 }],
        conditions: [{ index: 0, position: 9, after: 8 }],
      },
    },
    10,
    {
      appendConflict: {
        streams: [
          { stream: "s", expected: { case: "expectedVersion", value: 3n }, actualVersion: 4n },
          { stream: "t", expected: { case: "expectedState", value: 2 }, actualVersion: 0n },
        ],
        conditions: [{ index: 0, position: 9n, after: 8n }],
        omittedCount: 0,
      },
    },
  ],
  [
    {
      reason: "EVENT_ID_CONFLICT",
      conflict: { kind: "event-id-conflict", events: [mismatch] },
    },
    6,
    { eventIdConflict: { events: [{ id: "an-id", position: 7n, problem: 4 }], omittedCount: 0 } },
  ],
  [{ reason: "STREAM_NOT_FOUND", stream: "s" }, 5, { info: { stream: "s" } }],
  [
    { reason: "SNAPSHOT_NOT_FOUND", stream: "s", kind: "k" },
    5,
    { info: { stream: "s", kind: "k" } },
  ],
  [
    { reason: "SNAPSHOT_BEYOND_STREAM", stream: "s", version: 5, streamVersion: 4 },
    9,
    { info: { stream: "s", version: "5", stream_version: "4" } },
  ],
  [
    { reason: "BEYOND_HEAD", field: "after_position", asked: 5, head: 4 },
    11,
    { info: { field: "after_position", asked: "5", head: "4" } },
  ],
  [
    { reason: "OVERLOADED", retryAfterMs: 1_250 },
    8,
    { retryInfo: { retryDelay: { seconds: 1n, nanos: 250_000_000 } } },
  ],
  [
    { reason: "DISK_FULL", retryAfterMs: 5_000 },
    8,
    { retryInfo: { retryDelay: { seconds: 5n, nanos: 0 } } },
  ],
  [{ reason: "OUTCOME_UNKNOWN" }, 14, {}],
  [{ reason: "RECOVERING" }, 14, {}],
  [{ reason: "STOPPING" }, 14, {}],
  [
    { reason: "CORRUPTION", firstPosition: 3, lastPosition: 5, stream: "s" },
    15,
    { corruption: { firstPosition: 3n, lastPosition: 5n, stream: "s" } },
  ],
  [
    { reason: "ANSWER_TOO_LARGE", bytes: 9, bytesMax: 8 },
    8,
    { info: { bytes: "9", bytes_max: "8" } },
  ],
  [{ reason: "STORE_FAILED" }, 14, {}],
  [{ reason: "DEADLINE_EXCEEDED" }, 4, {}],
  [{ reason: "CANCELLED" }, 1, {}],
];

function decoded(error: unknown): Failed {
  const { code, message, details } = statusOf(error);
  return decodeDetails(code, message, details);
}

/**
 * Clients take 8 KiB of headers, as HTTP/2 counts header lists: grpc-java 1.85 turns a status beyond
 * it into INTERNAL. Details go as base64, so that 5,900 bytes of them fill it.
 */
function expectReadableByEveryClient(error: unknown): void {
  const status = statusOf(error);
  const bytes = statusFields(status).reduce((sum, [k, v]) => sum + k.length + v.length + 32, 0);
  expect(bytes).toBeLessThan(8_192);
  expect(status.details.length).toBeLessThan(5_000);
}

test("the status codes are those of gRPC", () => {
  const named = Object.entries(grpcJsCodes).filter(([, code]) => typeof code === "number");
  expect(StatusCode).toEqual(Object.fromEntries(named));
});

describe("a failure becomes a status", () => {
  test.each(table)("$reason has its code and its details", (failure, code, details) => {
    const status = decoded(new AnnalsError(failure, "said so"));
    expect(status).toMatchObject({ code, message: "said so", reason: failure.reason, ...details });
    expect(status.domain).toBe("annals");
  });

  test("every reason given is one of the contract's", () => {
    const environment = ["INTERNAL", "UNIMPLEMENTED"];
    const given = [...table.map(([{ reason }]) => reason as string), ...environment];
    expect(new Set(given).size).toBe(given.length);
    expect(Object.keys(ErrorReason)).toEqual(expect.arrayContaining(given));
  });

  test("a fault of the server says INTERNAL and nothing else", () => {
    for (const fault of [new TypeError("secret path /x"), "a string", undefined]) {
      const { code, message, reason, details } = decoded(fault);
      expect([code, reason, details.length]).toEqual([13, "INTERNAL", 1]);
      expect(message).not.toContain("secret");
      expect(severityOf(fault)).toBe("error");
    }
  });

  test("what clients do wrong is no matter for the operator, what the disk does is", () => {
    expect(severityOf(invalidField("a", "b"))).toBe("debug");
    expect(severityOf(new StatusError(5, "x"))).toBe("debug");
    expect(severityOf(new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, "x"))).toBe("warn");
    expect(severityOf(new AnnalsError({ reason: "STORE_FAILED" }, "x"))).toBe("error");
  });

  test("a status that is not the store's has details only where the contract has a reason", () => {
    expect(decoded(new StatusError(12, "no such method", "UNIMPLEMENTED")).reason).toBe(
      "UNIMPLEMENTED",
    );
    expect(decoded(new StatusError(5, "no such service")).details).toEqual([]);
  });
});

describe("trailers stay under 8 KiB, and details under 5,000 bytes", () => {
  const long = "é".repeat(256);

  test("a conflict of thousands of streams lists some and counts the rest", () => {
    const streams = Array.from({ length: 5_000 }, () => ({ ...conflict, stream: long }));
    const refused = { kind: "conflict", streams, conditions: [] } as const;
    const error = new AnnalsError(
      { reason: "APPEND_CONFLICT", conflict: refused },
      long.repeat(99),
    );
    const detail = decoded(error).appendConflict;
    expect(detail?.streams.length).toBeGreaterThan(3);
    expect((detail?.streams.length ?? 0) + (detail?.omittedCount ?? 0)).toBe(5_000);
    expectReadableByEveryClient(error);
  });

  test("event ids in their thousands likewise", () => {
    const events = Array.from({ length: 5_000 }, () => ({ ...mismatch, id: "0".repeat(36) }));
    const refused = { kind: "event-id-conflict", events } as const;
    const error = new AnnalsError({ reason: "EVENT_ID_CONFLICT", conflict: refused }, "x");
    const detail = decoded(error).eventIdConflict;
    expect((detail?.events.length ?? 0) + (detail?.omittedCount ?? 0)).toBe(5_000);
    expect(detail?.events.length).toBeGreaterThan(40);
    expectReadableByEveryClient(error);
  });

  test("violations with endless texts too", () => {
    const violations = Array.from({ length: 64 }, (_, i) => ({
      field: `f[${i}]`.repeat(200),
      description: long.repeat(10),
    }));
    const error = new AnnalsError({ reason: "INVALID_FIELD", violations }, long.repeat(99));
    expect(decoded(error).badRequest?.fieldViolations.length).toBeGreaterThan(2);
    expectReadableByEveryClient(error);
  });

  test("one huge stream name in every other reason fits as well", () => {
    for (const [failure] of table) {
      const huge = "stream" in failure ? { ...failure, stream: long } : failure;
      expectReadableByEveryClient(new AnnalsError(huge, long.repeat(99)));
    }
  });
});

describe("texts on the wire", () => {
  test("are cut at a character and marked", () => {
    expect(shorten("abcdef", 6)).toBe("abcdef");
    expect(shorten("abcdefg", 6)).toBe("abc...");
    expect(shorten("ééé", 5)).toBe("é...");
    expect(shorten("😀😀", 7)).toBe("😀...");
  });

  test("hold no lone surrogate, which no trailer could carry", () => {
    expect(shorten("a\ud800b", 99)).toBe("a\ufffdb");
    expect(() => encodeURI(shorten("\udfff".repeat(999), 100))).not.toThrow();
  });

  test("a list keeps what fits, from its beginning", () => {
    expect(fitting([3, 3, 3, 1], 6, (n) => n)).toEqual([3, 3]);
    expect(fitting([7], 6, (n) => n)).toEqual([]);
  });
});
