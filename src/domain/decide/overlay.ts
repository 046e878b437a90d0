// The events that a commit batch has accepted so far, laid over what is durable. The next append of
// the batch is decided on both. Lives for one decision. Conditions find events by term, so that the
// cost of deciding thousands of conditional appends does not grow with the square of their number.

import type { AppendCondition } from "../append.ts";
import type { LifecycleOverlay } from "./decide-lifecycle.ts";
import { invariant } from "../errors.ts";
import type { CommitEvent, StoredEvent } from "../event.ts";
import { matches, type Query, type QueryItem } from "../query.ts";
import { recordsIn } from "../record.ts";

/** For each term: indexes into `Overlay.events`, ascending. */
type Postings = Map<string, number[]>;

export class Overlay {
  readonly events: CommitEvent[] = [];
  readonly lifecycles: LifecycleOverlay;
  /** The time of all accepted events. */
  readonly recordedAt: number;
  readonly idChance: number;
  private readonly versions = new Map<string, number>();
  /** Client-chosen ids only: nobody can send an id that the store makes in this batch. */
  private readonly ids = new Map<string, number>();
  private readonly streams: Postings = new Map();
  private readonly types: Postings = new Map();
  private readonly tags: Postings = new Map();
  /** How many of `events` have postings. Postings are made when a condition first asks. */
  private postedCount = 0;

  constructor(recordedAt: number, idChance: number, lifecycles: LifecycleOverlay) {
    this.recordedAt = recordedAt;
    this.idChance = idChance;
    this.lifecycles = lifecycles;
  }

  add(event: CommitEvent): void {
    if (event.idFromClient) this.ids.set(event.id, this.events.length);
    if (event.stream !== "") this.versions.set(event.stream, event.version);
    this.lifecycles.added(event.stream);
    this.events.push(event);
  }

  /** The stream's version. Undefined: the batch has not written to the stream. */
  version(stream: string): number | undefined {
    return this.versions.get(stream);
  }

  find(id: string): StoredEvent | undefined {
    const number = this.ids.get(id);
    const event = number === undefined ? undefined : this.events[number];
    if (event === undefined) return undefined;
    const [record] = recordsIn(event.frame);
    invariant(record !== undefined, "a frame holds a record");
    return { ...event, recordedAt: this.recordedAt, record };
  }

  /** The position of a matching event after `after` that is not removed, or 0. */
  match({ query, after }: Pick<AppendCondition, "query" | "after">): number {
    if ((this.events.at(-1)?.position ?? 0) <= after) return 0;
    if (query.items.length === 0) return this.firstMatch(query, after, undefined);
    this.post();
    for (const item of query.items) {
      const position = this.firstMatch({ items: [item] }, after, this.candidates(item));
      if (position > 0) return position;
    }
    return 0;
  }

  /** The lists only narrow the search; the event must match the query. */
  private firstMatch(
    query: Query,
    after: number,
    lists: readonly (readonly number[])[] | undefined,
  ): number {
    if (lists === undefined) {
      return this.events.find((event) => this.isMatch(query, after, event))?.position ?? 0;
    }
    for (const list of lists) {
      for (const number of list) {
        const event = this.events[number];
        if (event !== undefined && this.isMatch(query, after, event)) return event.position;
      }
    }
    return 0;
  }

  private isMatch(query: Query, after: number, event: CommitEvent): boolean {
    if (event.position <= after || !matches(query, event)) return false;
    return this.lifecycles.isLeft(event, this.version(event.stream) ?? 0);
  }

  /** The shortest lists that contain every event the item can match. Undefined: all events. */
  private candidates(item: QueryItem): readonly (readonly number[])[] | undefined {
    let best: readonly (readonly number[])[] | undefined;
    let bestCount = this.events.length;
    const consider = (lists: readonly (readonly number[])[]) => {
      const count = lists.reduce((sum, list) => sum + list.length, 0);
      if (count < bestCount) [best, bestCount] = [lists, count];
    };
    for (const tag of item.tags) consider(listsOf(this.tags, [tag]));
    if (item.tagsAny.length > 0) consider(listsOf(this.tags, item.tagsAny));
    if (item.streams.length > 0) consider(listsOf(this.streams, item.streams));
    if (item.types.length > 0) consider(listsOf(this.types, item.types));
    return best;
  }

  private post(): void {
    for (; this.postedCount < this.events.length; this.postedCount++) {
      const event = this.events[this.postedCount] as CommitEvent;
      add(this.streams, event.stream, this.postedCount);
      add(this.types, event.type, this.postedCount);
      for (const tag of event.tags) add(this.tags, tag, this.postedCount);
    }
  }
}

function add(postings: Postings, term: string, number: number): void {
  const list = postings.get(term);
  if (list === undefined) postings.set(term, [number]);
  else list.push(number);
}

function listsOf(postings: Postings, terms: readonly string[]): readonly (readonly number[])[] {
  return terms.map((term) => postings.get(term) ?? []);
}
