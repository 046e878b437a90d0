// Expectations between the SDK and the wire.

import { StreamState } from "../../gen/annals/v1/append_pb.js";
import type { Expect } from "./expect.ts";
import { wireInteger } from "./numbers.ts";

export type WireExpected =
  | { readonly case: "expectedVersion"; readonly value: bigint }
  | { readonly case: "expectedState"; readonly value: StreamState };

export function wireExpected(expect: Expect, name: string): WireExpected {
  switch (expect) {
    case "exists":
      return { case: "expectedState", value: StreamState.EXISTS };
    case "absent":
      return { case: "expectedState", value: StreamState.ABSENT };
    case "any":
      return { case: "expectedState", value: StreamState.ANY };
    default:
      return { case: "expectedVersion", value: wireInteger(expect, name) };
  }
}

export function expectOf(expected: WireExpected | { readonly case: undefined }): Expect {
  if (expected.case === undefined) return "any";
  if (expected.case === "expectedVersion") return Number(expected.value);
  switch (expected.value) {
    case StreamState.EXISTS:
      return "exists";
    case StreamState.ABSENT:
      return "absent";
    default:
      return "any";
  }
}
