// Lifecycles in generated histories: changes made by the domain's rules from what the model knows.
import fc from "fast-check";
import {
  noLifecycle,
  withDeletion,
  withPolicy,
  type Lifecycle,
} from "../../../src/domain/lifecycle/lifecycle.ts";
import { lifecycleEvent } from "../../../src/domain/lifecycle/lifecycle-event.ts";
import type { NewEvent } from "../../../src/domain/event.ts";
import type { Storage } from "../../../src/storage/storage.ts";
import { arbitrarySketch, newEvent, type EventSketch } from "../../support/events.ts";

export interface LifecycleStep {
  readonly kind: "lifecycle";
  readonly stream: string;
  readonly change:
    | {
        readonly kind: "policy";
        readonly maxAge: number | undefined;
        readonly maxCount: number | undefined;
        /** How far below the stream's next version events stay; undefined: nothing is truncated. */
        readonly kept: number | undefined;
      }
    | { readonly kind: "delete"; readonly permanent: boolean };
  readonly micros: number;
  /** Stored by the same commit, after the change. */
  readonly sketches: readonly EventSketch[];
}

export const arbitraryLifecycleStep: fc.Arbitrary<LifecycleStep> = fc.record({
  kind: fc.constant("lifecycle"),
  stream: fc.constantFrom("a", "a-", "a-1", "a-10", "ab", "😀", "$sys"),
  change: fc.oneof(
    fc.record({
      kind: fc.constant("policy" as const),
      maxAge: fc.option(fc.integer({ min: 1, max: 30 }), { nil: undefined }),
      maxCount: fc.option(fc.integer({ min: 1, max: 5 }), { nil: undefined }),
      kept: fc.option(fc.nat({ max: 4 }), { nil: undefined }),
    }),
    fc.record({ kind: fc.constant("delete" as const), permanent: fc.boolean() }),
  ),
  micros: fc.nat({ max: 3 }),
  sketches: fc.array(arbitrarySketch, { maxLength: 3 }),
});

/** The events of the step's commit, at the model's head. */
export async function eventsOf(
  model: Storage,
  { stream, change, sketches }: LifecycleStep,
  recordedAt: number,
): Promise<NewEvent[]> {
  const asked = { streams: [stream], ids: [], conditions: [] };
  const { head, versions, lifecycles } = await model.facts(asked);
  const lifecycle = lifecycles.get(stream) ?? noLifecycle;
  const version = versions.get(stream) ?? 0;
  const before = { lifecycle, version, now: recordedAt };
  const recorded = { position: head.position + 1, recordedAt };
  let changed: Lifecycle;
  if (change.kind === "delete") changed = withDeletion(before, recorded, change.permanent);
  else {
    const { maxAge, maxCount, kept } = change;
    const truncateBefore = kept === undefined ? 0 : Math.max(0, version + 1 - kept);
    changed = withPolicy(before, { maxAge, maxCount, truncateBefore, labels: { k: "v" } });
  }
  const type = change.kind === "delete" ? "$StreamDeleted" : "$StreamUpdated";
  const said = { stream, lifecycle: changed, actor: "ann", reason: "why" };
  return [lifecycleEvent(type, said), ...sketches.map(newEvent)];
}
