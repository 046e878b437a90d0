// The stores that the cases run on: ours, and the package's own, which says what it means.

import { after } from "node:test";
import {
  MemoryEventStore,
  Query,
  SequencePosition,
  Tags,
  type DcbEvent,
  type EventStore,
  type QueryItem,
  type SequencedEvent,
} from "@dcb-es/event-store";
import { AnnalsEventStore } from "annals-dcb-es";
import { connect } from "annals-client";

export const client = connect({ address: process.env["ANNALS_ADDRESS"] });
after(() => client.close());

export const annals = new AnnalsEventStore(client);
export const stores: readonly (readonly [string, EventStore])[] = [
  ["Annals", annals],
  ["the package's memory store", new MemoryEventStore()],
];

/** Cases share a server, and each has a tag and types of its own. */
export interface Place {
  readonly store: EventStore;
  /** The position before the case. */
  readonly base: number;
  /** A tag that only this case has. */
  readonly tag: string;
  readonly event: (type: string, ...tags: string[]) => DcbEvent;
  /** Matches events of these types with the case's tag, and with further tags. */
  readonly query: (types: readonly string[], ...tags: string[]) => Query;
  /** The case's events, read back. */
  readonly all: () => Promise<SequencedEvent[]>;
}

let cases = 0;

export async function placeIn(store: EventStore): Promise<Place> {
  const tag = `case=${process.pid}-${++cases}`;
  const [newest] = await collect(store.read(Query.all(), { backwards: true, limit: 1 }));
  const item = (types: readonly string[], tags: readonly string[]): QueryItem => ({
    types: types.map((type) => `${type}${cases}`),
    tags: Tags.from([tag, ...tags]),
  });
  const own = cases;
  return {
    store,
    base: newest === undefined ? 0 : Number(newest.position.toString()),
    tag,
    event: (type, ...tags) => ({
      type: `${type}${own}`,
      tags: Tags.from([tag, ...tags]),
      data: { type },
      metadata: {},
    }),
    query: (types, ...tags) => Query.fromItems([item(types, tags)]),
    all: () => collect(store.read(Query.fromItems([item(["A", "B", "C"], [])]))),
  };
}

export async function collect<T>(events: AsyncIterable<T>, most = Infinity): Promise<T[]> {
  const found: T[] = [];
  for await (const event of events) {
    found.push(event);
    if (found.length >= most) break;
  }
  return found;
}

export function at(position: number): SequencePosition {
  return SequencePosition.fromString(String(position));
}

export function numbers(events: readonly SequencedEvent[]): number[] {
  return events.map(({ position }) => Number(position.toString()));
}

export function dataOf(events: readonly SequencedEvent[]): unknown[] {
  return events.map(({ event }) => event.data);
}
