// What the tests of append requests share: requests as objects, refused or taken by both paths.
import { appendFromBytes, appendIfPlain } from "../../../src/grpc/convert/append-bytes.ts";
import { type MessageInitShape } from "@bufbuild/protobuf";
import { expect } from "vitest";
import type { Append } from "../../../src/domain/append.ts";
import { AnnalsError } from "../../../src/domain/errors.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { encode } from "../../support/calls.ts";

export type Init = MessageInitShape<typeof AppendRequestSchema>;
export type EventInit = NonNullable<Init["events"]>[number];

const limits = {
  ...defaultLimits,
  eventBytesMax: 4_096,
  appendBytesMax: 8_192,
  appendEventsMax: 9,
};

export const conversion = { limits };

/** What was refused, as `field: description`; both paths must agree. */
export function refused(init: Init): string[] {
  const bytes = encode(AppendRequestSchema, init);
  expect(appendIfPlain(bytes, conversion)).toBeUndefined();
  try {
    appendFromBytes(bytes, conversion);
  } catch (error) {
    if (!(error instanceof AnnalsError) || error.failure.reason !== "INVALID_FIELD") throw error;
    return error.failure.violations.map((one) => `${one.field}: ${one.description}`);
  }
  return [];
}

export function accepted(init: Init): Append {
  return appendFromBytes(encode(AppendRequestSchema, init), conversion);
}

export const beyondPosition = "more than position_max (9007199254740991, which is 2^53 - 1)";
export const contradiction =
  "begins with none of the item's stream_prefixes, so it can match no event";

export const event = (parts: EventInit = {}): { stream: string; events: EventInit[] } => ({
  stream: "s",
  events: [{ type: "T", ...parts }],
});

export const uuid = (n: number): string => `0190a000-0000-7000-8000-${String(n).padStart(12, "0")}`;
export const x = (count: number): string => "x".repeat(count);
export const many = (count: number): string[] => Array.from({ length: count }, (_, i) => `t${i}`);
export const entries = (count: number): Record<string, string> =>
  Object.fromEntries(many(count).map((key) => [key, ""]));
