// The state machine of a consumer group. Its inputs are what happens: an event of the log, an
// acknowledgement, an expired lease. Its outputs are what follows: which events to deliver to which
// member, and what to make durable. Events of one key are delivered one after another, each when
// the previous one is settled. It has no clock and no I/O, so that its histories can be generated
// (test/domain/group).

import { nextReading, offer, pass, readMore, wantsEvents } from "./feed.ts";
import { HeldEvents } from "./held-events.ts";
import type { GroupWrite } from "./journal.ts";
import type { QueueReading } from "./key-queues.ts";
import type { Member } from "./members.ts";
import type { Progress } from "./progress.ts";
import { nextUnplaced, place, replay } from "./replay.ts";
import { retryDelayOf, type GroupSettings } from "./settings.ts";
import { giveBack, lose, park, refuse, settle, shelve, vanish } from "./settle.ts";
import {
  createGroupState,
  defaultGroupBounds,
  positionOf,
  reset,
  trimLeases,
  unsettledOf,
  type Delivery,
  type GroupBounds,
  type GroupEvent,
  type GroupState,
} from "./state.ts";

/** The outcome of a request: refused tokens do not count (any more). */
export interface HandledTokens {
  readonly refused: readonly number[];
}

/** A reading of one key, valid until the next reset. */
export interface KeyReading extends QueueReading {
  readonly epoch: number;
}

export class GroupStateMachine {
  /** What a lifecycle may remove of it. */
  readonly held: HeldEvents;
  private readonly state: GroupState;

  /** `baseSequence` is the number of the base from which the progress was made. */
  constructor(
    settings: GroupSettings,
    progress: Progress,
    baseSequence = progress.sequence,
    bounds: GroupBounds = defaultGroupBounds,
  ) {
    this.state = createGroupState(settings, progress, baseSequence, bounds);
    this.held = new HeldEvents(this.state);
  }

  get settings(): GroupSettings {
    return this.state.settings;
  }

  /** Every match up to this position was offered. */
  get through(): number {
    return this.state.through;
  }

  /** Events recorded before this time are to be skipped. 0: none. */
  get fromTime(): number {
    return this.state.fromTime;
  }

  /** Every match up to this position is durably settled. */
  get position(): number {
    return positionOf(this.state);
  }

  get epoch(): number {
    return this.state.epoch;
  }

  get memberCount(): number {
    return this.state.members.count;
  }

  get inFlightCount(): number {
    return this.state.deliveries.size + this.state.journal.settlingCount;
  }

  /** Events up to `through` that are to be dealt with; see `HeldEvents`. */
  get unsettledCount(): number {
    return unsettledOf(this.state) + this.state.replays.size;
  }

  /** Parked events that are being delivered again. */
  get replayCount(): number {
    return this.state.replays.size;
  }

  /** 0: none is in flight. */
  get oldestInFlight(): number {
    let oldest = 0;
    for (const { event } of this.state.deliveries.values()) {
      if (oldest === 0 || event.position < oldest) oldest = event.position;
    }
    return oldest;
  }

  get wantsEvents(): boolean {
    return wantsEvents(this.state);
  }

  /** Offers the next match after `through`. */
  offer(event: GroupEvent, nowMs: number): void {
    offer(this.state, event, nowMs);
  }

  /** There is no other match up to this position. */
  pass(position: number): void {
    pass(this.state, position);
  }

  /** The time at which the group begins has come. */
  endWait(): void {
    this.state.fromTime = 0;
    this.state.journal.needsBase = true;
  }

  /** A key whose events have to be read from the log again. */
  nextReading(): KeyReading | undefined {
    const reading = nextReading(this.state);
    return reading && { ...reading, epoch: this.epoch };
  }

  /** The result of a reading: these events, and no others up to `knownThrough`. */
  readMore(
    reading: KeyReading,
    events: readonly GroupEvent[],
    knownThrough: number,
    nowMs: number,
  ): void {
    if (reading.epoch === this.epoch) readMore(this.state, reading, events, knownThrough, nowMs);
  }

  /** The reading failed and has to be repeated. */
  readLater(reading: KeyReading, nowMs: number): void {
    if (reading.epoch === this.epoch) this.state.queues.readLater(reading.queue, nowMs);
  }

  /** The positions of replays whose events have to be read and passed to `place`. */
  nextUnplaced(countMax: number): number[] {
    return nextUnplaced(this.state, countMax);
  }

  /** The event of a replay. Undefined: it is no longer in the log. */
  place(position: number, event: GroupEvent | undefined, nowMs: number): void {
    place(this.state, position, event, nowMs);
  }

  /** `freesAtOnce`: an event that is settled, but not durably, makes room for another one. */
  join(id: number, permits: number, freesAtOnce = false): void {
    this.state.members.add(id, permits, freesAtOnce);
  }

  /** Removes a member. Its events are delivered to others. */
  leave(id: number, nowMs: number): void {
    this.retire(id, nowMs);
    this.state.members.remove(id);
  }

  /** As `leave`, but the member stays to be told what becomes durable. It gets no more events. */
  retire(id: number, nowMs: number): void {
    const member = this.state.members.find(id);
    if (member === undefined) return;
    member.permits = 0;
    const given = [...member.tokens].flatMap((token) => this.state.deliveries.get(token) ?? []);
    for (const delivery of given) lose(this.state, delivery, "the member left", nowMs);
  }

  /** How many events a member holds, and may hold. */
  member(id: number): Pick<Member, "held" | "permits"> {
    return this.state.members.find(id) ?? { held: 0, permits: 0 };
  }

  /** The member sent a message, which cancels the effect of its expired leases. */
  heard(id: number): void {
    const member = this.state.members.find(id);
    if (member !== undefined) member.lost = 0;
  }

  permit(id: number, count: number): void {
    const member = this.state.members.find(id);
    if (member !== undefined) this.state.members.permit(member, count);
  }

  ack(id: number, tokens: readonly number[], nowMs: number): HandledTokens {
    return this.handle(id, tokens, (delivery) => settle(this.state, delivery, nowMs));
  }

  /** Acknowledges every event given to the member up to and including a token, or none. */
  ackThrough(id: number, token: number, nowMs: number): HandledTokens {
    const tokens = [...(this.state.members.find(id)?.tokens ?? [])];
    const through = tokens.includes(token) ? tokens.filter((other) => other <= token) : [token];
    return this.ack(id, through, nowMs);
  }

  /** `delayMs` absent: the group's retry delays apply. */
  nack(
    id: number,
    tokens: readonly number[],
    why: { readonly delayMs: number | undefined; readonly reason: string },
    nowMs: number,
  ): HandledTokens {
    return this.handle(id, tokens, (delivery) => {
      const delayMs = why.delayMs ?? retryDelayOf(this.settings, delivery.event.attempts + 1);
      refuse(this.state, delivery, { delayMs, reason: why.reason }, nowMs);
    });
  }

  park(id: number, tokens: readonly number[], reason: string, nowMs: number): HandledTokens {
    return this.handle(id, tokens, (delivery) => park(this.state, delivery, reason, nowMs));
  }

  /**
   * Gives events back without counting an attempt. The member gets no events until it asks again.
   */
  release(id: number, tokens: readonly number[], nowMs: number): HandledTokens {
    const member = this.state.members.find(id);
    if (member !== undefined) member.permits = 0;
    return this.handle(id, tokens, (delivery) => giveBack(this.state, delivery, nowMs));
  }

  /** `leaseMs` absent: the group's lease. */
  extend(
    id: number,
    tokens: readonly number[],
    leaseMs: number | undefined,
    nowMs: number,
  ): HandledTokens {
    return this.handle(id, tokens, (delivery) => {
      const until = Math.ceil(nowMs + (leaseMs ?? this.settings.leaseMs));
      // The heap entry of a lease that was only extended is found, and planned again, when the old
      // lease would have expired.
      if (until < delivery.leaseUntilMs) this.state.leases.push(until, delivery.token);
      delivery.leaseUntilMs = until;
    });
  }

  /**
   * Takes events with an expired lease from their members, and makes events ready whose delay has
   * passed.
   */
  tick(nowMs: number): void {
    const { leases, deliveries, queues } = this.state;
    for (let top = leases.top; top !== undefined && top.at <= nowMs; top = leases.top) {
      leases.pop();
      const delivery = deliveries.get(top.value);
      if (delivery === undefined) continue;
      if (delivery.leaseUntilMs > nowMs) leases.push(delivery.leaseUntilMs, top.value);
      else {
        delivery.member.lost++;
        lose(this.state, delivery, "the lease ran out", nowMs);
      }
    }
    queues.wake(nowMs);
  }

  /** The time at which `tick` has to be called. */
  get dueAtMs(): number | undefined {
    const [lease, plan] = [this.state.leases.top?.at, this.state.queues.plannedAtMs];
    if (lease === undefined || plan === undefined) return lease ?? plan;
    return Math.min(lease, plan);
  }

  /** Delivers all events that can be delivered now. */
  deliver(nowMs: number): Delivery[] {
    const { queues, members, deliveries, leases, settings } = this.state;
    const given: Delivery[] = [];
    trimLeases(this.state);
    while (queues.readyCount > 0 && this.inFlightCount < settings.inFlightMax) {
      const member = members.take();
      if (member === undefined) break;
      const queue = queues.takeReady(nowMs);
      const event = queue && queues.send(queue);
      if (event === undefined) break;
      if (event.attempts >= settings.attemptsMax) {
        shelve(this.state, event, nowMs);
        continue;
      }
      queues.review(event.queue, nowMs);
      const token = ++this.state.lastToken;
      const leaseUntilMs = Math.ceil(nowMs + settings.leaseMs);
      const attempt = event.attempts + 1;
      const delivery = { token, member, event, attempt, leaseUntilMs, isSent: false };
      deliveries.set(token, delivery);
      leases.push(leaseUntilMs, token);
      member.tokens.add(token);
      member.held++;
      member.unsent++;
      given.push(delivery);
    }
    return given;
  }

  /**
   * A delivery is about to be sent. False: the member no longer holds it, and it must not be sent.
   */
  sent(delivery: Delivery): boolean {
    const { token, member, event } = delivery;
    member.unsent--;
    if (!this.state.deliveries.has(token)) return false;
    delivery.isSent = true;
    this.state.queues.dropFrame(event);
    return true;
  }

  /** Whether the member still holds the delivery. */
  holds({ token }: Delivery): boolean {
    return this.state.deliveries.has(token);
  }

  /** The event of a sent delivery is no longer in the log. */
  vanished(delivery: Delivery, nowMs: number): void {
    if (this.state.deliveries.has(delivery.token)) vanish(this.state, delivery, nowMs);
  }

  /** Applies changed settings. The query and the ordering stay the same. */
  configure(settings: GroupSettings): void {
    this.state.settings = settings;
  }

  /** Begins again after a position. */
  reset(through: number, fromTime: number): void {
    reset(this.state, through, fromTime);
  }

  /** Delivers a parked event again. */
  replay(event: GroupEvent, nowMs: number): void {
    replay(this.state, event, nowMs);
  }

  /** Drops a parked event. */
  discard(position: number): void {
    this.state.journal.unpark(position);
  }

  /** Whether a member or a caller waits for the next write. */
  get hasUrgent(): boolean {
    return this.state.journal.isUrgent;
  }

  /** How many positions would be read again after a crash. */
  get unwrittenCount(): number {
    return this.state.journal.lagOf(this.state.through);
  }

  /** What has to be made durable now. `written` or `failed` must follow before the next call. */
  takeWrite(): GroupWrite {
    const { journal, through, fromTime, replays, queues } = this.state;
    const unsettledCount = unsettledOf(this.state);
    return journal.take({ through, fromTime, unsettledCount, replays, queues });
  }

  /** The write is durable. Returns the tokens that are now settled, in order, by member. */
  written(): Map<number, number[]> {
    const byMember = new Map<number, number[]>();
    for (const [token, id] of this.state.journal.written()) {
      const member = this.state.members.find(id);
      if (member === undefined) continue;
      member.held--;
      member.settling--;
      const tokens = byMember.get(id);
      if (tokens === undefined) byMember.set(id, [token]);
      else tokens.push(token);
    }
    return byMember;
  }

  /** The outcome of the write is unknown. */
  failed(): void {
    this.state.journal.failed();
  }

  private handle(
    id: number,
    tokens: readonly number[],
    act: (delivery: Delivery) => void,
  ): HandledTokens {
    const refused: number[] = [];
    for (const token of tokens) {
      const delivery = this.state.deliveries.get(token);
      if (delivery?.member.id === id) act(delivery);
      // A token whose settlement is being written is answered when the write is durable.
      else if (!this.state.journal.isSettling(token, id)) refused.push(token);
    }
    return { refused };
  }
}
