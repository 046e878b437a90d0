// What happens to events on which a projection fails repeatedly, and to the projection.

import type { RawEvent } from "../store/event.ts";
import type { ParkedEvent } from "./read-model.ts";

/**
 * `"stop"`: the projection fails before the event. `"skip"`: the event is recorded as skipped.
 * Otherwise it is retried `retries` times and then parked, or the projection stops. An event that
 * is skipped may matter to later ones; choose this only if it does not.
 */
export type PoisonPolicy =
  | "stop"
  | "skip"
  | {
      readonly retries: number;
      /** The delay before the first retry. It doubles. Absent: 100 ms. */
      readonly delayMs?: number | undefined;
      readonly finally: "park" | "stop";
    };

export interface PoisonPlan {
  readonly retries: number;
  readonly delayMs: number;
  /** Undefined: stop. */
  readonly outcome: ParkedEvent["outcome"] | undefined;
}

const delayDefaultMs = 100;
const errorCharactersMax = 4_000;

export function planOf(policy: PoisonPolicy): PoisonPlan {
  if (policy === "stop") return { retries: 0, delayMs: 0, outcome: undefined };
  if (policy === "skip") return { retries: 0, delayMs: 0, outcome: "skipped" };
  const { retries, delayMs = delayDefaultMs } = policy;
  return { retries, delayMs, outcome: policy.finally === "park" ? "parked" : undefined };
}

export function parkedEvent(
  { position, id, stream, type }: RawEvent,
  outcome: ParkedEvent["outcome"],
  attempts: number,
  failure: unknown,
): ParkedEvent {
  const text = failure instanceof Error ? (failure.stack ?? failure.message) : String(failure);
  const error = text.slice(0, errorCharactersMax);
  return { position, id, stream, type, outcome, attempts, error, parkedAt: new Date() };
}
