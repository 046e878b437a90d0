// What a stream must be like for an append to be accepted.

import { StreamState } from "../../gen/annals/v1/append_pb.js";
import { wireInteger } from "./numbers.ts";

/**
 * A version: the number of events the stream ever got, 0 for none yet. `"exists"`: at least one
 * event; `"absent"`: none; `"any"`: nothing is expected.
 */
export type Expect = number | "exists" | "absent" | "any";

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
