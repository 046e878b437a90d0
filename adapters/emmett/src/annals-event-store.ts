// Annals as an `EventStore` of Emmett: streams, their versions and expectations, projections and
// hooks after an append, and consumers. Besides what Emmett has, appends may have conditions on any
// query (dynamic consistency boundaries).

import * as Emmett from "@event-driven-io/emmett";
import * as Annals from "annals-client";
import { annalsConsumer, type AnnalsConsumer, type ConsumerOptions } from "./consumer.js";
import { appendedEvent, newEvent, readEvent } from "./stored-messages.js";
import type { AnnalsReadEvent, ReadMetadata, StoredMessage } from "./stored-messages.js";

export type { AnnalsConsumer, AnnalsProcessor, ConsumerOptions } from "./consumer.js";

/** What projections and processors get besides their events. */
export type AnnalsHandlerContext = Record<string, unknown> & {
  readonly eventStore: AnnalsEventStore;
  /** The client, without Emmett's mapping. */
  readonly client: Annals.AnnalsClient<StoredMessage>;
};

export interface AnnalsEventStoreOptions extends Emmett.DefaultEventStoreOptions<AnnalsEventStore> {
  /** The tags of an event, by which queries and conditions find it. Absent: none. */
  readonly tags?: (event: Emmett.Event, streamName: string) => readonly string[];
  /**
   * Inline projections run after the events are durable and before `appendToStream` resolves, one
   * append after the other. One that fails makes it throw an `InlineProjectionError`.
   */
  readonly projections?: Emmett.ProjectionRegistration<"inline", ReadMetadata, any>[];
  /** More context for projections and processors, such as a database. */
  readonly context?: Readonly<Record<string, unknown>>;
  /** How data becomes JSON. Absent: what JSON would lose is refused. Emmett's: `JSONParser`. */
  readonly json?: Annals.EventOptions<StoredMessage>["json"];
  /** What a fold does if a policy has removed some of its events. Absent: it refuses. */
  readonly missingEvents?: Annals.MissingEvents;
}

/** No event after a position matches a query. */
export interface AnnalsCondition extends Annals.Condition {
  /** The epoch of the position. Absent: not checked. */
  readonly epoch?: string | undefined;
}

export type AnnalsAppendOptions<
  E extends Emmett.Event,
  Stored extends Emmett.Event,
> = Emmett.AppendToStreamOptions<bigint, E, Stored> & {
  /** What must hold besides the expected version: from `aggregateQuery`, or one of your own. */
  readonly condition?: AnnalsCondition | undefined;
};

export interface AnnalsEventStore extends Emmett.EventStore<ReadMetadata> {
  appendToStream<E extends Emmett.Event, Stored extends Emmett.Event = E>(
    streamName: string,
    events: E[],
    options?: AnnalsAppendOptions<E, Stored>,
  ): Promise<Emmett.AppendToStreamResultWithGlobalPosition>;
  /** The state of all that a query finds, and the condition that protects a decision on it. */
  aggregateQuery<State, E extends Emmett.Event>(
    query: Annals.Query,
    options: Pick<Emmett.AggregateStreamOptions<State, E, ReadMetadata>, "evolve" | "initialState">,
  ): Promise<{ state: State; condition: AnnalsCondition }>;
  consumer(options?: ConsumerOptions): AnnalsConsumer;
}

/** The events are stored, and an inline projection failed on them. Do not append them again. */
export class InlineProjectionError extends Emmett.EmmettError {
  constructor(
    readonly appended: Emmett.AppendToStreamResultWithGlobalPosition,
    override readonly cause: unknown,
  ) {
    super(`the events are stored, but an inline projection failed: ${String(cause)}`);
    Object.setPrototypeOf(this, InlineProjectionError.prototype);
  }
}

/** The client stays its owner's, who closes it. */
export function getAnnalsEventStore(
  anyClient: Annals.AnnalsClient<Annals.EventShape>,
  options: AnnalsEventStoreOptions = {},
): AnnalsEventStore {
  const codec = Annals.defineEvents<StoredMessage>(options.json && { json: options.json });
  const client = anyClient.withEvents(codec);
  const { tags = () => [], missingEvents = "refuse" } = options;

  async function read(
    stream: string,
    asked: Emmett.ReadStreamOptions<bigint, any, any> = {},
    missing: Annals.MissingEvents = "accept",
  ): Promise<Emmett.ReadStreamResult<any, ReadMetadata>> {
    const { from = 1n, to, maxCount, expectedStreamVersion: expected, schema } = asked;
    const isEmpty = to !== undefined && (to < 1n || to < from);
    const range = {
      from: { version: Math.max(Number(from), 1) },
      to: to === undefined ? undefined : { version: Number(to) },
      limit: maxCount ? Number(maxCount) : undefined,
    };
    // An empty range still has the stream's version.
    const its = isEmpty ? { limit: 1, backwards: true } : range;
    const reading = client.read({ stream, ...its, missingEvents: missing });
    const found = await reading.toArray();
    const current = BigInt(reading.end.version);
    const isThere = found.length > 0 || (current > 0n && (await streamExists(stream)));
    // A deleted stream does not exist, and keeps its version for those who expect exactly that.
    const judged = isThere || typeof expected === "bigint" ? current : 0n;
    Emmett.assertExpectedVersionMatchesCurrent(judged, expected, 0n);
    const events = isEmpty ? [] : found.map(readEvent);
    return {
      currentStreamVersion: current,
      events: Emmett.upcastRecordedMessages(events, schema?.versioning),
      streamExists: isThere,
    };
  }

  async function streamExists(stream: string): Promise<boolean> {
    const info = await client.stream(stream);
    return info !== undefined && info.version > info.deletedThrough;
  }

  const store: AnnalsEventStore = {
    readStream: (stream, asked) => read(stream, asked),
    streamExists,

    async aggregateStream(stream, { evolve, initialState, read: asked = {} }) {
      const { events, ...found } = await read(stream, asked, missingEvents);
      const state = events.reduce((s, event) => evolve(s, event), initialState());
      // The version of the state, which is an earlier one where the range ends earlier.
      const last: bigint | undefined = events.at(-1)?.metadata.streamPosition;
      const isPart = asked.to !== undefined || asked.maxCount !== undefined;
      const version = isPart ? (last ?? found.currentStreamVersion) : found.currentStreamVersion;
      return { ...found, state, currentStreamVersion: version };
    },

    async appendToStream(stream, events, { expectedStreamVersion: expected, ...asked } = {}) {
      const downcast: (event: any) => Emmett.Event =
        asked.schema?.versioning?.downcast ?? ((event) => event);
      const proposed = events.map((event) => newEvent(downcast(event), tags(event, stream)));
      const { epoch, ...condition } = asked.condition ?? {};
      const rules = asked.condition && { epoch, condition: condition as Annals.Condition };
      const appending = client.append(stream, proposed, { expect: expectOf(expected), ...rules });
      const appended = await appending.catch((error: unknown) => {
        throw refusal(error, expected);
      });
      const result = {
        nextExpectedStreamVersion: BigInt(appended.version),
        createdNewStream: appended.streams[0]?.firstVersion === 1,
        lastEventGlobalPosition: BigInt(appended.lastPosition),
      };
      const stored = events.map((event, i) => appendedEvent(event, appended.events[i] as never));
      await project(stored).catch((error: unknown) => {
        throw new InlineProjectionError(result, error);
      });
      await Emmett.tryPublishMessagesAfterCommit<AnnalsEventStore>(stored, options.hooks);
      return result;
    },

    async aggregateQuery(query, { evolve, initialState }) {
      const reading = client.read({ query, missingEvents });
      let state = initialState();
      for await (const event of reading) state = evolve(state, readEvent(event) as never);
      const { after, epoch } = reading.end;
      return { state, condition: { query, after, epoch } };
    },

    consumer: (asked) => annalsConsumer(client, context, asked),
  };
  const context: AnnalsHandlerContext = { ...options.context, eventStore: store, client };
  const project = inlineProjections(options.projections ?? [], context);
  return store;
}

/** Runs the projections, of one append after the other. */
function inlineProjections(
  registered: NonNullable<AnnalsEventStoreOptions["projections"]>,
  context: AnnalsHandlerContext,
): (events: readonly AnnalsReadEvent[]) => Promise<void> {
  const projections = Emmett.filterProjections("inline", registered);
  const about = { status: "active", registrationType: "inline", context } as const;
  let initiated: Promise<unknown> | undefined;
  let before: Promise<unknown> = Promise.resolve();
  const run = async (events: readonly AnnalsReadEvent[]) => {
    const init = (each: (typeof projections)[0]) => each.init?.({ version: 1, ...each, ...about });
    await (initiated ??= Promise.all(projections.map(init)));
    for (const { canHandle, handle } of projections) {
      const its = events.filter(({ type }) => canHandle.includes(type));
      if (its.length > 0) await handle(its, context);
    }
  };
  return (events) => {
    if (projections.length === 0) return Promise.resolve();
    const running = before.then(() => run(events));
    before = running.catch(() => undefined);
    return running;
  };
}

function expectOf(expected?: Emmett.ExpectedStreamVersion): Annals.Expect | undefined {
  if (expected === undefined || expected === Emmett.NO_CONCURRENCY_CHECK) return undefined;
  if (typeof expected === "bigint") return Number(expected);
  if (expected === Emmett.STREAM_EXISTS) return "exists";
  if (expected === Emmett.STREAM_DOES_NOT_EXIST) return "absent";
  throw new Emmett.EmmettError(`there is no expected version ${expected}`);
}

/** Conflicts as Emmett knows them; other errors are the client's. */
function refusal(error: unknown, expected?: Emmett.ExpectedStreamVersion): unknown {
  if (!Annals.isStoreError(error) || error.code !== "CONFLICT") return error;
  const [[stream], [condition]] = [error.streams, error.conditions];
  if (stream === undefined && condition !== undefined) {
    const { position, after } = condition;
    const message = `the condition does not hold: an event at ${position} matches, after ${after}`;
    return new Emmett.ConcurrencyError(`${position}`, `${after}`, message);
  }
  const current = BigInt(stream?.actualVersion ?? 0);
  return new Emmett.ExpectedVersionConflictError(current, expected ?? Emmett.NO_CONCURRENCY_CHECK);
}
