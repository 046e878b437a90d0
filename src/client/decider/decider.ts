// A decider: all that is specific to an aggregate, as three pure functions. What loads, appends and
// tries again knows nothing of the domain, and the decider knows nothing of the store.

import type { Appended } from "../store/append.ts";
import type { EventShape, NewEvent, RecordedEvent } from "../store/event.ts";

export interface Decider<State, Command, E extends EventShape> {
  /** The state before the first event. A function, so that nobody shares it. */
  readonly initial: () => State;
  /**
   * What a command makes happen, in this state: events, in order, or none. Throws where the command
   * is refused; that error reaches the caller as it is. Synchronous and without effects: it is
   * called again, on a newer state, when somebody else was faster.
   */
  readonly decide: (command: Command, state: State) => NewEvent<E> | readonly NewEvent<E>[];
  /** The state after an event. */
  readonly evolve: (state: State, event: RecordedEvent<E>) => State;
}

/** What a command did. */
export interface Handled<State, E extends EventShape> {
  /** What happened, as it was recorded; empty: nothing, and nothing was appended. */
  readonly events: readonly RecordedEvent<E>[];
  /** The state after it; evolved when it is first looked at. */
  readonly state: State;
  /** Of the stream that was appended to, or loaded; 0 without one. */
  readonly version: number;
  /** The store has everything up to here that the decision saw and made: what to wait for. */
  readonly position: number;
  /** How often it was decided: 1 where nobody was faster. */
  readonly attempts: number;
}

export function decided<State, Command, E extends EventShape>(
  { decide }: Decider<State, Command, E>,
  command: Command,
  state: State,
): readonly NewEvent<E>[] {
  const events = decide(command, state);
  return Array.isArray(events) ? (events as readonly NewEvent<E>[]) : [events as NewEvent<E>];
}

/** What a command did to the state it was decided on. */
export function handledOf<State, E extends EventShape>(
  { evolve }: Pick<Decider<State, never, E>, "evolve">,
  before: State,
  appended: Appended<E>,
  attempts: number,
): Handled<State, E> {
  let after: { readonly state: State } | undefined;
  return {
    get events() {
      return appended.events;
    },
    get state() {
      after ??= { state: appended.events.reduce(evolve, before) };
      return after.state;
    },
    version: appended.version,
    position: appended.lastPosition,
    attempts,
  };
}
