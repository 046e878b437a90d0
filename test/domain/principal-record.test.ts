// The record of an event whose principal is known: the last field, and none where nobody asked.
import { create, toBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  composeFrame,
  recordsIn,
  sameContent,
  scanPlacement,
  scanRecordedAt,
} from "../../src/domain/record.ts";
import { EventBatchSchema, RecordedEventSchema } from "../../src/gen/annals/v1/event_pb.js";

const bodyOf = (type: string): Uint8Array =>
  toBinary(RecordedEventSchema, create(RecordedEventSchema, { stream: "s", type }));
const place = fc.record({
  version: fc.maxSafeNat(),
  position: fc.maxSafeNat().filter((position) => position > 0),
  recordedAt: fc.integer({ min: 1_000_000, max: Number.MAX_SAFE_INTEGER }),
});

describe("the principal", () => {
  test("is behind everything else, as the generated codec has it", () => {
    const principal = fc.string({ minLength: 1, unit: "grapheme", maxLength: 300 });
    const property = fc.property(place, principal, ({ version, position, recordedAt }, who) => {
      const body = bodyOf("T");
      const frame = composeFrame(body, version, position, recordedAt, { principal: who });
      const numbers = { version: BigInt(version), position: BigInt(position) };
      const seconds = BigInt(Math.floor(recordedAt / 1_000_000));
      const time = { seconds, nanos: (recordedAt % 1_000_000) * 1_000 };
      const event = { stream: "s", type: "T", ...numbers, recordedAt: time, principal: who };
      const batch = toBinary(EventBatchSchema, create(EventBatchSchema, { events: [event] }));
      expect(Buffer.compare(frame, batch)).toBe(0);
      const [record = frame] = recordsIn(frame);
      expect(scanPlacement(record)).toEqual({ version, position });
      expect(scanRecordedAt(record)).toBe(recordedAt);
      expect(sameContent(body, record)).toBe(true);
    });
    fc.assert(property, { numRuns: 300 });
  });

  test("has had these bytes ever since there was one", () => {
    const frame = composeFrame(bodyOf("T"), 2, 3, 1_000_001, { principal: "billing" });
    expect(Buffer.from(frame).toString("hex")).toBe(
      "0a1a1201731a0154480250035a05080110e807620762696c6c696e67",
    );
  });

  test("is followed by the trace of the append, where that is recorded", () => {
    const traceParent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    const body = bodyOf("T");
    for (const principal of ["", "billing", "é".repeat(200)]) {
      const frame = composeFrame(body, 2, 3, 1_000_001, { principal, traceParent });
      const numbers = { version: 2n, position: 3n, recordedAt: { seconds: 1n, nanos: 1_000 } };
      const event = { stream: "s", type: "T", ...numbers, principal, traceParent };
      const batch = toBinary(EventBatchSchema, create(EventBatchSchema, { events: [event] }));
      expect(Buffer.compare(frame, batch)).toBe(0);
      const [record = frame] = recordsIn(frame);
      expect(sameContent(body, record)).toBe(true);
      expect(scanRecordedAt(record)).toBe(1_000_001);
    }
  });

  test("that is empty leaves the record as it has ever been", () => {
    const frame = composeFrame(bodyOf("T"), 2, 3, 1_000_001, { principal: "" });
    expect(Buffer.compare(frame, composeFrame(bodyOf("T"), 2, 3, 1_000_001))).toBe(0);
  });
});
