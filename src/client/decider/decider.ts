// A decider describes an aggregate by three pure functions. Loading, appending and retrying know
// nothing about the domain, and the decider knows nothing about the store.

import type { Appended } from "../store/append.ts";
import type { EventShape, NewEvent, RecordedEvent } from "../store/event.ts";

export interface Decider<State, Command, E extends EventShape> {
  /** Returns the state before the first event. A function, so that the state is not shared. */
  readonly initial: () => State;
  /**
   * Returns the events that a command causes in this state, in order; possibly none. Throws to
   * refuse the command; the error reaches the caller unchanged. Synchronous and without side
   * effects, because it is called again with a newer state after a conflict.
   */
  readonly decide: (command: Command, state: State) => NewEvent<E> | readonly NewEvent<E>[];
  /** Returns the state after an event. */
  readonly evolve: (state: State, event: RecordedEvent<E>) => State;
}

/** The result of a command. */
export interface Handled<State, E extends EventShape> {
  /** The events as they were recorded. Empty: nothing was appended. */
  readonly events: readonly RecordedEvent<E>[];
  /** The state after the command, computed on first access. */
  readonly state: State;
  /** The version of the stream that was appended to or loaded. 0: there is none. */
  readonly version: number;
  /** The position up to which the decision has seen or stored events. Use it with `waitFor`. */
  readonly position: number;
  /** The epoch of the version and the position. Empty: the server names none. */
  readonly epoch: string;
  /** How often the command was decided: 1 if there was no conflict. */
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

/** The result of a command on the state on which it was decided. */
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
    epoch: appended.epoch,
    attempts,
  };
}
