// A projection: which events it takes and what it makes of them in its read model.

import type { EventCodec, EventShape, RawEvent, RecordedEvent } from "../store/event.ts";
import { recordedEvent } from "../store/event.ts";
import type { MissingEvents } from "../store/load.ts";
import type { Query, Selection } from "../store/selection.ts";

export type RecordedOfType<E extends EventShape, T extends E["type"]> = Extract<
  RecordedEvent<E>,
  { readonly type: T }
>;

export interface Projection<E extends EventShape, Tx> {
  /** Its checkpoint's name in the read model. */
  readonly name: string;
  /**
   * Raise it when handlers or tables change: everything is then built anew, from the first
   * event.
   */
  readonly version: number;
  /**
   * Leaves the read model as if no event had ever come (drop, create). In one transaction with the
   * checkpoint at zero.
   */
  readonly setup: (tx: Tx) => void | Promise<void>;
  /** By type. In the order of positions, and of each event exactly one effect is committed. */
  readonly when: {
    readonly [T in E["type"]]?: (event: RecordedOfType<E, T>, tx: Tx) => void | Promise<void>;
  };
  /** Which events. Absent: all of the types there are handlers for. */
  readonly query?: Query | undefined;
  /**
   * Where a policy has removed events that it has not taken yet, because it begins anew or was away
   * for long. Absent: `"refuse"`: it fails with a `MissingEventsError` before it begins, and leaves
   * the read model as it is.
   */
  readonly missingEvents?: MissingEvents | undefined;
}

/** What to subscribe to: events whose types decode to none of the handled ones stay away. */
export function selectionOfProjection<E extends EventShape, Tx>(
  { query, when }: Projection<E, Tx>,
  codec: EventCodec<E>,
): Selection {
  return { query: query ?? { types: codec.storedTypes(Object.keys(when)) } };
}

/** Decodes an event and does with it what the projection says; other types are passed over. */
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
 * Keeps events as they were recorded: whoever follows decides what becomes of one not
 * understood.
 */
export const rawEvents: EventCodec<EventShape> = {
  encode() {
    throw new TypeError("these events are only read");
  },
  decode: ({ type }) => ({ type }),
  storedTypes: (types) => types,
};
