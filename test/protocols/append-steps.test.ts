// Appends of as many events as there may be are read in steps, by each of the other protocols.
import { expect, test } from "vitest";
import { create, toBinary } from "@bufbuild/protobuf";
import { defaultLimits as limits } from "../../src/domain/limits.ts";
import { stepBytes, type Steps } from "../../src/domain/steps.ts";
import { BatchAppendReqSchema } from "../../src/gen/event_store/client/streams/streams_pb.js";
import { EventSchema } from "../../src/gen/umadb/v1/umadb_pb.js";
import { eventsInSteps } from "../../src/protocols/kurrentdb/append/append-rules.ts";
import { Incomplete } from "../../src/protocols/kurrentdb/append/batch-requests.ts";
import type { LogContext } from "../../src/protocols/kurrentdb/mapping/context.ts";
import { newEventsInSteps } from "../../src/protocols/umadb/mapping.ts";

const count = 5_000;
const idOf = (i: number): string => `0190c000-0000-7000-8000-${i.toString(16).padStart(12, "0")}`;

function inSteps<T>(steps: Steps<T>): { value: T; stepCount: number } {
  for (let stepCount = 1; ; stepCount++) {
    const { done, value } = steps.next();
    if (done === true) return { value, stepCount };
    expect(value).toBeLessThan(2 * stepBytes);
  }
}

test("events of the UmaDB protocol", () => {
  const event = create(EventSchema, { eventType: "T", tags: ["a", "b", "c", "d"] });
  // oxlint-disable-next-line require-yield
  const at = function* (): Steps<typeof event> {
    return event;
  };
  const { value, stepCount } = inSteps(
    newEventsInSteps({ count, at, tracking: undefined }, limits),
  );
  expect(value.events).toHaveLength(count);
  expect(stepCount).toBeGreaterThan(100);
});

test("events of the KurrentDB protocol, in a batch and as they are stored", () => {
  const request = create(BatchAppendReqSchema, {
    correlationId: { value: { case: "string", value: idOf(0) } },
    options: {
      streamIdentifier: { streamName: Buffer.from("s") },
      expectedStreamPosition: { case: "any", value: {} },
    },
    proposedMessages: Array.from({ length: count }, (_, i) => ({
      id: { value: { case: "string" as const, value: idOf(i + 1) } },
      metadata: { type: "T", "content-type": "application/json" },
    })),
    isFinal: true,
  });
  const bytes = Buffer.from(toBinary(BatchAppendReqSchema, request));
  const context = { limits } as LogContext;
  const read = inSteps(new Incomplete().add(context, bytes, () => {}));
  const { stream, expected, events, refusal } = read.value ?? { events: [], stream: "" };
  expect([stream, events.length, refusal]).toEqual(["s", count, undefined]);
  expect(read.stepCount).toBeGreaterThan(30);
  const append = { stream, expected: expected ?? { kind: "any" }, events, principal: "" } as const;
  const made = inSteps(eventsInSteps(append));
  expect(made.value.map(({ id }) => id)).toEqual(events.map(({ id }) => id));
  expect(made.stepCount).toBeGreaterThan(30);
});
