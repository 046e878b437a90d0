// Applies a batch of events to a read model, in one transaction if all goes well. If an event
// fails, the events before it are committed, it is handled by itself, and the rest follows.

import { PoisonEventError } from "../store/errors.ts";
import type { EventCodec, EventShape, RawEvent } from "../store/event.ts";
import { pause } from "../store/retry.ts";
import { parkedEvent, type PoisonPlan } from "./poison.ts";
import { project, type Projection } from "./projection.ts";
import type { ProjectionCheckpoint, ProjectionStep, ReadModel } from "./read-model.ts";

/**
 * Another runner has advanced the same projection, so that this runner's checkpoint is outdated.
 */
export class OvertakenError extends Error {}

export interface BatchContext<E extends EventShape, Tx> {
  readonly projection: Projection<E, Tx>;
  readonly codec: EventCodec<E>;
  readonly model: ReadModel<Tx>;
  readonly plan: PoisonPlan;
  /** With more parked events than this, the projection itself is at fault, and stops. */
  readonly parkedMax: number;
  readonly signal: AbortSignal;
  /** Called after each commit. */
  readonly committed: (checkpoint: ProjectionCheckpoint, handled: number, parked: number) => void;
}

type Tried =
  | { readonly checkpoint: ProjectionCheckpoint }
  /**
   * `index` is the index of the failing event. Undefined: the commit failed, and no event is to
   * blame.
   */
  | { readonly index: number | undefined; readonly error: unknown };

const retryDelayMaxMs = 30_000;

/** Returns the checkpoint after the last event. */
export async function applyBatch<E extends EventShape, Tx>(
  context: BatchContext<E, Tx>,
  start: ProjectionCheckpoint,
  events: readonly RawEvent[],
): Promise<ProjectionCheckpoint> {
  let checkpoint = start;
  let rest = events;
  for (let [first] = rest; first !== undefined; [first] = rest) {
    const tried = await tryTogether(context, checkpoint, rest);
    if ("checkpoint" in tried) return tried.checkpoint;
    // If no event is to blame, each half is tried by itself, down to single events.
    const before = tried.index ?? Math.floor(rest.length / 2);
    checkpoint =
      before > 0
        ? await applyBatch(context, checkpoint, rest.slice(0, before))
        : await dealWithPoison(context, checkpoint, first, tried.error);
    rest = rest.slice(Math.max(before, 1));
  }
  return checkpoint;
}

/**
 * Commits the effects of all these events, or of none. Throws errors that no event is to blame for.
 */
async function tryTogether<E extends EventShape, Tx>(
  context: BatchContext<E, Tx>,
  checkpoint: ProjectionCheckpoint,
  events: readonly RawEvent[],
): Promise<Tried> {
  const { projection, codec, model, committed } = context;
  let handling: number | undefined;
  const over = () => {
    handling = undefined;
  };
  const apply = (tx: Tx): void | Promise<void> => {
    const applied = inOrder(events, (event, index) => {
      handling = index;
      return project(projection, codec, event, tx);
    });
    return applied === undefined ? over() : applied.then(over);
  };
  const next = { ...checkpoint, position: events.at(-1)?.position ?? checkpoint.position };
  try {
    await commit(context, { expected: checkpoint, next, apply });
  } catch (error) {
    if (error instanceof OvertakenError || model.isTransient(error)) throw error;
    return { index: handling, error };
  }
  committed(next, events.length, 0);
  return { checkpoint: next };
}

async function dealWithPoison<E extends EventShape, Tx>(
  context: BatchContext<E, Tx>,
  checkpoint: ProjectionCheckpoint,
  event: RawEvent,
  first: unknown,
): Promise<ProjectionCheckpoint> {
  const { projection, plan, model, parkedMax, signal, committed } = context;
  let failure = first;
  for (let retry = 0; retry < plan.retries; retry += 1) {
    await pause(Math.min(plan.delayMs * 2 ** retry, retryDelayMaxMs), signal);
    const tried = await tryTogether(context, checkpoint, [event]);
    if ("checkpoint" in tried) return tried.checkpoint;
    failure = tried.error;
  }
  const isFull = async () => (await model.parked(projection.name)).length >= parkedMax;
  if (plan.outcome === undefined || (await isFull())) {
    const why = failure instanceof Error ? failure.message : String(failure);
    const what = `the ${event.type} at position ${event.position}`;
    throw new PoisonEventError(`${projection.name} fails on ${what}: ${why}`, event, failure);
  }
  const next = { ...checkpoint, position: event.position };
  const park = parkedEvent(event, plan.outcome, plan.retries + 1, failure);
  await commit(context, { expected: checkpoint, next, apply: () => {}, park });
  committed(next, 0, 1);
  return next;
}

async function commit<E extends EventShape, Tx>(
  { model, projection }: BatchContext<E, Tx>,
  step: ProjectionStep<Tx>,
): Promise<void> {
  if (await model.commit(projection.name, step)) return;
  throw new OvertakenError(`${projection.name} is run by somebody else as well`);
}

/** Runs handlers one after another; synchronously as long as none returns a promise. */
function inOrder<T>(
  items: readonly T[],
  work: (item: T, index: number) => void | Promise<void>,
): void | Promise<void> {
  for (const [index, item] of items.entries()) {
    const waits = work(item, index);
    if (waits !== undefined) return restInOrder(waits, items, index + 1, work);
  }
}

async function restInOrder<T>(
  waits: Promise<void>,
  items: readonly T[],
  from: number,
  work: (item: T, index: number) => void | Promise<void>,
): Promise<void> {
  await waits;
  for (let index = from; index < items.length; index += 1) await work(items[index] as T, index);
}
