// Answers composed by hand, against the generated codec; timeouts.
import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Appended } from "../../../src/domain/append.ts";
import { defaultLimits, positionMax } from "../../../src/domain/limits.ts";
import { atOnce } from "../../../src/domain/steps.ts";
import {
  AppendFailureSchema,
  AppendResponseSchema,
  AppendPipeResponseSchema,
} from "../../../src/gen/annals/v1/append_pb.js";
import { ReadResponseSchema } from "../../../src/gen/annals/v1/read_pb.js";
import { GetStateResponseSchema, SnapshotSchema } from "../../../src/gen/annals/v1/snapshot_pb.js";
import {
  appendResponse,
  pipeResponse,
  tagAppendEpoch,
} from "../../../src/grpc/convert/append-answer.ts";
import { epochField } from "../../../src/grpc/convert/epoch.ts";
import { schedulingPolicy } from "../../../src/log/scheduling/policy.ts";
import { readEndResponse } from "../../../src/grpc/convert/read-end.ts";
import { stateInSteps, snapshotBytes } from "../../../src/grpc/convert/snapshot.ts";
import { timestamp } from "../../../src/grpc/convert/time.ts";
import { parseTimeout } from "../../../src/grpc/transport/timeout.ts";
import { encode } from "../../support/calls.ts";

const epoch = "0123456789abcdef";
const position = fc.oneof(fc.nat(), fc.integer({ min: 0, max: positionMax }));
const version = fc.integer({ min: 1, max: positionMax });
const appended = fc.record({
  kind: fc.constant("appended" as const),
  firstPosition: position,
  lastPosition: position,
  streams: fc.array(
    fc.record({
      stream: fc.string({ unit: "grapheme", minLength: 1, maxLength: 200 }),
      firstVersion: version,
      lastVersion: version,
    }),
  ),
  recordedAt: position,
  deduplicated: fc.boolean(),
});

function byCodec(one: Appended, head: number, eventIds: string[]): Buffer {
  return encode(AppendResponseSchema, {
    firstPosition: BigInt(one.firstPosition),
    lastPosition: BigInt(one.lastPosition),
    streams: one.streams.map(({ stream, firstVersion, lastVersion }) => ({
      stream,
      firstVersion: BigInt(firstVersion),
      lastVersion: BigInt(lastVersion),
    })),
    head: BigInt(head),
    deduplicated: one.deduplicated,
    recordedAt: timestamp(one.recordedAt),
    eventIds,
    epoch,
  });
}

test("the end of a read is what the generated codec would write", () => {
  const field = epochField(ReadResponseSchema.field.epoch.number * 8 + 2, epoch);
  const streamVersion = fc.option(position, { nil: undefined });
  const end = fc.record({ head: position, after: position, eventCount: position, streamVersion });
  fc.assert(
    fc.property(end, (one) => {
      const value = {
        head: BigInt(one.head),
        after: BigInt(one.after),
        eventCount: BigInt(one.eventCount),
        streamVersion: BigInt(one.streamVersion ?? 0),
      };
      const message = { case: "end", value } as const;
      expect(readEndResponse(one, field)).toEqual(encode(ReadResponseSchema, { message, epoch }));
    }),
  );
});

describe("the answer to an append", () => {
  test("is what the generated codec would write", () => {
    fc.assert(
      fc.property(appended, position, fc.array(fc.uuid(), { maxLength: 3 }), (one, head, ids) => {
        const answer = appendResponse({ ...one, ids }, head, epochField(tagAppendEpoch, epoch));
        expect(answer).toEqual(byCodec(one, head, ids));
      }),
      { numRuns: 2_000 },
    );
  });

  test("in a pipe too, and so is a failure", () => {
    fc.assert(
      fc.property(appended, fc.integer({ min: 1, max: positionMax }), (one, sequence) => {
        const answer = appendResponse(one, 7, epochField(tagAppendEpoch, epoch));
        const value = fromBinary(AppendResponseSchema, answer);
        expect(pipeResponse(sequence, 0x12, answer)).toEqual(
          encode(AppendPipeResponseSchema, {
            sequence: BigInt(sequence),
            outcome: { case: "appended", value },
          }),
        );
      }),
    );
    const failure = { code: 10, message: "a conflict", details: [] };
    expect(pipeResponse(3, 0x1a, encode(AppendFailureSchema, failure))).toEqual(
      encode(AppendPipeResponseSchema, {
        sequence: 3n,
        outcome: { case: "failure", value: failure },
      }),
    );
  });
});

describe("a snapshot's answer", () => {
  const snapshot = {
    stream: "s",
    kind: "k",
    version: 3,
    position: 9,
    contentType: "application/json",
    data: Buffer.from('{"n":1}'),
    metadata: { by: "me" },
    savedAt: 1_000_001,
  };
  const read = (view: "full" | "json" | "headers", data = snapshot.data) =>
    fromBinary(SnapshotSchema, snapshotBytes({ ...snapshot, data }, view, defaultLimits));

  test("carries its state as asked", () => {
    expect(read("full").state).toEqual({ case: "data", value: snapshot.data });
    expect(read("json").state.case).toBe("json");
    expect(read("headers").state.case).toBeUndefined();
    expect(read("headers")).toMatchObject({ stream: "s", kind: "k", version: 3n, position: 9n });
    expect(read("full").metadata).toEqual({ by: "me" });
  });

  test("says an empty state is there", () => {
    expect(read("json", Buffer.alloc(0)).state).toEqual({ case: "data", value: Buffer.alloc(0) });
  });
});

describe("a replayed state's answer", () => {
  const stateBytes = (...of: Parameters<typeof stateInSteps>) => atOnce(stateInSteps(...of));
  const replayed = {
    state: { a: [1, null] },
    stateJson: '{"a":[1,null]}',
    version: 2,
    position: 5,
    recordedAt: 2_000_000,
    appliedCount: 2,
    skippedCount: 1,
    missingThrough: 1,
  };

  test("is the state as a value, and when it was", () => {
    const answer = fromBinary(GetStateResponseSchema, stateBytes(replayed, defaultLimits));
    expect(answer).toMatchObject({ version: 2n, position: 5n, missingThrough: 1n });
    expect(answer).toMatchObject({ appliedCount: 2n, skippedCount: 1n });
    expect(answer.recordedAt).toMatchObject({ seconds: 2n, nanos: 0 });
    expect(answer.state?.kind.case).toBe("structValue");
  });

  test("of nothing is null, version 0 and no time", () => {
    const none = { version: 0, position: 0, recordedAt: 0 };
    const nothing = { ...replayed, ...none, state: null, stateJson: "null" };
    const answer = fromBinary(GetStateResponseSchema, stateBytes(nothing, defaultLimits));
    expect(answer.state?.kind).toEqual({ case: "nullValue", value: 0 });
    expect(answer.recordedAt).toBeUndefined();
  });

  test("is made of many values in a turn of its own", () => {
    const state = Object.fromEntries(Array.from({ length: 9_900 }, (_, i) => [`member-${i}`, i]));
    const large = { ...replayed, state, stateJson: JSON.stringify(state) };
    const costs = [...stateInSteps(large, defaultLimits)];
    expect(costs).toHaveLength(2);
    expect(Math.min(...costs)).toBeGreaterThan(schedulingPolicy.turnBytes);
  });

  test("is text alone where a value does not fit beside it", () => {
    const state = "x".repeat(60);
    const large = { ...replayed, state, stateJson: JSON.stringify(state) };
    const bytes = stateBytes(large, { ...defaultLimits, eventBytesMax: 100 });
    const answer = fromBinary(GetStateResponseSchema, bytes);
    expect(answer.state).toBeUndefined();
    expect(answer.stateJson).toBe(large.stateJson);
  });
});

describe("deadlines", () => {
  test.each([
    ["1S", 1_000],
    ["500m", 500],
    ["2M", 120_000],
    ["1H", 3_600_000],
    ["1u", 1],
    ["99999999n", 100],
    ["0S", 0],
    ["596H", 2_145_600_000],
    ["597H", Infinity],
    ["490560H", Infinity],
    ["99999999H", Infinity],
    ["2147483648m", undefined],
    ["", undefined],
    ["1", undefined],
    ["S", undefined],
    ["1s", undefined],
    ["-1S", undefined],
    ["1.5S", undefined],
    ["1S ", undefined],
    ["123456789S", undefined],
  ])("%j is %s ms", (header, ms) => {
    expect(parseTimeout(header)).toBe(ms);
  });
});
