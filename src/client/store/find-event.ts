// One event by its id.

import { answered, type Context, type OperationOptions } from "./context.ts";
import {
  rawEvent,
  recordedEvent,
  type EventCodec,
  type EventShape,
  type RecordedEvent,
} from "./event.ts";

export interface FindEventOptions extends OperationOptions {
  /** Only if it is an event of this stream; whose `read` then suffices. */
  readonly stream?: string | undefined;
}

/** Undefined: no event has the id, or it was removed. */
export async function findEventById<E extends EventShape>(
  context: Context,
  codec: EventCodec<E>,
  id: string,
  options: FindEventOptions = {},
): Promise<RecordedEvent<E> | undefined> {
  const { stream = "" } = options;
  const { event } = await answered(context, options, (call) =>
    context.rpc.getEvent({ id, stream }, call),
  );
  if (event === undefined || event.removed !== undefined) return undefined;
  return recordedEvent(rawEvent(event), codec);
}
