// The events that a commit batch has accepted so far, laid over what is durable. The next append of
// the batch is decided on both. Lives for one decision. Conditions find events by term, so that the
// cost of deciding thousands of conditional appends does not grow with the square of their number.

import type { AppendCondition, Appended } from "../append.ts";
import type { Checkpoint } from "../checkpoint.ts";
import { invariant } from "../errors.ts";
import {
  ownId,
  type CommitEvent,
  type NewEvent,
  type PlacedEvent,
  type StoredEvent,
} from "../event.ts";
import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import { positionMax } from "../limits.ts";
import { matches, type Query, type QueryItem } from "../query.ts";
import { composeFrame, recordsIn, type Additions } from "../record.ts";
import { CheckpointOverlay, type CheckpointFacts } from "./decide-checkpoint.ts";
import { LifecycleOverlay } from "./decide-lifecycle.ts";

/** What is durable as of `head`. `Facts` of the storage port has this shape. */
export interface DecisionFacts extends CheckpointFacts {
  readonly head: { readonly position: number; readonly recordedAt: number };
  readonly versions: ReadonlyMap<string, number>;
  readonly lifecycles: ReadonlyMap<string, Lifecycle>;
  readonly events: ReadonlyMap<string, StoredEvent>;
  /** One for each of `factsNeeded(...).conditions`. */
  readonly matches: readonly number[];
}

const noChanges: ReadonlyMap<string, undefined> = new Map();

/** For each term: indexes into `Overlay.events`, ascending. */
type Postings = Map<string, number[]>;

export class Overlay {
  readonly events: CommitEvent[] = [];
  /** Undefined: no stream of the batch has a lifecycle, and none was to get one. */
  lifecycles: LifecycleOverlay | undefined;
  /** Accepted changes of checkpoints, by consumer. Undefined: the checkpoint is deleted. */
  checkpointChanges: ReadonlyMap<string, Checkpoint | undefined> = noChanges;
  /** The position of the next event that is accepted. */
  nextPosition: number;
  /** What the present step of the decision has cost: see steps.ts. */
  spentBytes = 0;
  /** How many ids `find` knows. */
  idCount: number;
  /** The time of all accepted events that come without one. */
  readonly recordedAt: number;
  /** The time of each event. Undefined: all have that time. */
  times: number[] | undefined;
  private readonly facts: DecisionFacts;
  private readonly idChance: number;
  private ofCheckpoints: CheckpointOverlay | undefined;
  private readonly versions = new Map<string, number>();
  /** Client-chosen ids only: nobody can send an id that the store makes in this batch. */
  private readonly ids = new Map<string, number>();
  private readonly streams: Postings = new Map();
  private readonly types: Postings = new Map();
  private readonly tags: Postings = new Map();
  /** How many of `events` have postings. Postings are made when a condition first asks. */
  private postedCount = 0;

  constructor(facts: DecisionFacts, recordedAt: number, idChance: number) {
    this.facts = facts;
    this.recordedAt = recordedAt;
    this.idChance = idChance;
    this.nextPosition = facts.head.position + 1;
    this.idCount = facts.events.size;
    if (facts.lifecycles.size > 0) this.lifecycles = new LifecycleOverlay(facts.lifecycles);
  }

  get checkpoints(): CheckpointOverlay {
    this.ofCheckpoints ??= new CheckpointOverlay(this.facts, this.recordedAt);
    this.checkpointChanges = this.ofCheckpoints.changes;
    return this.ofCheckpoints;
  }

  /** The time of the last event, durable or accepted. */
  get lastTime(): number {
    const { times, events, facts, recordedAt } = this;
    if (times !== undefined) return times.at(-1) ?? facts.head.recordedAt;
    return events.length === 0 ? facts.head.recordedAt : recordedAt;
  }

  /** The time that an event gets: its own, where another system recorded it, up to the clock's. */
  timeOf({ recordedAt: own }: { readonly recordedAt?: number | undefined }): number {
    const { recordedAt } = this;
    return own === undefined || own > recordedAt ? recordedAt : own;
  }

  /** Accepts an event at the next position. */
  place(
    event: NewEvent,
    { principal = "", traceParent = "" }: Pick<Additions, "principal" | "traceParent">,
  ): CommitEvent {
    const { stream, type, tags, idFromClient, body, bodyEnd } = event;
    const { nextPosition: position } = this;
    const recordedAt = event.recordedAt === undefined ? this.recordedAt : this.timeOf(event);
    if (recordedAt !== this.recordedAt) this.times ??= this.events.map(() => this.recordedAt);
    this.times?.push(recordedAt);
    const version = stream === "" ? 0 : this.version(stream) + 1;
    if (position > positionMax) throw new RangeError("positions are safe integers");
    const made = idFromClient ? "" : ownId(this.idChance, position, recordedAt);
    const additions = { bodyEnd, ownId: made, principal, traceParent };
    const frame = composeFrame(body, version, position, recordedAt, additions);
    const id = idFromClient ? event.id : made;
    const placed = { id, stream, type, tags, version, position, idFromClient, frame };
    if (idFromClient) {
      this.ids.set(id, this.events.length);
      this.idCount++;
    }
    if (stream !== "") this.versions.set(stream, version);
    this.lifecycles?.added(stream);
    this.events.push(placed);
    this.nextPosition = position + 1;
    return placed;
  }

  version(stream: string): number {
    const version = this.versions.get(stream) ?? this.facts.versions.get(stream);
    if (version !== undefined) return version;
    // A stream that was not looked up must not be taken for an empty one, because it would be
    // numbered from 1 again.
    throw new Error(
      `invariant broken: the facts know every stream of the batch, but not ${stream}`,
    );
  }

  /** The accepted or durable event with an id. */
  find(id: string): StoredEvent | undefined {
    const number = this.ids.get(id);
    const event = number === undefined ? undefined : this.events[number];
    if (event === undefined) return this.facts.events.get(id);
    const [record] = recordsIn(event.frame);
    invariant(record !== undefined, "a frame holds a record");
    return { ...event, recordedAt: this.times?.[number as number] ?? this.recordedAt, record };
  }

  /** The position of an accepted event after `after` that matches and is not removed, or 0. */
  match({ query, after }: Pick<AppendCondition, "query" | "after">): number {
    if ((this.events.at(-1)?.position ?? 0) <= after) return 0;
    if (query.items.length === 0) return this.firstMatch(query, after, undefined);
    this.post();
    for (const item of query.items) {
      if (this.isWithoutTag(item)) continue;
      const position = this.firstMatch({ items: [item] }, after, this.candidates(item));
      if (position > 0) return position;
    }
    return 0;
  }

  /** Whether no accepted event has one of the tags that the item names. */
  private isWithoutTag({ tags }: QueryItem): boolean {
    for (const tag of tags) if (!this.tags.has(tag)) return true;
    return false;
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
    return this.lifecycles?.isLeft(event, this.versions.get(event.stream) ?? 0) ?? true;
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

/** The answer to an append whose events are stored, now or earlier. */
export function appended(
  events: readonly PlacedEvent[],
  recordedAt: number,
  deduplicated: boolean,
): Appended {
  const streams = new Map<string, { stream: string; firstVersion: number; lastVersion: number }>();
  for (const { stream, version } of events) {
    if (stream === "") continue;
    const known = streams.get(stream);
    if (known !== undefined) known.lastVersion = version;
    else streams.set(stream, { stream, firstVersion: version, lastVersion: version });
  }
  return {
    kind: "appended",
    firstPosition: events[0]?.position ?? 0,
    lastPosition: events.at(-1)?.position ?? 0,
    streams: [...streams.values()],
    recordedAt,
    deduplicated,
  };
}
