// Numbers and times between the contract and JavaScript.
import { create } from "@bufbuild/protobuf";
import { TimestampSchema } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { dateOf, microsOf, wireTime } from "../../../src/client/store/numbers.ts";

// protobuf-es's own `timestampDate` rounds: a read from that time on could leave the event out.
test.each([
  [0, 0],
  [999, 0],
  [999_999, 0],
  [1_000_000, 1],
  [1_999_999, 1],
  [999_999_999, 999],
])("of %i ns of a second, a date keeps %i ms, never more than there were", (nanos, ms) => {
  const time = create(TimestampSchema, { seconds: 1_800_000_000n, nanos });
  expect(dateOf(time).getTime()).toBe(1_800_000_000_000 + ms);
  const from = wireTime(dateOf(time), "fromTime");
  expect(microsOf(from)).toBeLessThanOrEqual(microsOf(time));
});
