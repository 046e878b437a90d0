// A large append is read in steps: the first one finds the events, and reads none of them.
import { create, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { defaultLimits } from "../../../src/domain/limits.ts";
import type { Steps } from "../../../src/domain/steps.ts";
import { AppendRequestSchema } from "../../../src/gen/umadb/v1/umadb_pb.js";
import type { Call } from "../../../src/grpc/transport/call-environment.ts";
import { schedulingPolicy } from "../../../src/log/scheduling/policy.ts";
import { appendEvents } from "../../../src/protocols/umadb/append.ts";
import type { UmadbContext } from "../../../src/protocols/umadb/mapping.ts";

/** The steps in which an append is read. */
async function stepsOf(count: number): Promise<Steps<unknown>> {
  const event = { eventType: "T", tags: ["a"], uuid: "none" };
  const request = create(AppendRequestSchema, {
    events: Array.from({ length: count }, () => event),
  });
  const { promise, resolve } = Promise.withResolvers<Steps<unknown>>();
  const call = {
    hold() {},
    inSteps(steps: Steps<unknown>) {
      resolve(steps);
      return new Promise<never>(() => {});
    },
  } as unknown as Call;
  const context = { limits: defaultLimits } as UmadbContext;
  void appendEvents(context, Buffer.from(toBinary(AppendRequestSchema, request)), call);
  return promise;
}

test("the events of a large append are found in a step of their own, and read in others", async () => {
  const steps = await stepsOf(defaultLimits.appendEventsMax);
  const { done, value } = steps.next();
  expect(done).toBe(false);
  // So that the next step has to wait for another turn.
  expect(2 * (value as number)).toBeGreaterThan(schedulingPolicy.turnBytes);
  expect(() => steps.next()).toThrow("none");
});

test("a small append is read at once", async () => {
  const steps = await stepsOf(10);
  expect(() => steps.next()).toThrow("none");
});
