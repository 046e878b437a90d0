// Floods of refusals must not cost the traces of stacks that nobody reads.
import { describe, expect, test } from "vitest";
import { AnnalsError, corruption, invalidField } from "../../src/domain/errors.ts";

const framesOf = ({ stack = "" }: Error): number => stack.split("\n    at ").length - 1;

describe("an error", () => {
  test("that refuses has no stack, and leaves those of others alone", () => {
    const limit = Error.stackTraceLimit;
    for (const refusal of [
      invalidField("stream", "is empty"),
      new AnnalsError({ reason: "OVERLOADED", retryAfterMs: 1 }, "too much waits"),
    ]) {
      expect(framesOf(refusal)).toBe(0);
      expect(refusal.stack).toContain(refusal.message);
    }
    expect(Error.stackTraceLimit).toBe(limit);
    expect(framesOf(new Error("another"))).toBeGreaterThan(0);
  });

  test("that tells of a fault says where it was met", () => {
    expect(framesOf(corruption("a chunk fails its CRC"))).toBeGreaterThan(0);
  });
});
