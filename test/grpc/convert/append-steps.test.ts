// Long requests are converted and decided in steps, between which others have the main thread. What
// is measured is the work between two steps, and never time.
import { describe, expect, test } from "vitest";
import { decideBatch, decideInSteps, factsNeeded } from "../../../src/domain/decide/decide.ts";
import { defaultLimits } from "../../../src/domain/limits.ts";
import { atOnce, type Steps } from "../../../src/domain/steps.ts";
import { AppendRequestSchema } from "../../../src/gen/annals/v1/append_pb.js";
import { appendFromBytes, appendInSteps } from "../../../src/grpc/convert/append-bytes.ts";
import { encode } from "../../support/calls.ts";
import { uuid, type EventInit } from "./append-request.ts";

const conversion = { limits: defaultLimits };
const { appendEventsMax } = defaultLimits;
/** A step, and the one event with which it became too long. */
const stepBytesMax = 2 * 32 * 1024;

function request(make: (i: number) => EventInit): Buffer {
  const events = Array.from({ length: appendEventsMax }, (_, i) => make(i));
  return encode(AppendRequestSchema, { stream: "s", events });
}

/** What each step cost, and what came of them. */
function stepped<T>(steps: Steps<T>): { costs: number[]; result: T } {
  const costs: number[] = [];
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return { costs, result: value };
    costs.push(value);
  }
}

describe("an append at its limits", () => {
  test("is read in steps where it is plain", () => {
    const bytes = request((i) => ({ id: uuid(i), type: "T", tags: [`a${i}`, `b${i}`] }));
    const { costs, result } = stepped(appendInSteps(bytes, conversion));
    expect(result).toEqual(appendFromBytes(bytes, conversion));
    expect(costs.length).toBeGreaterThanOrEqual(appendEventsMax / 256 - 1);
    expect(Math.max(...costs)).toBeLessThan(stepBytesMax);
  });

  test("is decoded and converted in smaller steps where it is not", () => {
    const value = { kind: { case: "numberValue" as const, value: 1 } };
    const bytes = request((i) => ({ id: uuid(i), type: "T", payload: { case: "json", value } }));
    const { costs, result } = stepped(appendInSteps(bytes, conversion));
    expect(result).toEqual(appendFromBytes(bytes, conversion));
    expect(costs.length).toBeGreaterThanOrEqual(appendEventsMax / 32 - 1);
    expect(Math.max(...costs)).toBeLessThan(stepBytesMax);
  });

  test("is refused in steps where every event has faults", () => {
    const bytes = request(() => ({ type: "", stream: "$s", tags: ["$a", "$a"] }));
    const steps = appendInSteps(bytes, conversion);
    let count = 0;
    const refuse = (): void => {
      while (steps.next().done !== true) count++;
    };
    expect(refuse).toThrow("(and 24999 more)");
    expect(count).toBeGreaterThanOrEqual(appendEventsMax / 32 - 1);
  });

  test("is decided in steps, as if at once", () => {
    const append = appendFromBytes(
      request((i) => ({ type: "T", stream: `s-${i}` })),
      conversion,
    );
    const streams = [...factsNeeded([append]).streams];
    const facts = {
      head: { position: 0, recordedAt: 0 },
      versions: new Map(streams.map((stream) => [stream, 0])),
      lifecycles: new Map(),
      events: new Map(),
      matches: [],
      checkpoints: new Map(),
      epoch: "",
    };
    const batch = { facts, appends: [append], now: 1_000, idChance: 0 };
    const { costs, result } = stepped(decideInSteps(batch));
    expect(result).toEqual(decideBatch(batch));
    expect(costs.length).toBeGreaterThanOrEqual(appendEventsMax / 512 - 1);
    expect(atOnce(decideInSteps(batch)).events).toHaveLength(appendEventsMax);
  });
});
