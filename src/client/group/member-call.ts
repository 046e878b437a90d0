// One call of a group's member. It is read continuously, even while the worker is busy with an
// event, because the answers to its requests arrive there. Permits bound what waits here.

import type {
  ConsumerGroupService,
  ConsumeResponse,
  Delivery as WireDelivery,
} from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { View } from "../../gen/annals/v1/event_pb.js";
import type { ServiceClient } from "../rpc/service-client.ts";
import { storeErrorOf } from "../store/call-failure.ts";
import { LostDeliveryError } from "../store/errors.ts";
import { wireDuration } from "../store/numbers.ts";
import { Outbox, type Said } from "./outbox.ts";

export type GroupRpc = ServiceClient<(typeof ConsumerGroupService)["method"]>;

export interface Membership {
  readonly group: string;
  readonly member: string;
  readonly permits: number;
  readonly view: View;
}

/** Bytes of UTF-8 that the server accepts as a reason. */
const reasonBytesMax = 1_024;
/** Tokens in one message. */
const tokensMax = 1_000;
/** How long an orderly end may take. */
const finishMs = 10_000;

interface Answer {
  readonly promise: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/** A delivery that the member holds. */
export class Held {
  readonly delivery: WireDelivery;
  private readonly call: MemberCall;
  private answer: Answer | undefined;
  private lost: LostDeliveryError | undefined;
  private abort: AbortController | undefined;

  constructor(delivery: WireDelivery, call: MemberCall) {
    this.delivery = delivery;
    this.call = call;
  }

  /** Aborted when the member no longer holds the event. */
  get signal(): AbortSignal {
    this.abort ??= new AbortController();
    if (this.lost !== undefined) this.abort.abort(this.lost);
    return this.abort.signal;
  }

  /** Whether it was settled already. */
  get isSettling(): boolean {
    return this.answer !== undefined;
  }

  /** The outcome of settling it. */
  get answered(): Promise<void> {
    return this.answer?.promise ?? Promise.resolve();
  }

  ack(): Promise<void> {
    return this.settle(() => this.call.outbox.ack(this.delivery.token));
  }

  nack(reason: string, delayMs: number | undefined): Promise<void> {
    const delay = delayMs === undefined ? {} : { delay: wireDuration(delayMs, "delayMs") };
    const value = { tokens: [this.delivery.token], reason: shortened(reason), ...delay };
    return this.settle(() => this.call.outbox.say({ case: "nack", value }));
  }

  park(reason: string): Promise<void> {
    const value = { tokens: [this.delivery.token], reason: shortened(reason) };
    return this.settle(() => this.call.outbox.say({ case: "park", value }));
  }

  /** Absent: the group's lease. */
  extend(leaseMs: number | undefined): void {
    if (this.lost !== undefined || this.answer !== undefined) return;
    const lease = leaseMs === undefined ? {} : { lease: wireDuration(leaseMs, "leaseMs") };
    const value = { tokens: [this.delivery.token], ...lease };
    this.call.outbox.say({ case: "extend", value });
  }

  /** The settlement is durable. */
  settled(): void {
    this.answer?.resolve();
  }

  lose(error: LostDeliveryError): void {
    this.lost ??= error;
    this.answer?.reject(this.lost);
    this.abort?.abort(this.lost);
  }

  /** The first settlement counts; later ones get its outcome. */
  private settle(say: () => void): Promise<void> {
    if (this.answer !== undefined) return this.answer.promise;
    this.answer = answer();
    if (this.lost === undefined) say();
    else this.answer.reject(this.lost);
    return this.answer.promise;
  }
}

export class MemberCall {
  readonly outbox = new Outbox();
  /** Whether the server has accepted the member. */
  joined = false;
  private readonly held = new Map<string, Held>();
  private readonly inbox: Held[] = [];
  private readonly abort = new AbortController();
  private readonly reading: Promise<void>;
  private over: { readonly error: unknown } | undefined;
  private interrupted = false;
  private wake: (() => void) | undefined;

  constructor(rpc: GroupRpc, membership: Membership, signal: AbortSignal | undefined) {
    this.outbox.say({ case: "join", value: membership } satisfies Said);
    const own = this.abort.signal;
    const either = signal === undefined ? own : AbortSignal.any([signal, own]);
    this.reading = this.read(rpc.consume(this.outbox, { signal: either }));
  }

  /** The next delivery. Throws the error of the call. Undefined: the call has ended in order. */
  async next(): Promise<Held | undefined> {
    for (;;) {
      if (this.over !== undefined) {
        if (this.over.error !== undefined) throw this.over.error as Error;
        return undefined;
      }
      if (this.interrupted) return undefined;
      const held = this.inbox.shift();
      if (held !== undefined) return held;
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** Takes no more deliveries. Those that were taken can still be settled. */
  interrupt(): void {
    this.interrupted = true;
    this.notify();
  }

  /**
   * Gives back deliveries that were not taken, sends nothing more, and waits for the answers to its
   * requests. Never throws.
   */
  async finish(): Promise<void> {
    do {
      const some = this.inbox.splice(0, tokensMax);
      const tokens = some.map(({ delivery }) => delivery.token);
      this.outbox.say({ case: "release", value: { tokens } });
    } while (this.inbox.length > 0);
    this.outbox.end();
    const overdue = setTimeout(() => this.abort.abort(), finishMs);
    await this.reading;
    clearTimeout(overdue);
  }

  /** Never rejects. */
  private async read(messages: AsyncIterable<ConsumeResponse>): Promise<void> {
    let error: unknown;
    try {
      for await (const { message } of messages) this.hear(message);
    } catch (caught) {
      error = storeErrorOf(caught);
    }
    this.over = { error };
    this.inbox.length = 0;
    const why = "the call ended before this was answered: the event may come again";
    for (const held of this.held.values()) held.lose(new LostDeliveryError(why, { cause: error }));
    this.held.clear();
    this.notify();
  }

  private hear(message: ConsumeResponse["message"]): void {
    switch (message.case) {
      case "joined":
        this.joined = true;
        return;
      case "deliveries":
        for (const delivery of message.value.deliveries) {
          const held = new Held(delivery, this);
          this.held.set(delivery.token, held);
          this.inbox.push(held);
        }
        return this.notify();
      case "settled":
        for (const token of message.value.tokens) this.take(token)?.settled();
        return;
      case "refused":
        for (const token of message.value.tokens) {
          const text = "the event is this member's no longer: it is, or was, delivered again";
          this.take(token)?.lose(new LostDeliveryError(text));
        }
        return;
      case "heartbeat":
      case undefined:
    }
  }

  private take(token: string): Held | undefined {
    const held = this.held.get(token);
    this.held.delete(token);
    return held;
  }

  private notify(): void {
    this.wake?.();
    this.wake = undefined;
  }
}

function answer(): Answer {
  let [resolve, reject]: [() => void, (error: unknown) => void] = [() => {}, () => {}];
  const promise = new Promise<void>((settle, fail) => {
    resolve = settle;
    reject = fail;
  });
  // Prevents an unhandled rejection if the answer is not awaited.
  promise.catch(() => {});
  return { promise, resolve, reject };
}

/** Shortens a text to what the server accepts, without splitting a character. */
function shortened(text: string): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= reasonBytesMax) return bytes.toString();
  const cut = bytes.subarray(0, reasonBytesMax - 3).toString();
  return `${cut.replace(/\uFFFD+$/u, "")}…`;
}
