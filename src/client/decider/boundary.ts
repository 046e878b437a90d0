// A dynamic consistency boundary: a repository over the events of a query instead of a stream. The
// append is refused if another event of the query was stored after the decision read them.

import type { AnnalsClient } from "../annals-client.ts";
import type { EventShape } from "../store/event.ts";
import type { MissingEvents } from "../store/load.ts";
import type { Query } from "../store/selection.ts";
import { retryOnConflict } from "./retry-on-conflict.ts";
import { decided, handledOf, type Decider, type Handled } from "./decider.ts";
import { withMetadata, type HandleOptions } from "./repository.ts";

export interface BoundaryOptions {
  /** The number of times a command is decided if there are conflicts. Absent: 20. */
  readonly attemptsMax?: number | undefined;
  /** What to do if a policy has removed events of a query. Absent: `"refuse"`. */
  readonly missingEvents?: MissingEvents | undefined;
}

export interface BoundaryHandleOptions extends HandleOptions {
  /** The stream of events that do not name one. */
  readonly stream?: string | undefined;
}

export interface Boundary<State, Command, E extends EventShape> {
  /**
   * Reads the events of the query, decides, and appends unless another event of the query was
   * stored meanwhile; then it starts over. Throws what `decide` throws, a `ConflictError` after the
   * last attempt, a `MissingEventsError` if events of the query were removed, a `StoreError`.
   */
  handle(
    query: Query,
    command: Command,
    options?: BoundaryHandleOptions,
  ): Promise<Handled<State, E>>;
}

export function boundary<State, Command, E extends EventShape>(
  client: AnnalsClient<E>,
  decider: Decider<State, Command, E>,
  { attemptsMax, missingEvents = "refuse" }: BoundaryOptions = {},
): Boundary<State, Command, E> {
  async function handleOnce(
    query: Query,
    command: Command,
    attempts: number,
    { metadata, stream = "", ...call }: BoundaryHandleOptions,
  ): Promise<Handled<State, E>> {
    const reading = client.read({ query, missingEvents, ...call });
    let state = decider.initial();
    for await (const batch of reading.batches()) state = batch.reduce(decider.evolve, state);
    const { after, head, epoch } = reading.end;
    const events = withMetadata(decided(decider, command, state), metadata);
    if (events.length === 0) {
      return { events: [], state, version: 0, position: head, epoch, attempts };
    }
    const condition = { query, after };
    const appended = await client.append(stream, events, { ...call, condition, epoch });
    return handledOf(decider, state, appended, attempts);
  }

  return {
    handle: (query, command, call = {}) =>
      retryOnConflict((attempt) => handleOnce(query, command, attempt, call), {
        attemptsMax,
        signal: call.signal,
      }),
  };
}
