// Stream expectations and conditions from the wire.

import type { AppendCondition, Expected, StreamExpectation } from "../../domain/append.ts";
import type { Limits } from "../../domain/limits.ts";
import {
  StreamState,
  type AppendCondition as WireCondition,
  type AppendRequest,
  type StreamExpectation as WireExpectation,
} from "../../gen/annals/v1/append_pb.js";
import { checkCount, checkEnum, checkName, checkUint64 } from "./checks.ts";
import { convertQuery } from "./query.ts";
import type { Violations } from "./violations.ts";

/** `any`: nothing is expected. `missing`: nothing is said. */
type Expectable = Expected | "any" | "missing";

export function convertExpected(
  v: Violations,
  prefix: string,
  expected: WireExpectation["expected"],
): Expectable {
  switch (expected.case) {
    case undefined:
      return "missing";
    case "expectedVersion": {
      const version = checkUint64(v, `${prefix}expected_version`, expected.value);
      return { kind: "version", version };
    }
    case "expectedState":
      return convertState(v, `${prefix}expected_state`, expected.value);
  }
}

function convertState(v: Violations, field: string, state: StreamState): Expectable {
  checkEnum(v, field, state, StreamState);
  switch (state) {
    case StreamState.EXISTS:
      return { kind: "exists" };
    case StreamState.ABSENT:
      return { kind: "absent" };
    case StreamState.ANY:
      return "any";
    case StreamState.UNSPECIFIED:
      return "missing";
    default:
      return "any";
  }
}

/** Those of `stream` first, then the others in their order; each stream at most once. */
export function convertExpectations(
  v: Violations,
  wire: Pick<AppendRequest, "stream" | "expected" | "expectations">,
  limits: Limits,
): StreamExpectation[] {
  const { expectations } = wire;
  const { expectationsMax } = limits;
  checkCount(v, "expectations", expectations.length, "expectations_max", expectationsMax);
  const converted: StreamExpectation[] = [];
  const seen = new Map<string, string>();
  const own = convertExpected(v, "", wire.expected);
  if (typeof own !== "string") {
    if (wire.stream === "") v.add("stream", "is required where something is expected of it");
    converted.push({ stream: wire.stream, expected: own });
    seen.set(wire.stream, "stream");
  }
  expectations.slice(0, expectationsMax).forEach((expectation, i) => {
    const field = `expectations[${i}]`;
    const limit = { name: "stream_name_bytes_max", bytesMax: limits.streamNameBytesMax };
    const stream = checkName(v, `${field}.stream`, expectation.stream, limit);
    const first = seen.get(stream);
    if (first !== undefined) v.add(`${field}.stream`, `is the same stream as ${first}`);
    else seen.set(stream, `${field}.stream`);
    const expected = convertExpected(v, `${field}.`, expectation.expected);
    if (expected === "missing") v.add(field, "says nothing: expected_version or expected_state");
    else if (expected !== "any") converted.push({ stream, expected });
  });
  return converted;
}

export function convertCondition(
  v: Violations,
  condition: WireCondition,
  limits: Limits,
): AppendCondition {
  const after = checkUint64(v, "condition.after", condition.after);
  if (condition.query === undefined) v.add("condition.query", "is required");
  const items = condition.query;
  const query = items && convertQuery(v, "condition.query", items, limits);
  return { query: query ?? { items: [] }, after };
}
