// The connected consumers of one persistent subscription. Together they are one member of its
// consumer group: the group says which events are due, and remembers what is settled; the hub hands
// each event to one consumer, as the strategy says.

import { AnnalsError } from "../../../domain/errors.ts";
import type { GroupMember, MemberDelivery } from "../../../log/group-verbs.ts";
import { subscriptionDropped } from "../mapping/errors.ts";
import type { EventStream } from "../read/event-stream.ts";
import { RecordView } from "../mapping/record-view.ts";
import { bytesOf, type Consumer, type DueEvent, type HeldEvent } from "./consumer.ts";
import { leaseMsOf, type SubscriptionSettings } from "./settings.ts";
import { choose, keyOfEvent } from "./strategies.ts";

/**
 * How often the group hears of the hub: leases may have run out, and until it hears of its member,
 * it gives no other events in their place. The hub may not know of all of them any more.
 */
const heartbeatMs = 250;

/** As long as so many bytes wait, no more events are taken from the group. */
const waitingBytesMax = 64 * 1024;

interface Waiting {
  readonly due: DueEvent;
  readonly payer: Consumer | undefined;
}

/** What the group has given to the hub, until then at least. */
interface Given {
  readonly held: HeldEvent;
  readonly consumer: Consumer | undefined;
  readonly untilMs: number;
}

export type NackAction = "park" | "retry" | "skip" | "stop";

export class SubscriptionHub {
  readonly consumers: Consumer[] = [];
  settings: SubscriptionSettings;
  private readonly member: GroupMember;
  private readonly events: EventStream;
  private readonly byPosition = new Map<number, Given>();
  /** Events whose consumer has no room, in order, each drawn from a consumer's budget. */
  private waiting: Waiting[] = [];
  /** Called when fewer events wait. */
  private onRoom: (() => void) | undefined;
  private turn = 0;
  private readonly view = new RecordView();
  private readonly timer: NodeJS.Timeout;
  private isOver = false;
  private readonly onOver: () => void;

  constructor(
    settings: SubscriptionSettings,
    member: GroupMember,
    events: EventStream,
    onOver: () => void,
  ) {
    this.settings = settings;
    this.member = member;
    this.events = events;
    this.onOver = onOver;
    this.timer = setInterval(() => this.beat(), heartbeatMs);
    this.timer.unref();
    void this.run();
  }

  get ended(): boolean {
    return this.isOver;
  }

  get heldCount(): number {
    return this.byPosition.size;
  }

  join(consumer: Consumer): void {
    this.consumers.push(consumer);
    consumer.onRoom = () => this.dispatchWaiting();
    void this.member.handle({ kind: "permits", count: consumer.bufferSize });
    this.dispatchWaiting();
  }

  /** Removes the consumer. Its events in flight are delivered again. */
  leave(consumer: Consumer): void {
    const at = this.consumers.indexOf(consumer);
    if (at < 0) return;
    this.consumers.splice(at, 1);
    consumer.finish(undefined);
    if (this.consumers.length === 0) return this.close();
    const given = [...consumer.held.values()];
    for (const held of given) this.byPosition.delete(held.position);
    consumer.held.clear();
    void this.member.handle({ kind: "release", tokens: given.map(({ token }) => token) });
    const count = this.consumers.reduce((sum, { bufferSize }) => sum + bufferSize, 0);
    void this.member.handle({ kind: "permits", count });
    this.dispatchWaiting();
  }

  ack(consumer: Consumer, ids: readonly string[]): Promise<void> | undefined {
    const tokens = this.settle(consumer, ids);
    if (tokens.length === 0) return undefined;
    const taken = this.member.handle({ kind: "ack", tokens, upTo: "" });
    this.dispatchWaiting();
    return taken;
  }

  nack(
    consumer: Consumer,
    ids: readonly string[],
    action: NackAction,
    reason: string,
  ): Promise<void> | undefined {
    if (action === "skip") return this.ack(consumer, ids);
    const tokens = this.settle(consumer, ids);
    if (tokens.length === 0) return undefined;
    const taken =
      action === "park"
        ? this.member.handle({ kind: "park", tokens, reason })
        : this.member.handle({ kind: "nack", tokens, delayMs: 0, reason });
    this.dispatchWaiting();
    return taken;
  }

  /** The tokens of these events, which the consumer no longer holds. */
  private settle(consumer: Consumer, ids: readonly string[]): string[] {
    return ids.flatMap((id) => {
      const held = consumer.answered(id);
      if (held === undefined) return [];
      this.byPosition.delete(held.position);
      return [held.token];
    });
  }

  /** Never rejects. */
  private async run(): Promise<void> {
    let failure: unknown;
    try {
      for await (const message of this.member.messages()) {
        if (message.kind !== "deliveries") continue;
        for (const delivery of message.deliveries) await this.accept(delivery);
      }
    } catch (error) {
      const isGone = error instanceof AnnalsError && error.reason === "GROUP_NOT_FOUND";
      const { source, group } = this.settings;
      failure = isGone ? subscriptionDropped(source, group) : error;
    }
    this.over();
    for (const consumer of this.consumers.splice(0)) consumer.finish(failure);
  }

  private async accept({ token, attempt, record }: MemberDelivery): Promise<void> {
    const found = await this.events.one(record);
    if (found === undefined) {
      void this.member.handle({ kind: "ack", tokens: [token], upTo: "" });
      return;
    }
    const { link, position } = found;
    const { id } = this.view.scan(link ?? found.record);
    const key = keyOfEvent(this.settings.strategy, this.view.scan(found.record));
    const due = { token, retries: attempt - 1, record: found.record, link, id, position, key };
    this.forget(position);
    const untilMs = performance.now() + leaseMsOf(this.settings);
    this.byPosition.set(position, { held: due, consumer: undefined, untilMs });
    this.wait(due);
    this.dispatchWaiting();
    while (this.waitingBytes > waitingBytesMax && !this.isOver) {
      await new Promise<void>((resolve) => {
        this.onRoom = resolve;
      });
    }
  }

  private get waitingBytes(): number {
    return this.waiting.reduce((sum, { due }) => sum + bytesOf(due), 0);
  }

  private wait(due: DueEvent): void {
    const [payer] = this.consumers;
    try {
      payer?.memory.hold(bytesOf(due));
      this.waiting.push({ due, payer });
    } catch (error) {
      // The consumer leaves, and the event is delivered again.
      payer?.finish(error);
      this.byPosition.delete(due.position);
      void this.member.handle({ kind: "release", tokens: [due.token] });
    }
  }

  /** The event was delivered before, and its time has passed. */
  private forget(position: number): void {
    const before = this.byPosition.get(position);
    if (before === undefined) return;
    before.consumer?.take(before.held);
    const isIt = ({ due }: Waiting): boolean => due.position === position;
    for (const { due, payer } of this.waiting.filter(isIt)) payer?.memory.release(bytesOf(due));
    this.waiting = this.waiting.filter((one) => !isIt(one));
    this.byPosition.delete(position);
  }

  private dispatchWaiting(): void {
    if (this.waiting.length === 0) return;
    const left: Waiting[] = [];
    for (const one of this.waiting) {
      const { due, payer } = one;
      const consumer = choose(this.settings.strategy, this.consumers, this.turn, due.key);
      // A consumer knows an event by its id: of two with one id, the second waits.
      if (consumer === undefined || consumer.held.has(due.id)) left.push(one);
      else {
        const { token, id, position } = due;
        this.turn = this.consumers.indexOf(consumer) + 1;
        const { untilMs = 0 } = this.byPosition.get(position) ?? {};
        this.byPosition.set(position, { held: { token, id, position }, consumer, untilMs });
        payer?.memory.release(bytesOf(due));
        consumer.give(due);
      }
    }
    this.waiting = left;
    this.onRoom?.();
  }

  private beat(): void {
    void this.member.handle({ kind: "permits", count: 0 });
    // The group has taken these back. It may have parked them, and gives others instead.
    const now = performance.now();
    for (const [position, { untilMs }] of this.byPosition) {
      if (untilMs < now) this.forget(position);
    }
    this.dispatchWaiting();
  }

  private close(): void {
    this.over();
    this.member.leave();
  }

  private over(): void {
    if (this.isOver) return;
    this.isOver = true;
    clearInterval(this.timer);
    this.onRoom?.();
    this.onOver();
  }
}
