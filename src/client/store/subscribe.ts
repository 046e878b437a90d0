// Subscriptions that survive their connection: after a break, the next call begins where the last
// one ended, on the same store, so that no event is left out or delivered twice.

import type { MessageInitShape } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";
import type {
  CaughtUp,
  Checkpoint,
  SubscribeRequestSchema,
  SubscribeResponse,
} from "../../gen/annals/v1/read_pb.js";
import { isWorthRetrying, storeErrorOf } from "./call-failure.ts";
import { firstConnection, identityFor, type Context } from "./context.ts";
import { EpochMismatchError, invalidField, ServerError, UnavailableError } from "./errors.ts";
import {
  rawEvent,
  type EventCodec,
  type EventShape,
  type RawEvent,
  type RecordedEvent,
} from "./event.ts";
import { storeInfo } from "./info.ts";
import { readEvent } from "./lazy-event.ts";
import { dateOf, safeInteger, wireInteger, wireTime } from "./numbers.ts";
import { OneByOne } from "./one-by-one.ts";
import { delayAfter, pause } from "./retry.ts";
import { wireSelection, type Selection } from "./selection.ts";

export interface SubscribeStart {
  /**
   * The position of the last event dealt with, or for a stream its version; exclusive. `"end"`:
   * only events appended from now on. Absent: from the first event.
   */
  readonly after?: number | { readonly version: number } | "end" | undefined;
  /** From this time on, inclusive; instead of `after`. */
  readonly fromTime?: Date | undefined;
}

/** Why a subscription pauses before it continues. */
export interface Interruption {
  readonly error: unknown;
  /** Consecutive failures, including this one. */
  readonly failures: number;
  readonly delayMs: number;
}

export type SubscribeOptions = Selection &
  SubscribeStart & {
    readonly signal?: AbortSignal | undefined;
    /**
     * The store from which `after` was read; another store is refused. Absent: not checked at
     * first.
     */
    readonly storeId?: string | undefined;
    /**
     * The epoch of `after`, as a message gave it. A position from another history of the store is
     * refused with an `EpochMismatchError`. Absent: not checked at first.
     */
    readonly epoch?: string | undefined;
    /** The longest silence. Absent: 10 s. */
    readonly checkpointIntervalMs?: number | undefined;
    readonly batchEventsMax?: number | undefined;
    readonly onInterruption?: ((interruption: Interruption) => void) | undefined;
  };

/** Where to subscribe after, once a message has been dealt with. */
interface Place {
  readonly position: number;
  /** The epoch of the position: keep it beside it. Empty: the server names none. */
  readonly epoch: string;
}

/** A message of a subscription. */
export type SubscriptionMessage<Event> = Place &
  (
    | { readonly kind: "events"; readonly events: readonly Event[] }
    /** Everything stored has been delivered. From here on, events arrive as they are stored. */
    | { readonly kind: "caught-up"; readonly time: Date }
    /** No longer at the head, or no longer connected. A `caught-up` follows. */
    | { readonly kind: "fell-behind" }
    /** Progress without an event: all events of the selection up to here have been delivered. */
    | { readonly kind: "checkpoint"; readonly time: Date }
  );

/** Events without an end, at the reader's pace. Leaving the loop ends the subscription. */
export interface Subscription<E extends EventShape> extends AsyncIterable<RecordedEvent<E>> {
  /** Events in batches, and the server's messages about progress. */
  messages(): AsyncIterable<SubscriptionMessage<RecordedEvent<E>>>;
}

type WireRequest = Exclude<MessageInitShape<typeof SubscribeRequestSchema>, { $typeName: string }>;

export function subscribeTo<E extends EventShape>(
  context: Context,
  codec: EventCodec<E>,
  options: SubscribeOptions,
): Subscription<E> {
  async function* messages(): AsyncGenerator<SubscriptionMessage<RecordedEvent<E>>> {
    for await (const message of rawMessages(context, options)) {
      if (message.kind !== "events") yield message;
      else yield { ...message, events: message.events.map((raw) => readEvent(raw, codec)) };
    }
  }
  async function* batches() {
    for await (const message of messages()) if (message.kind === "events") yield message.events;
  }
  return { messages, [Symbol.asyncIterator]: () => new OneByOne(batches()) };
}

/** With events as they were recorded. */
async function* rawMessages(
  context: Context,
  options: SubscribeOptions,
): AsyncGenerator<SubscriptionMessage<RawEvent>> {
  const { signal, onInterruption } = options;
  const { rpc, retry } = context;
  const identity = identityFor(context, options.storeId);
  await firstConnection(context, { signal });
  const request = await firstRequest(context, options);
  let position = typeof options.after === "number" ? options.after : undefined;
  let { epoch = "" } = request;
  let live = false;
  let connected = false;
  for (let failures = 0; ;) {
    try {
      const next =
        position === undefined ? request : { ...request, start: afterPosition(position), epoch };
      const answers = identity.confirmed(rpc.subscribe(next, { signal }), () => ({ signal }));
      const place = { position: position ?? 0, epoch };
      for await (const message of messagesOf(answers, place)) {
        connected = true;
        failures = 0;
        ({ position, epoch } = message);
        live = message.kind === "caught-up" || (live && message.kind !== "fell-behind");
        yield message;
      }
      throw new UnavailableError("the subscription was cut off", "UNREACHABLE");
    } catch (caught) {
      signal?.throwIfAborted();
      const error = storeErrorOf(caught);
      if (error instanceof EpochMismatchError) await identity.confirm({ signal });
      failures += 1;
      const givesUp = !connected && failures >= retry.attemptsMax;
      if (givesUp || !isWorthRetrying(error)) throw error;
      const waitMs = delayAfter(retry, failures, error);
      onInterruption?.({ error, failures, delayMs: waitMs });
      if (live) yield { kind: "fell-behind", position: position ?? 0, epoch };
      live = false;
      await pause(waitMs, signal);
    }
  }
}

/** "From now on" becomes a position at once, so that a second attempt does not begin later. */
async function firstRequest(context: Context, options: SubscribeOptions): Promise<WireRequest> {
  const { checkpointIntervalMs, batchEventsMax = 0, after, fromTime, signal } = options;
  if (after !== undefined && fromTime !== undefined) {
    throw invalidField("fromTime", "goes without `after`");
  }
  const end = after === "end" ? await storeInfo(context, { signal }) : undefined;
  return {
    selection: wireSelection(options),
    start: end === undefined ? startOf(after, fromTime) : afterPosition(end.head),
    epoch: end?.epoch ?? options.epoch ?? "",
    batchEventsMax,
    ...(checkpointIntervalMs !== undefined && {
      checkpointInterval: durationFromMs(checkpointIntervalMs),
    }),
  };
}

function startOf(
  after: SubscribeStart["after"],
  fromTime: Date | undefined,
): NonNullable<WireRequest["start"]> {
  if (fromTime !== undefined) return { case: "fromTime", value: wireTime(fromTime, "fromTime") };
  if (after === undefined || after === "end") return { case: undefined };
  if (typeof after === "number") return afterPosition(after);
  return { case: "afterVersion", value: wireInteger(after.version, "after.version") };
}

function afterPosition(position: number) {
  return { case: "afterPosition", value: wireInteger(position, "after") } as const;
}

async function* messagesOf(
  answers: AsyncIterable<SubscribeResponse>,
  after: Place,
): AsyncGenerator<SubscriptionMessage<RawEvent>> {
  let place = after;
  for await (const { message, epoch } of answers) {
    const known = messageOf(message, epoch === "" ? place : { ...place, epoch });
    if (known === undefined) continue;
    place = known;
    yield known;
  }
}

/** Checked on arrival: an event at or before the last one would be delivered twice. */
function messageOf(
  message: SubscribeResponse["message"],
  before: Place,
): SubscriptionMessage<RawEvent> | undefined {
  const { epoch } = before;
  switch (message.case) {
    case "batch": {
      const events = message.value.events.map(rawEvent);
      let { position } = before;
      for (const event of events) {
        if (event.position <= position) {
          throw new ServerError(`position ${event.position} came again`, "INTERNAL", {});
        }
        ({ position } = event);
      }
      return { kind: "events", position, epoch, events };
    }
    case "caughtUp":
      return { kind: "caught-up", epoch, ...placeOf(message.value) };
    case "checkpoint":
      return { kind: "checkpoint", epoch, ...placeOf(message.value) };
    case "fellBehind":
      return { kind: "fell-behind", epoch, position: safeInteger(message.value.position) };
    case undefined:
      return undefined;
  }
}

function placeOf({ position, time }: CaughtUp | Checkpoint) {
  return { position: safeInteger(position), time: dateOf(time) };
}
