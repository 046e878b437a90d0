// A worker of a consumer group, typed by the application's events: deliveries with methods to
// settle them, or a handler whose return acknowledges its event.

import { View } from "../../gen/annals/v1/event_pb.js";
import { firstConnection, type Context } from "../store/context.ts";
import { LostDeliveryError, MalformedEventError } from "../store/errors.ts";
import {
  rawEvent,
  recordedEvent,
  type EventCodec,
  type EventShape,
  type RecordedEvent,
} from "../store/event.ts";
import { dateOf } from "../store/numbers.ts";
import type { Interruption } from "../store/subscribe.ts";
import { deliveriesOf, type Leaving } from "./member.ts";
import type { Held } from "./member-call.ts";

export interface ConsumeOptions {
  /** How many events this worker may hold at a time, from 1 to 10,000. Absent: 16. */
  readonly permits?: number | undefined;
  /** This worker's name, for people. */
  readonly member?: string | undefined;
  /** Ends it at once with the signal's reason; ends `work` in order. */
  readonly signal?: AbortSignal | undefined;
  readonly onInterruption?: ((interruption: Interruption) => void) | undefined;
  /**
   * Called with events that the codec does not accept. They are not delivered here: they are
   * delivered again after the group's retry delays, perhaps to a worker that knows them, and are
   * parked in the end.
   */
  readonly onMalformed?: ((error: MalformedEventError) => void) | undefined;
}

/**
 * An event that this worker holds until its lease runs out. The first call of `ack`, `nack` and
 * `park` counts. Each resolves when it is durable, and rejects with a `LostDeliveryError` if it
 * does not count because the lease ran out or the connection broke. They need not be awaited.
 */
export interface GroupDelivery<E extends EventShape> {
  readonly event: RecordedEvent<E>;
  /** From 1. */
  readonly attempt: number;
  readonly leaseUntil: Date;
  /** Aborted when this worker no longer holds the event. */
  readonly signal: AbortSignal;
  /** The event is done and is not delivered again. */
  readonly ack: () => Promise<void>;
  /** The event failed. It is delivered again after a delay, until its attempts are used up. */
  readonly nack: (why?: NackOptions) => Promise<void>;
  /** The event is parked for a person to look at, and its key continues. */
  readonly park: (reason?: string) => Promise<void>;
  /** Restarts the lease. Absent: with the group's length. */
  readonly extend: (leaseMs?: number) => void;
}

export interface NackOptions {
  /** Absent: the group's retry delays apply. */
  readonly delayMs?: number | undefined;
  /** For people: kept with a parked event, up to 1,024 bytes. */
  readonly reason?: string | undefined;
}

/** Deliveries without an end, also after a broken connection. Leaving the loop leaves the group. */
export interface GroupConsumer<E extends EventShape> extends AsyncIterable<GroupDelivery<E>> {
  /**
   * Hands every delivery to the handler, as many at a time as there are permits. What returns is
   * acknowledged, what throws comes again with the error's message as the reason, unless the
   * handler said something else of it. Ends when the signal is aborted: nothing more is taken, what
   * is being handled is finished and settled. Rejects with what the membership fails with.
   */
  work(handler: GroupHandler<E>): Promise<void>;
}

export type GroupHandler<E extends EventShape> = (
  event: RecordedEvent<E>,
  delivery: GroupDelivery<E>,
) => unknown;

const permitsDefault = 16;

export function consumerOf<E extends EventShape>(
  context: Context,
  codec: EventCodec<E>,
  group: string,
  options: ConsumeOptions,
): GroupConsumer<E> {
  const { permits = permitsDefault, member = "", onInterruption, onMalformed } = options;
  const { groups: rpc, retry } = context;
  const membership = { group, member, permits, view: View.FULL };
  async function* deliveries(ends: {
    readonly signal?: AbortSignal | undefined;
    readonly leaving?: Leaving | undefined;
  }): AsyncGenerator<[GroupDelivery<E>, Held], void, undefined> {
    const leaving = ends.leaving?.signal;
    try {
      await firstConnection(context, { signal: ends.signal ?? leaving });
    } catch (error) {
      if (leaving?.aborted === true) return;
      throw error;
    }
    for await (const held of deliveriesOf({ rpc, membership, retry, onInterruption, ...ends })) {
      const delivery = deliveryOf(held, codec, onMalformed);
      if (delivery !== undefined) yield [delivery, held];
    }
  }
  return {
    async *[Symbol.asyncIterator]() {
      for await (const [delivery] of deliveries({ signal: options.signal })) yield delivery;
    },
    async work(handler) {
      const running = new Set<Promise<void>>();
      const signal = options.signal ?? new AbortController().signal;
      const settled = () => Promise.all(running);
      try {
        for await (const [delivery, held] of deliveries({ leaving: { signal, settled } })) {
          const handling: Promise<void> = handle(handler, delivery, held).finally(() =>
            running.delete(handling),
          );
          running.add(handling);
        }
      } finally {
        await settled();
      }
    },
  };
}

/** Never rejects. */
async function handle<E extends EventShape>(
  handler: GroupHandler<E>,
  delivery: GroupDelivery<E>,
  held: Held,
): Promise<void> {
  try {
    try {
      await handler(delivery.event, delivery);
      if (!held.isSettling) await held.ack();
    } catch (error) {
      if (!held.isSettling) await held.nack(textOf(error), undefined);
    }
    // What the handler said itself: an orderly end waits for its answer too.
    await held.answered;
  } catch (error) {
    // It comes again, or did already.
    if (!(error instanceof LostDeliveryError)) throw error;
  }
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** Undefined: the codec does not understand the event. */
function deliveryOf<E extends EventShape>(
  held: Held,
  codec: EventCodec<E>,
  onMalformed: ConsumeOptions["onMalformed"],
): GroupDelivery<E> | undefined {
  const { event: wire, attempt, leaseUntil } = held.delivery;
  if (wire === undefined) return undefined;
  try {
    return {
      event: recordedEvent(rawEvent(wire), codec),
      attempt,
      leaseUntil: dateOf(leaseUntil),
      get signal() {
        return held.signal;
      },
      ack: () => held.ack(),
      nack: ({ reason = "", delayMs } = {}) => held.nack(reason, delayMs),
      park: (reason = "") => held.park(reason),
      extend: (leaseMs) => held.extend(leaseMs),
    };
  } catch (error) {
    if (!(error instanceof MalformedEventError)) throw error;
    void held.nack(error.message, undefined);
    onMalformed?.(error);
    return undefined;
  }
}
