// Annals as the `EventStore` of @dcb-es/event-store. Their events, tags, queries and conditions are
// those of Annals, so that each method is one call.

import {
  AppendConditionError,
  ensureIsArray,
  SequencePosition,
  Tags,
  validateAppendCondition,
  type AppendCommand,
  type AppendCondition,
  type DcbEvent,
  type EventStore,
  type Query,
  type QueryItem as TheirItem,
  type ReadOptions,
  type SequencedEvent,
  type SubscribeOptions,
} from "@dcb-es/event-store";
import {
  defineEvents,
  isStoreError,
  packMetadata,
  unpackMetadata,
  type AnnalsClient,
  type Condition,
  type EventShape,
  type QueryItem,
  type ReadEnd,
  type RecordedEvent,
} from "annals-client";

export interface AnnalsEventStoreOptions {
  /**
   * The stream of an event, for those who also load streams. Absent, or empty: none. The event is
   * found by its type and its tags either way.
   */
  readonly streamOf?: (event: DcbEvent) => string;
}

/** What is stored for the application. */
interface StoredEvent extends EventShape {
  readonly type: string;
  readonly data: unknown;
}

/** `Limits.conditions_max`. */
const conditionsMax = 64;
/** The entry with metadata that is not text under a name. */
const metadataEntry = "dcb-es-metadata";

export class AnnalsEventStore implements EventStore {
  private readonly client: AnnalsClient<StoredEvent>;
  private readonly streamOf: (event: DcbEvent) => string;
  /** The reads that positions are from, which know their epoch at their end. */
  private readonly reads = new WeakMap<SequencePosition, { end?: ReadEnd }>();

  /** The client stays its owner's, who closes it. */
  constructor(client: AnnalsClient<EventShape>, { streamOf }: AnnalsEventStoreOptions = {}) {
    this.client = client.withEvents(defineEvents<StoredEvent>());
    this.streamOf = streamOf ?? (() => "");
  }

  /**
   * All commands in one append: completely, or not at all. Their conditions are about what was
   * stored before. Throws an `AppendConditionError`, or a `StoreError` of the client. It is retried
   * while the server cannot be reached, and stored once.
   */
  async append(command: AppendCommand | AppendCommand[]): Promise<SequencePosition> {
    const commands = ensureIsArray(command);
    const events = commands.flatMap((each) => ensureIsArray(each.events));
    if (events.length === 0) throw new Error("Cannot append zero events");
    const conditional = commands.flatMap(({ condition }, index) =>
      condition === undefined ? [] : [{ condition, index }],
    );
    const epoch = this.epochOf(conditional.map(({ condition }) => condition));
    const conditions = merged(conditional.map(({ condition }) => conditionOf(condition)));
    try {
      const proposed = events.map((event) => this.newEvent(event));
      const { lastPosition } = await this.client.append(proposed, { epoch, condition: conditions });
      return positionOf(lastPosition);
    } catch (error) {
      const conflict = isStoreError(error) && error.code === "CONFLICT" && error.conditions[0];
      if (!conflict) throw error;
      const isWhole = conditions.length === conditional.length;
      const broken = isWhole
        ? conditional[conflict.index]
        : await this.brokenAt(conflict.position, conditional);
      if (broken === undefined) throw error;
      const { condition, index } = broken;
      throw new AppendConditionError(condition, commands.length > 1 ? index : undefined);
    }
  }

  /** Of conditions that were merged, one that the event at a position breaks. */
  private async brokenAt<C extends { readonly condition: AppendCondition }>(
    position: number,
    conditional: readonly C[],
  ): Promise<C | undefined> {
    const place = { position };
    const [event] = await this.client.read({ from: place, to: place }).toArray();
    return conditional.find(({ condition: { after, failIfEventsMatch } }) => {
      const isAfter = after === undefined || position > numberOf(after);
      return isAfter && failIfEventsMatch.items.some((item) => matches(item, event));
    });
  }

  /** One consistent view. Leaving the loop ends the call. */
  async *read(query: Query, options: ReadOptions = {}): AsyncGenerator<SequencedEvent> {
    const { backwards = false, after, limit } = options;
    const from = after === undefined ? undefined : numberOf(after) + (backwards ? -1 : 1);
    if (from === 0) return;
    const of: { end?: ReadEnd } = {};
    const reading = this.client.read({
      query: queryOf(query),
      backwards,
      from: from === undefined ? undefined : { position: from },
      limit: limit === 0 ? undefined : limit,
    });
    for await (const event of reading) {
      const sequenced = sequencedEvent(event);
      this.reads.set(sequenced.position, of);
      yield sequenced;
    }
    of.end = reading.end;
  }

  /**
   * What is stored after a position, and then each event as it is stored, until the signal aborts.
   * It survives broken connections without a gap or a repetition. There is no polling:
   * `pollIntervalMs` has no effect.
   */
  async *subscribe(query: Query, options: SubscribeOptions = {}): AsyncGenerator<SequencedEvent> {
    const { after, signal } = options;
    const start = { after: numberOf(after ?? SequencePosition.initial()) };
    try {
      const events = this.client.subscribe({ query: queryOf(query), ...start, signal });
      for await (const event of events) yield sequencedEvent(event);
    } catch (error) {
      if (signal?.aborted !== true) throw error;
    }
  }

  private newEvent(event: DcbEvent) {
    const { type, data, tags, metadata } = event;
    const isObject = typeof metadata === "object" && metadata !== null;
    const said = isObject ? { ...metadata } : { "": metadata };
    return {
      type,
      data,
      stream: this.streamOf(event),
      tags: tags.values,
      metadata: packMetadata(metadataEntry, said),
    };
  }

  /** The history that the positions were read in, where it is known. */
  private epochOf(conditions: readonly AppendCondition[]): string | undefined {
    for (const { after } of conditions) {
      const epoch = after && this.reads.get(after)?.end?.epoch;
      if (epoch) return epoch;
    }
    return undefined;
  }
}

function conditionOf(condition: AppendCondition) {
  validateAppendCondition(condition);
  const { failIfEventsMatch, after } = condition;
  // As in the package's own stores, a reader may be ahead of what it asks.
  return { query: queryOf(failIfEventsMatch), after: after && numberOf(after), mayBeAhead: true };
}

/** An append may have 64 conditions: where there are more, those after one position become one. */
function merged(conditions: readonly ReturnType<typeof conditionOf>[]): Condition[] {
  if (conditions.length <= conditionsMax) return [...conditions];
  const places = new Set(conditions.map(({ after }) => after));
  return [...places].map((after) => {
    const those = conditions.filter((each) => each.after === after);
    return { query: those.flatMap(({ query }) => query), after, mayBeAhead: true };
  });
}

function matches(item: TheirItem, event: RecordedEvent<StoredEvent> | undefined): boolean {
  const { types, tags } = item;
  if (event === undefined || !types.includes(event.type)) return false;
  return tags?.values.every((tag) => event.tags.includes(tag)) ?? true;
}

function queryOf(query: Query): QueryItem | QueryItem[] {
  if (query.isAll) return {};
  return query.items.map(({ types, tags }) => ({ types, tags: tags?.values }));
}

function sequencedEvent(event: RecordedEvent<StoredEvent>): SequencedEvent {
  const { type, data, metadata, position } = event;
  const said = unpackMetadata(metadataEntry, metadata);
  const isBare = Object.hasOwn(said, "") && Object.keys(said).length === 1;
  return {
    event: { type, data, tags: tagsOf(event.tags), metadata: isBare ? said[""] : said },
    position: positionOf(position),
  };
}

/** Tags with white space, which others may have stored, cannot be `Tags`. */
function tagsOf(tags: readonly string[]): Tags {
  return Tags.from(tags.filter((tag) => !/\s/.test(tag)));
}

function positionOf(position: number): SequencePosition {
  return SequencePosition.fromString(String(position));
}

function numberOf(position: SequencePosition): number {
  return Number(position.toString());
}
