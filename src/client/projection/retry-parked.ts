// Handles parked events: retries them after the handler was corrected, or drops them.

import type { AnnalsClient } from "../annals-client.ts";
import type { OperationOptions } from "../store/context.ts";
import { NotFoundError } from "../store/errors.ts";
import type { EventShape, RawEvent } from "../store/event.ts";
import type { ReadOptions } from "../store/read.ts";
import { delayMs, pause } from "../store/retry.ts";
import { project, rawEvents, type Projection } from "./projection.ts";
import type { ParkedEvent, ReadModel } from "./read-model.ts";

const attemptsMax = 100;
const delays = { attemptsMax, delayMinMs: 2, delayMaxMs: 100 };

/**
 * Hands the parked event at this position to the projection again, out of its turn, and takes it
 * off the list in the same transaction. Throws what the handler throws; the event stays parked
 * then. May be called while the projection runs. `"removed"`: the event is there no longer, because
 * its stream was deleted or a policy removed it; it is taken off the list, and has no effect.
 */
export async function retryParked<E extends EventShape, Tx>(
  client: AnnalsClient<E>,
  projection: Projection<E, Tx>,
  model: ReadModel<Tx>,
  position: number,
  options: OperationOptions = {},
): Promise<"applied" | "removed"> {
  const parked = await parkedAt(model, projection.name, position);
  const epoch = (await model.checkpoint(projection.name))?.epoch;
  const event = await eventAt(client.withEvents(rawEvents), parked, { ...options, epoch });
  const apply = (tx: Tx) => event && project(projection, client.events, event, tx);
  await unpark(model, projection.name, position, apply, options);
  return event === undefined ? "removed" : "applied";
}

/** Removes a parked event from the list. It then never has an effect. */
export async function forgetParked<Tx>(
  projection: { readonly name: string },
  model: ReadModel<Tx>,
  position: number,
  options: Pick<OperationOptions, "signal"> = {},
): Promise<void> {
  await unpark(model, projection.name, position, () => {}, options);
}

async function parkedAt<Tx>(
  model: ReadModel<Tx>,
  projection: string,
  position: number,
): Promise<ParkedEvent> {
  const parked = (await model.parked(projection)).find((one) => one.position === position);
  if (parked !== undefined) return parked;
  throw new NotFoundError(`no event of ${projection} is parked at position ${position}`);
}

/** Reads by the event's stream if it has one, because a system event is only found by name. */
async function eventAt(
  client: AnnalsClient<EventShape>,
  { stream, position }: ParkedEvent,
  options: OperationOptions & Pick<ReadOptions, "epoch">,
): Promise<RawEvent | undefined> {
  const range = { from: { position }, to: { position } };
  const reading = client.read({ ...(stream !== "" && { stream }), ...range, ...options });
  const [event] = await reading.toArray();
  return event;
}

async function unpark<Tx>(
  model: ReadModel<Tx>,
  projection: string,
  position: number,
  apply: (tx: Tx) => void | Promise<void>,
  { signal }: Pick<OperationOptions, "signal">,
): Promise<void> {
  for (let attempt = 1; ; attempt += 1) {
    await parkedAt(model, projection, position);
    const checkpoint = await model.checkpoint(projection);
    if (checkpoint === undefined) throw new NotFoundError(`${projection} has not begun`);
    const step = { expected: checkpoint, next: checkpoint, apply, unpark: position };
    if (await model.commit(projection, step)) return;
    // A running projection committed first, so that the checkpoint has changed.
    if (attempt === attemptsMax) throw new Error(`${projection} never stood still long enough`);
    await pause(delayMs(delays, attempt, Math.random()), signal);
  }
}
