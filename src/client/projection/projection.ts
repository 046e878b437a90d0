// A projection: which events it selects, and what it makes of them in its read model.

import type { EventCodec, EventShape, RawEvent, RecordedEvent } from "../store/event.ts";
import { recordedEvent } from "../store/event.ts";
import type { MissingEvents } from "../store/load.ts";
import type { Query, Selection } from "../store/selection.ts";

export type RecordedOfType<E extends EventShape, T extends E["type"]> = Extract<
  RecordedEvent<E>,
  { readonly type: T }
>;

export interface Projection<E extends EventShape, Tx> {
  /** The name of its checkpoint in the read model. */
  readonly name: string;
  /**
   * Raise it when handlers or tables change. The read model is then rebuilt from the first event.
   */
  readonly version: number;
  /** Empties the read model (drop, create), in one transaction with the checkpoint at zero. */
  readonly setup: (tx: Tx) => void | Promise<void>;
  /**
   * Handlers by type. They are called in the order of positions, and exactly one effect of each
   * event is committed.
   */
  readonly when: {
    readonly [T in E["type"]]?: (event: RecordedOfType<E, T>, tx: Tx) => void | Promise<void>;
  };
  /** The events to select. Absent: all of the types that have handlers. */
  readonly query?: Query | undefined;
  /**
   * What to do if a policy has removed events that the projection has not taken, because it begins
   * again or was away for long. Absent: `"refuse"`: it fails with a `MissingEventsError` before it
   * begins, and leaves the read model unchanged.
   */
  readonly missingEvents?: MissingEvents | undefined;
}

/** The selection to subscribe to. Events whose types decode to no handled type are left out. */
export function selectionOfProjection<E extends EventShape, Tx>(
  { query, when }: Projection<E, Tx>,
  codec: EventCodec<E>,
): Selection {
  return { query: query ?? { types: codec.storedTypes(Object.keys(when)) } };
}

/** Decodes an event and calls its handler. Events of other types are ignored. */
export function project<E extends EventShape, Tx>(
  { when }: Projection<E, Tx>,
  codec: EventCodec<E>,
  raw: RawEvent,
  tx: Tx,
): void | Promise<void> {
  const event = recordedEvent(raw, codec);
  const handlers = when as Readonly<
    Record<string, ((event: RecordedEvent<E>, tx: Tx) => void | Promise<void>) | undefined>
  >;
  return Object.hasOwn(when, event.type) ? handlers[event.type]?.(event, tx) : undefined;
}

/**
 * Keeps events as they were recorded, so that the projection decides about those that the codec
 * does not accept.
 */
export const rawEvents: EventCodec<EventShape> = {
  encode() {
    throw new TypeError("these events are only read");
  },
  decode: ({ type }) => ({ type }),
  storedTypes: (types) => types,
};
