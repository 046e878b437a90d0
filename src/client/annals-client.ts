// The client: every operation of a store over one connection, typed by the application's events.

import { setTimeout as sleep } from "node:timers/promises";
import type { Connection } from "./rpc/connection.ts";
import { consumerOf, type ConsumeOptions, type GroupConsumer } from "./group/consumer.ts";
import { groupsOf, type Groups } from "./group/groups.ts";
import { settleAppend, type Appended, type AppendRules } from "./store/append.ts";
import { AppendPipe, type AppenderOptions, type AppendUnderway } from "./store/appender.ts";
import {
  checkpointsOf,
  waitFor,
  type Checkpoints,
  type EpochOptions,
  type Waited,
} from "./store/checkpoints.ts";
import { answered, type Context, type OperationOptions, type StoreRpc } from "./store/context.ts";
import { storeErrorOf } from "./store/call-failure.ts";
import { UnavailableError } from "./store/errors.ts";
import type { EventCodec, EventShape, NewEvent, RecordedEvent } from "./store/event.ts";
import { findEventById, type FindEventOptions } from "./store/find-event.ts";
import {
  listEventTypes,
  listStreams,
  storeInfo,
  streamInfo,
  type EventTypeInfo,
  type ListOptions,
  type StoreInfo,
  type StreamInfo,
} from "./store/info.ts";
import { loadStream, type Fold, type Loaded, type LoadOptions } from "./store/load.ts";
import { assertComplete, type Complete } from "./store/missing-events.ts";
import { readEvents, type Reading, type ReadOptions } from "./store/read.ts";
import { snapshotsOf, type Snapshots } from "./store/snapshots.ts";
import { subscribeTo, type SubscribeOptions, type Subscription } from "./store/subscribe.ts";

/** Between the questions to a server that opens its store. */
const openingMs = 50;

export type AppendOptions = AppendRules & OperationOptions;

/** A pipe with many appends in flight, answered in order. */
export interface Appender<E extends EventShape> {
  /** Resolves when there is room for the append, with a promise of its outcome. */
  append(
    stream: string,
    events: NewEvent<E> | readonly NewEvent<E>[],
    rules?: AppendRules,
  ): Promise<AppendUnderway<E>>;
  /** Waits for every outcome and ends the pipe. */
  close(): Promise<void>;
}

/** A store. Every method fails with a `StoreError`, or with its signal's own reason. */
export interface AnnalsClient<E extends EventShape> {
  readonly address: string;
  /** One atomic append to the streams that the events name. */
  append(events: readonly NewEvent<E>[], options?: AppendOptions): Promise<Appended<E>>;
  /**
   * One atomic append, durable when it resolves. It is retried with the same event ids while the
   * server cannot be reached, does not know the outcome or is overloaded, so that it is stored once
   * or not at all.
   */
  // Last, because the compiler explains a mistake with the last overload.
  append(
    stream: string,
    events: NewEvent<E> | readonly NewEvent<E>[],
    options?: AppendOptions,
  ): Promise<Appended<E>>;
  appender(options?: AppenderOptions): Appender<E>;
  /** Reads the events that are stored now. */
  read(options?: ReadOptions): Reading<E>;
  /**
   * Fails with a `MissingEventsError` if a policy has removed events of the selection (with a
   * position: events after it). Call it before a reader that needs all of them continues from
   * there.
   */
  assertComplete(wanted: Complete, options?: OperationOptions): Promise<void>;
  /** Delivers the stored events, and then each event as it becomes durable. */
  subscribe(options?: SubscribeOptions): Subscription<E>;
  /**
   * Computes a state from a stream: from its newest snapshot, or its first event. See also
   * `repository`.
   */
  load<State>(stream: string, fold: Fold<State, E>, options?: LoadOptions): Promise<Loaded<State>>;
  /** Joins a consumer group, whose members share its events. */
  group(name: string, options?: ConsumeOptions): GroupConsumer<E>;
  readonly groups: Groups<E>;
  readonly checkpoints: Checkpoints;
  /** Waits until a consumer or a group has reached a position, and returns its position. */
  waitFor(who: Waited, position: number, options?: EpochOptions): Promise<number>;
  readonly snapshots: Snapshots;
  /** The event with an id. Undefined: there is none, or it was removed. */
  event(id: string, options?: FindEventOptions): Promise<RecordedEvent<E> | undefined>;
  /** Undefined: it never had an event. */
  stream(name: string, options?: OperationOptions): Promise<StreamInfo | undefined>;
  streams(options?: ListOptions): AsyncIterable<StreamInfo>;
  eventTypes(options?: ListOptions): AsyncIterable<EventTypeInfo>;
  info(options?: OperationOptions): Promise<StoreInfo>;
  /** Waits until a server answers that has opened its store. Throws UnavailableError. */
  ready(timeoutMs: number): Promise<void>;
  /** Converts between the application's events and their payloads. */
  readonly events: EventCodec<E>;
  /** A client over the same connection with other events. */
  withEvents<Other extends EventShape>(events: EventCodec<Other>): AnnalsClient<Other>;
  /** The methods of the contract, without codec, retries and resumption. */
  readonly rpc: StoreRpc;
  /** Ends every call. */
  close(): void;
}

export function clientWith<E extends EventShape>(
  context: Context,
  connection: Connection,
  codec: EventCodec<E>,
): AnnalsClient<E> {
  const append: AnnalsClient<E>["append"] = async (
    target: string | readonly NewEvent<E>[],
    given?: NewEvent<E> | readonly NewEvent<E>[] | AppendOptions,
    more: AppendOptions = {},
  ) => {
    const [stream, events, options] =
      typeof target === "string"
        ? [target, given as NewEvent<E> | readonly NewEvent<E>[], more]
        : ["", target, (given ?? {}) as AppendOptions];
    const settled = settleAppend(stream, listed(events), options, codec);
    const answer = await answered(context, options, (call) =>
      context.rpc.append(settled.request, call),
    );
    return settled.resultOf(answer);
  };
  return {
    address: connection.address,
    append,
    appender: (options) => appenderOf(new AppendPipe(context, options), codec),
    read: (options = {}) => readEvents(context, codec, options),
    assertComplete: (wanted, options) => assertComplete(context, wanted, options),
    subscribe: (options = {}) => subscribeTo(context, codec, options),
    load: (stream, fold, options) => loadStream(context, codec, stream, fold, options),
    group: (name, options = {}) => consumerOf(context, codec, name, options),
    groups: groupsOf(context, codec),
    checkpoints: checkpointsOf(context),
    waitFor: (who, position, options = {}) => waitFor(context, who, position, options),
    snapshots: snapshotsOf(context),
    event: (id, options) => findEventById(context, codec, id, options),
    stream: (name, options) => streamInfo(context, name, options),
    streams: (options) => listStreams(context, options),
    eventTypes: (options) => listEventTypes(context, options),
    info: (options) => storeInfo(context, options),
    ready: (timeoutMs) => ready(context, connection, timeoutMs),
    events: codec,
    withEvents: (other) => clientWith(context, connection, other),
    rpc: context.rpc,
    close: () => connection.close(),
  };
}

function appenderOf<E extends EventShape>(pipe: AppendPipe<E>, codec: EventCodec<E>): Appender<E> {
  return {
    // Async, so that an event that cannot be encoded rejects, like every other failure.
    append: async (stream, events, rules = {}) =>
      pipe.append(settleAppend(stream, listed(events), rules, codec)),
    close: () => pipe.close(),
  };
}

function listed<T>(events: T | readonly T[]): readonly T[] {
  return Array.isArray(events) ? (events as readonly T[]) : [events as T];
}

async function ready(context: Context, connection: Connection, timeoutMs: number): Promise<void> {
  const ends = performance.now() + timeoutMs;
  const failed = { mayHaveBeenStored: false };
  try {
    await connection.ready(timeoutMs);
  } catch (cause) {
    const message = `no server at ${connection.address} within ${timeoutMs} ms`;
    throw new UnavailableError(message, "UNREACHABLE", { ...failed, cause });
  }
  // A server listens before it has opened its store.
  for (let left = timeoutMs; left > 0; left = ends - performance.now()) {
    const answer = context.rpc.getInfo({}, { timeoutMs: Math.max(1, Math.ceil(left)) });
    const error = await answer.then(() => undefined, storeErrorOf);
    if (!(error instanceof UnavailableError) || error.reason !== "RECOVERING") return;
    await sleep(Math.min(openingMs, left));
  }
  const message = `${connection.address} has not opened its store within ${timeoutMs} ms`;
  throw new UnavailableError(message, "RECOVERING", failed);
}
