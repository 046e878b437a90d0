// Everything around the state machine of a consumer group, played by the test: a log, members, a
// clock, a disk that may lose what is on its way to it. Each step is one thing that may happen; the
// oracle watches.
import { GroupStateMachine, type KeyReading } from "../../../src/domain/group/state-machine.ts";
import { progressFrom } from "../../../src/domain/group/progress.ts";
import type { GroupWrite, Parked } from "../../../src/domain/group/journal.ts";
import {
  changedSettings,
  keyOf,
  type GroupChanges,
  type GroupSettings,
} from "../../../src/domain/group/settings.ts";
import type { Delivery, GroupBounds, GroupEvent } from "../../../src/domain/group/state.ts";
import { matches } from "../../../src/domain/query.ts";
import { GroupDisk } from "./disk.ts";
import { GroupOracle } from "./oracle.ts";

export type LoggedEvent = Pick<GroupEvent, "stream" | "type" | "tags">;

interface Recounted {
  readonly after: number | undefined;
  readonly epoch: number;
  readonly removedCount: number;
}

export class GroupWorld {
  readonly log: GroupEvent[] = [];
  /** Positions of events that a lifecycle has removed. */
  readonly removed = new Set<number>();
  readonly oracle: GroupOracle;
  readonly bounds: GroupBounds;
  group: GroupStateMachine;
  settings: GroupSettings;
  now = 1_000_000;
  readonly members = new Set<number>();
  /** When the leases run out, by token. */
  private readonly leases = new Map<number, number>();
  private readonly disk: GroupDisk;
  readonly unsent: Delivery[] = [];
  private readings: { readonly reading: KeyReading; readonly found: readonly GroupEvent[] }[] = [];
  private writing: { write: GroupWrite; becomeDurable: () => void } | undefined;
  /** A recount that is under way: after which position it goes on. */
  recounted: Recounted | undefined;
  private memberCount = 0;
  /** The group's, which goes back only with a reset or a crash. */
  private position = 0;
  private readonly handled = new Set<number>();

  constructor(settings: GroupSettings, start: number, bounds: GroupBounds) {
    this.settings = settings;
    this.bounds = bounds;
    this.oracle = new GroupOracle(this, settings, start);
    const progress = progressFrom(start);
    this.disk = new GroupDisk(progress);
    this.group = new GroupStateMachine(settings, progress, 0, bounds);
  }

  append(event: LoggedEvent): void {
    const position = this.log.length + 1;
    const placement = { position, version: position, recordedAt: position };
    this.log.push({ id: `${position}`, ...placement, ...event });
  }

  /** Offers what the log has next, so many matches at most. */
  feed(countMax: number): void {
    for (let count = 0; count < countMax && this.group.wantsEvents; count++) {
      const next = this.log.find(
        (event) => event.position > this.group.through && this.matches(event),
      );
      if (next === undefined) {
        this.group.pass(this.log.length);
        return;
      }
      this.group.offer({ ...next, frame: this.frameOf(next) }, this.now);
    }
  }

  beginReading(): void {
    const reading = this.group.nextReading();
    if (reading !== undefined) this.readings.push({ reading, found: this.eventsIn(reading) });
    const [position] = this.group.nextUnplaced(1);
    if (position === undefined) return;
    const event = this.removed.has(position) ? undefined : this.log[position - 1];
    this.group.place(position, event, this.now);
  }

  endReading(choice: number, fails: boolean): void {
    const [ended] = this.readings.splice(choice % Math.max(1, this.readings.length), 1);
    if (ended === undefined) return;
    const { reading, found: all } = ended;
    if (fails) return this.group.readLater(reading, this.now);
    const { to, countMax } = reading;
    const found = all.slice(0, countMax);
    const knownThrough = found.length < all.length ? (found.at(-1)?.position ?? to) : to;
    this.group.readMore(reading, found, knownThrough, this.now);
  }

  private eventsIn({ queue, after, to }: KeyReading): GroupEvent[] {
    return this.log.filter((event) => {
      const { position } = event;
      const isOfKey = keyOf(event, position, this.settings.ordering) === queue.key;
      return position > after && position <= to && isOfKey && this.matches(event);
    });
  }

  deliver(): void {
    const before = new Set(this.asideNow());
    const deliveries = this.group.deliver(this.now);
    // Those whose attempts are used up are put aside without a word to anybody.
    for (const parked of this.asideNow()) {
      if (!before.has(parked)) this.oracle.shelved(parked.position);
    }
    for (const delivery of deliveries) {
      const { token, event, attempt, member } = delivery;
      this.oracle.delivered(token, event.position, attempt, member.id);
      this.leases.set(token, delivery.leaseUntilMs);
      this.unsent.push(delivery);
    }
  }

  send(choice: number): void {
    const [delivery] = this.unsent.splice(choice % Math.max(1, this.unsent.length), 1);
    if (delivery === undefined || !this.group.sent(delivery)) return;
    if (!this.removed.has(delivery.event.position)) return;
    this.group.vanished(delivery, this.now);
    this.oracle.vanished(delivery.token);
  }

  join(permits: number, freesAtOnce = false): void {
    if (this.members.size >= 4) return;
    const id = ++this.memberCount;
    this.members.add(id);
    this.group.join(id, permits, freesAtOnce);
  }

  permit(choice: number, count: number): void {
    const id = this.member(choice);
    if (id === undefined) return;
    this.group.heard(id);
    this.group.permit(id, count);
  }

  /** `stays`: it says no more, and waits for the answers to what it said. */
  leave(choice: number, stays: boolean): void {
    const id = this.member(choice);
    if (id === undefined) return;
    this.members.delete(id);
    for (const token of this.tokensOf(id)) this.lost(token);
    if (stays) this.group.retire(id, this.now);
    else this.group.leave(id, this.now);
  }

  ack(choices: readonly number[]): void {
    this.withTokens(choices, (id, tokens) => {
      for (const token of tokens) this.oracle.acked(token);
      this.expectTaken(id, this.group.ack(id, tokens, this.now).refused, tokens);
    });
  }

  ackThrough(choice: number, last: number): void {
    const id = this.member(choice);
    if (id === undefined) return;
    const tokens = this.tokensOf(id).toSorted((a, b) => a - b);
    const token = tokens[last % Math.max(1, tokens.length)];
    if (token === undefined) return;
    this.group.heard(id);
    const through = tokens.filter((other) => other <= token);
    for (const one of through) this.oracle.acked(one);
    this.expectTaken(id, this.group.ackThrough(id, token, this.now).refused, through);
  }

  nack(choices: readonly number[], delayMs: number | undefined): void {
    this.withTokens(choices, (id, tokens) => {
      for (const token of tokens) this.oracle.failed(token);
      const { refused } = this.group.nack(id, tokens, { delayMs, reason: "no" }, this.now);
      this.expectTaken(id, refused, tokens);
    });
  }

  park(choices: readonly number[]): void {
    this.withTokens(choices, (id, tokens) => {
      for (const token of tokens) this.oracle.parked(token);
      this.expectTaken(id, this.group.park(id, tokens, "aside", this.now).refused, tokens);
    });
  }

  release(choices: readonly number[]): void {
    this.withTokens(choices, (id, tokens) => {
      for (const token of tokens) this.oracle.takenBack(token);
      this.expectTaken(id, this.group.release(id, tokens, this.now).refused, tokens);
    });
  }

  extend(choices: readonly number[], leaseMs: number | undefined): void {
    this.withTokens(choices, (id, tokens) => {
      this.expectTaken(id, this.group.extend(id, tokens, leaseMs, this.now).refused, []);
      const until = this.now + (leaseMs ?? this.settings.leaseMs);
      for (const token of tokens) this.leases.set(token, until);
    });
  }

  /** Tokens that are not the member's, or no member's. */
  settleFalsely(choice: number, token: number): void {
    const id = this.member(choice);
    if (id === undefined || this.oracle.memberOf(token) === id || this.handled.has(token)) return;
    const handled = [
      this.group.ack(id, [token], this.now),
      this.group.nack(id, [token], { delayMs: 0, reason: "" }, this.now),
      this.group.park(id, [token], "", this.now),
      this.group.extend(id, [token], 1, this.now),
    ];
    for (const { refused } of handled) {
      if (refused[0] !== token) this.oracle.faults.push(`token ${token} was taken from ${id}`);
    }
  }

  /** Time passes; the leases that run out are the oracle's to know. */
  pass(ms: number): void {
    this.now += ms;
    this.tick();
  }

  tick(): void {
    for (const token of this.oracle.heldTokens) {
      const until = this.leases.get(token);
      if (until !== undefined && until <= this.now) this.lost(token);
    }
    this.group.tick(this.now);
  }

  configure(changes: GroupChanges): void {
    this.settings = changedSettings(this.settings, changes);
    this.group.configure(this.settings);
    this.oracle.configured(this.settings);
  }

  /** Another group takes this one's place, as `CreateGroup` with `replace` has it. */
  replace(settings: GroupSettings): void {
    this.endWrite("written", true);
    this.beginWrite();
    this.endWrite("written", true);
    const { position } = this.group;
    this.group.reset(position, 0);
    this.settings = settings;
    this.oracle.configured(settings);
    this.oracle.reset(position);
    this.beginWrite();
    this.endWrite("written", true);
    this.crash(true);
  }

  reset(position: number): void {
    const start = Math.min(position, this.log.length);
    this.group.reset(start, 0);
    this.oracle.reset(start);
    this.position = 0;
  }

  replay(choice: number): void {
    const parked = this.oracle.parkedPositions;
    const position = parked[choice % Math.max(1, parked.length)];
    const event = position === undefined ? undefined : this.log[position - 1];
    if (event === undefined) return;
    if (this.removed.has(event.position)) return this.forget(event.position);
    this.group.replay(event, this.now);
    this.oracle.replay(event.position);
  }

  discard(choice: number): void {
    const parked = this.oracle.parkedPositions;
    const position = parked[choice % Math.max(1, parked.length)];
    if (position !== undefined) this.forget(position);
  }

  private forget(position: number): void {
    this.group.discard(position);
    this.oracle.discard(position);
  }

  beginWrite(): void {
    if (this.writing !== undefined || !this.group.hasUrgent) return;
    const write = this.group.takeWrite();
    this.writing = { write, becomeDurable: this.oracle.snapshot() };
  }

  /** `there`: what happened, whatever the group is told. */
  endWrite(outcome: "written" | "failed", there: boolean): void {
    const { writing } = this;
    if (writing === undefined) return;
    this.writing = undefined;
    if (outcome === "written" || there) {
      this.disk.store(writing.write);
      writing.becomeDurable();
    }
    if (outcome === "failed") return this.group.failed();
    for (const [, tokens] of this.group.written()) {
      for (const token of tokens) this.oracle.answered(token);
    }
  }

  /** The process is killed; what was on its way to the disk got there or not. */
  crash(there: boolean): void {
    const { writing } = this;
    this.writing = undefined;
    if (writing !== undefined && there) {
      this.disk.store(writing.write);
      writing.becomeDurable();
    }
    this.oracle.crashed();
    this.position = 0;
    this.settings = this.oracle.settings;
    this.members.clear();
    this.unsent.length = 0;
    this.readings = [];
    this.recounted = undefined;
    this.leases.clear();
    this.handled.clear();
    const { progress, baseSequence } = this.disk.load();
    this.group = new GroupStateMachine(this.settings, progress, baseSequence, this.bounds);
  }

  checkCount(): void {
    const { group, oracle } = this;
    const counted = group.unsettledCount - group.replayCount;
    const expected = oracle.unsettledCount(group.through);
    if (counted !== expected) oracle.faults.push(`${counted} unsettled instead of ${expected}`);
  }

  check(): void {
    const { position } = this.group;
    this.oracle.reached(position);
    if (position < this.position) this.oracle.faults.push(`${this.position} went to ${position}`);
    this.position = position;
    if (this.removed.size === 0) this.checkCount();
    if (this.group.inFlightCount < this.oracle.heldTokens.length) {
      this.oracle.faults.push("fewer in flight than are held");
    }
  }

  get parkedOnDisk(): number[] {
    return this.disk.parkedPositions;
  }

  /** What was on its way to the member, or never left. */
  private lost(token: number): void {
    if (this.unsent.some((delivery) => delivery.token === token)) this.oracle.takenBack(token);
    else this.oracle.failed(token);
  }

  /** What the next write is to put aside: the group tells it to no member. */
  private asideNow(): Iterable<Parked> {
    return this.group["state"].journal["pending"].parked.values();
  }

  private member(choice: number): number | undefined {
    return [...this.members][choice % Math.max(1, this.members.size)];
  }

  private tokensOf(id: number): number[] {
    return this.oracle.heldTokens.filter((token) => this.oracle.memberOf(token) === id);
  }

  /** Chosen tokens that are held, by their members; each member is heard of. */
  private withTokens(
    choices: readonly number[],
    act: (id: number, tokens: number[]) => void,
  ): void {
    const held = this.oracle.heldTokens;
    const chosen = new Set(
      choices.flatMap((choice) => held[choice % Math.max(1, held.length)] ?? []),
    );
    for (const id of this.members) {
      const tokens = [...chosen].filter((token) => this.oracle.memberOf(token) === id);
      if (tokens.length === 0) continue;
      this.group.heard(id);
      act(id, tokens);
    }
  }

  private expectTaken(id: number, refused: readonly number[], handled: readonly number[]): void {
    if (refused.length > 0) this.oracle.faults.push(`${refused.join(" ")} of ${id} were refused`);
    for (const token of handled) this.handled.add(token);
  }

  private matches(event: GroupEvent): boolean {
    return matches(this.settings.query, event) && !this.removed.has(event.position);
  }

  private frameOf({ position }: GroupEvent): Uint8Array | undefined {
    return position % 3 === 0 ? undefined : new Uint8Array(10);
  }
}
