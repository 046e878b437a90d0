// Reads as async iterables. A forwards read that is cut off continues after the last event it
// received. The log before that never changes, so that both parts are one view of the store.

import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  Direction,
  type ReadEnd as WireEnd,
  type ReadRequestSchema,
  type ReadResponse,
} from "../../gen/annals/v1/read_pb.js";
import type { RecordedEvent as WireRecorded } from "../../gen/annals/v1/event_pb.js";
import type { CallOptions } from "../rpc/service-client.ts";
import { isWorthRetrying, storeErrorOf } from "./call-failure.ts";
import { firstConnection, type Context, type OperationOptions } from "./context.ts";
import { readEvent } from "./lazy-event.ts";
import type { MissingEvents } from "./load.ts";
import { leftOf } from "./missing-events.ts";
import { EpochMismatchError, invalidField, UnavailableError } from "./errors.ts";
import { rawEvent, type EventCodec, type EventShape, type RecordedEvent } from "./event.ts";
import { safeInteger, wireInteger, wireTime } from "./numbers.ts";
import { OneByOne } from "./one-by-one.ts";
import { delayAfter, pause } from "./retry.ts";
import { wireSelection, type Selection } from "./selection.ts";

/** A bound in a stream (only for reads of one), in the store, or in time; inclusive. */
export type Place = { readonly version: number } | { readonly position: number } | Date;

export interface ReadRange {
  /** Where to begin, in the direction of the read. Absent: the first event in that direction. */
  readonly from?: Place | undefined;
  /** Where to end. Absent: the last event in that direction. */
  readonly to?: Place | undefined;
  /** From new to old. */
  readonly backwards?: boolean | undefined;
  /** At most so many events. */
  readonly limit?: number | undefined;
  /**
   * The epoch in which the positions and versions of `from` and `to` were read. Those of another
   * history of the store are refused with an `EpochMismatchError`. Absent: not checked.
   */
  readonly epoch?: string | undefined;
}

export type ReadOptions = Selection &
  ReadRange &
  OperationOptions & {
    /**
     * What to do if a policy has removed events of the selection. `"refuse"` fails with a
     * `MissingEventsError`, for folds that need all events. Absent: `"accept"`, they are skipped.
     */
    readonly missingEvents?: MissingEvents | undefined;
  };

export interface ReadEnd {
  /** The head of which the read is a view. */
  readonly head: number;
  /** The position to use as a condition's `after`, and to subscribe after. */
  readonly after: number;
  readonly eventCount: number;
  /**
   * The version of the stream that was read, to expect in an append. 0: no stream was read, or it
   * has no events.
   */
  readonly version: number;
  /** The epoch of these positions and versions. Empty: the server names none. */
  readonly epoch: string;
}

/** The events, which can be iterated once, at the reader's pace. */
export interface Reading<E extends EventShape> extends AsyncIterable<RecordedEvent<E>> {
  /** The same events in batches as they arrive, which is faster. */
  batches(): AsyncIterable<readonly RecordedEvent<E>[]>;
  /** All of them in memory. */
  toArray(): Promise<RecordedEvent<E>[]>;
  /** The end of the read. Throws before the read has reached it. */
  readonly end: ReadEnd;
}

type WireRequest = Exclude<MessageInitShape<typeof ReadRequestSchema>, { $typeName: string }>;

export function readEvents<E extends EventShape>(
  context: Context,
  codec: EventCodec<E>,
  options: ReadOptions,
): Reading<E> {
  let end: ReadEnd | undefined;
  let eventCount = 0;
  const { signal, missingEvents } = options;
  async function* batches() {
    for await (const { message, epoch } of readMessages(context, wireRequest(options), options)) {
      if (message.case === "end") end = { ...endOf(message.value, eventCount), epoch };
      if (message.case !== "batch") continue;
      const { events: found } = message.value;
      const left = missingEvents === "refuse" ? await leftOf(context, found, { signal }) : found;
      if (left.length === 0) continue;
      eventCount += left.length;
      yield left.map((event) => readEvent(rawEvent(event), codec));
    }
  }
  return {
    batches,
    [Symbol.asyncIterator]: () => new OneByOne(batches()),
    async toArray() {
      const all: RecordedEvent<E>[] = [];
      for await (const batch of batches()) all.push(...batch);
      return all;
    },
    get end() {
      if (end === undefined) throw new Error("the end is known once the events have been read");
      return end;
    },
  };
}

function endOf(
  { head, after, streamVersion }: WireEnd,
  eventCount: number,
): Omit<ReadEnd, "epoch"> {
  return {
    head: safeInteger(head),
    after: safeInteger(after),
    eventCount,
    version: safeInteger(streamVersion),
  };
}

function wireRequest(options: ReadOptions): WireRequest {
  const { backwards = false, limit, from, to, missingEvents = "accept" } = options;
  if (limit !== undefined && missingEvents === "refuse") {
    throw invalidField("limit", "goes without `missingEvents`: what is cut off is missing as well");
  }
  return {
    selection: wireSelection(options),
    direction: backwards ? Direction.BACKWARDS : Direction.FORWARDS,
    from: from === undefined ? { case: undefined } : fromPlace(from),
    to: to === undefined ? { case: undefined } : toPlace(to),
    limit: wireInteger(limit ?? 0, "limit"),
    epoch: options.epoch ?? "",
    withRemoved: missingEvents === "refuse",
  };
}

function fromPlace(place: Place): NonNullable<WireRequest["from"]> {
  if (place instanceof Date) return { case: "fromTime", value: wireTime(place, "from") };
  return "version" in place
    ? { case: "fromVersion", value: wireInteger(place.version, "from.version") }
    : { case: "fromPosition", value: wireInteger(place.position, "from.position") };
}

function toPlace(place: Place): NonNullable<WireRequest["to"]> {
  if (place instanceof Date) return { case: "toTime", value: wireTime(place, "to") };
  return "version" in place
    ? { case: "toVersion", value: wireInteger(place.version, "to.version") }
    : { case: "toPosition", value: wireInteger(place.position, "to.position") };
}

/** The messages of a read and of the reads that continue it, up to one end. */
async function* readMessages(
  context: Context,
  request: WireRequest,
  { signal, timeoutMs }: OperationOptions,
): AsyncGenerator<ReadMessage> {
  const { rpc, identity, retry } = context;
  const endsAt = timeoutMs === undefined ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  await firstConnection(context, { signal, timeoutMs });
  const left = (): CallOptions => {
    const leftMs = Math.max(1, endsAt - performance.now());
    return { signal, timeoutMs: Number.isFinite(endsAt) ? leftMs : undefined };
  };
  let got: Got = { last: undefined, count: 0, epoch: request.epoch ?? "" };
  for (let failures = 0; ;) {
    try {
      if (identity.known === undefined) await identity.confirm(left());
      const messages =
        got.last === undefined
          ? rpc.read(request, left())
          : identity.confirmed(rpc.read(continuation(request, got), left()), left);
      for await (const message of throughEnd(messages)) {
        failures = 0;
        got = progress(got, message);
        yield message;
      }
      return;
    } catch (caught) {
      signal?.throwIfAborted();
      const error = storeErrorOf(caught);
      if (error instanceof EpochMismatchError) await identity.confirm(left());
      failures += 1;
      const waitMs = delayAfter(retry, failures, error);
      const over = failures >= retry.attemptsMax || performance.now() + waitMs >= endsAt;
      if (over || !isWorthRetrying(error) || !canContinue(request, got)) throw error;
      await pause(waitMs, signal);
    }
  }
}

/** The messages of one call. Throws if the call ends without the read's end. */
async function* throughEnd(messages: AsyncIterable<ReadResponse>): AsyncGenerator<ReadMessage> {
  for await (const message of messages) {
    yield message;
    if (message.message.case === "end") return;
  }
  throw new UnavailableError("the read was cut off before its end", "UNREACHABLE");
}

type ReadMessage = Pick<ReadResponse, "message" | "epoch">;

/** The progress of a read. */
interface Got {
  readonly last: WireRecorded | undefined;
  readonly count: number;
  readonly epoch: string;
}

function progress(got: Got, { message, epoch: named }: ReadMessage): Got {
  if (message.case !== "batch") return got;
  const { events } = message.value;
  const epoch = named === "" ? got.epoch : named;
  return { last: events.at(-1) ?? got.last, count: got.count + events.length, epoch };
}

/**
 * A backwards read that started over would begin at a later head, so it is not continued once it
 * has returned an event. A read that has reached its limit and only lacks its end is not continued
 * either.
 */
function canContinue({ direction, limit }: WireRequest, { last, count }: Got): boolean {
  if (last === undefined) return true;
  return direction === Direction.FORWARDS && (limit === 0n || BigInt(count) !== limit);
}

function continuation(request: WireRequest, { last, count, epoch }: Got): WireRequest {
  const { selection, limit = 0n } = request;
  const from =
    selection?.case === "stream"
      ? ({ case: "fromVersion", value: (last?.version ?? 0n) + 1n } as const)
      : ({ case: "fromPosition", value: (last?.position ?? 0n) + 1n } as const);
  return { ...request, from, epoch, limit: limit === 0n ? 0n : limit - BigInt(count) };
}
