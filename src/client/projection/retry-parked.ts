// Parked events, tried again: after the handler was mended, or what it depends on.

import type { AnnalsClient } from "../annals-client.ts";
import type { OperationOptions } from "../store/context.ts";
import { NotFoundError } from "../store/errors.ts";
import type { EventShape } from "../store/event.ts";
import { delayMs, pause } from "../store/retry.ts";
import { project, rawEvents, type Projection } from "./projection.ts";
import type { ReadModel } from "./read-model.ts";

const attemptsMax = 100;
const delays = { attemptsMax, delayMinMs: 2, delayMaxMs: 100 };

/**
 * Hands the event at this position to the projection again, out of its turn, and takes it off the
 * list in the same transaction. Throws what the handler throws; the event stays parked then. May be
 * called while the projection runs.
 */
export async function retryParked<E extends EventShape, Tx>(
  client: AnnalsClient<E>,
  projection: Projection<E, Tx>,
  model: ReadModel<Tx>,
  position: number,
  options: OperationOptions = {},
): Promise<void> {
  const { name } = projection;
  const range = { from: { position }, to: { position } };
  const [event] = await client
    .withEvents(rawEvents)
    .read({ ...range, ...options })
    .toArray();
  const apply = (tx: Tx) => event && project(projection, client.events, event, tx);
  for (let attempt = 1; ; attempt += 1) {
    const isParked = (await model.parked(name)).some((parked) => parked.position === position);
    const checkpoint = await model.checkpoint(name);
    if (!isParked || checkpoint === undefined || event === undefined) {
      throw new NotFoundError(`no event of ${name} is parked at position ${position}`);
    }
    const step = { expected: checkpoint, next: checkpoint, apply, unpark: position };
    if (await model.commit(name, step)) return;
    // The runner was faster: the checkpoint is another one by now.
    if (attempt === attemptsMax) throw new Error(`${name} never stood still to try it again`);
    await pause(delayMs(delays, attempt, Math.random()), options.signal);
  }
}
