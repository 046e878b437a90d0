// What a consumer group owes, told plainly: sets and filters over a list of events. It watches
// what a group does and names every fault: an event out of its turn, twice, too soon, too often,
// or lost.
import type { GroupEvent } from "../../../src/domain/group/state.ts";
import { keyOf, type GroupSettings } from "../../../src/domain/group/settings.ts";
import { matches } from "../../../src/domain/query.ts";

interface Memory {
  readonly settled: Set<number>;
  readonly failures: Map<number, number>;
  readonly parked: Map<number, number>;
  /** Parked once, to be delivered again. */
  readonly replays: Set<number>;
  /** The same before a reset: whether they come once more is left open. */
  readonly optional: Set<number>;
  /** Tokens that were settled, refused or parked. */
  readonly handled: Set<number>;
  settings: GroupSettings;
  /** Events up to here are none of the group's. */
  start: number;
}

interface Held {
  readonly position: number;
  readonly member: number;
}

function copyOf(memory: Memory): Memory {
  const { settled, failures, parked, replays, handled, settings, start } = memory;
  return {
    optional: new Set(memory.optional),
    handled: new Set(handled),
    settled: new Set(settled),
    failures: new Map(failures),
    parked: new Map(parked),
    replays: new Set(replays),
    settings,
    start,
  };
}

export class GroupOracle {
  readonly faults: string[] = [];
  private readonly log: readonly GroupEvent[];
  private readonly removed: ReadonlySet<number>;
  private memory: Memory;
  private durable: Memory;
  /** By token, since the last crash. */
  private readonly held = new Map<number, Held>();

  constructor(
    {
      log,
      removed,
    }: { readonly log: readonly GroupEvent[]; readonly removed: ReadonlySet<number> },
    settings: GroupSettings,
    start: number,
  ) {
    this.log = log;
    this.removed = removed;
    const nothing = { settled: new Set<number>(), failures: new Map<number, number>() };
    const sets = { replays: new Set<number>(), optional: new Set<number>() };
    const aside = { ...sets, handled: new Set<number>(), parked: new Map<number, number>() };
    this.memory = { ...nothing, ...aside, settings, start };
    this.durable = copyOf(this.memory);
  }

  get settings(): GroupSettings {
    return this.memory.settings;
  }

  get heldTokens(): number[] {
    return [...this.held.keys()];
  }

  get parkedPositions(): number[] {
    return [...this.memory.parked.keys()].toSorted((a, b) => a - b);
  }

  memberOf(token: number): number | undefined {
    return this.held.get(token)?.member;
  }

  /** Own events that are not settled. */
  get owed(): number[] {
    return this.owedIn(this.memory).map(({ position }) => position);
  }

  get replayed(): number[] {
    return [...this.memory.replays].filter((position) => !this.removed.has(position));
  }

  /** Own events up to a position that are not settled, or are removed and still held. */
  unsettledCount(through: number): number {
    const { settings, settled, start, replays, optional } = this.memory;
    const held = [...this.held.values()].filter(({ position }) => {
      const event = this.log[position - 1] as GroupEvent;
      const isReplay = replays.has(position) || optional.has(position);
      const isOwn = position > start && !settled.has(position) && matches(settings.query, event);
      return this.removed.has(position) && isOwn && !isReplay;
    });
    return held.length + this.owed.filter((position) => position <= through).length;
  }

  delivered(token: number, position: number, attempt: number, member: number): void {
    const { settled, failures, replays, settings, start } = this.memory;
    const event = this.log[position - 1];
    const fault = (what: string) => this.faults.push(`delivery of ${position}: ${what}`);
    if (event === undefined) return void fault("there is no such event");
    const isOptional = this.memory.optional.has(position) && !this.owed.includes(position);
    const isReplay = replays.has(position) || isOptional;
    if (!isReplay) {
      if (!matches(settings.query, event)) fault("the query does not match it");
      if (position <= start) fault(`the group begins after ${start}`);
      if (settled.has(position)) fault("it is settled");
    }
    const key = this.keyAt(position);
    for (const other of this.held.values()) {
      if (other.position === position) fault("it is in flight");
      else if (this.keyAt(other.position) === key)
        fault(`${other.position} of its key is in flight`);
    }
    if (!isReplay) {
      const before = this.owed.filter((other) => other < position && this.keyAt(other) === key);
      if (before.length > 0) fault(`${before.join(" ")} of its key comes first`);
    }
    const expected = (failures.get(position) ?? 0) + 1;
    if (attempt !== expected) fault(`attempt ${attempt} instead of ${expected}`);
    if (attempt > settings.attemptsMax) fault(`attempt ${attempt}`);
    this.held.set(token, { position, member });
    if (this.held.size > settings.inFlightMax) fault("too many in flight");
  }

  acked(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return void this.faults.push(`token ${token} was taken for good`);
    this.held.delete(token);
    this.memory.handled.add(token);
    this.settle(held.position);
  }

  /** Its member was told that it is settled. */
  answered(token: number): void {
    if (!this.durable.handled.has(token)) this.faults.push(`token ${token} is not durable`);
  }

  /** Nacked, or the lease ran out, or the member left. */
  failed(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return void this.faults.push(`token ${token} was taken for good`);
    this.held.delete(token);
    this.memory.handled.add(token);
    const { position } = held;
    const failures = (this.memory.failures.get(position) ?? 0) + 1;
    this.memory.failures.set(position, failures);
    if (failures >= this.memory.settings.attemptsMax) this.setAside(position, failures);
  }

  /** The event was removed before its member got it. */
  vanished(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return void this.faults.push(`token ${token} was taken for good`);
    this.held.delete(token);
    this.memory.handled.add(token);
    this.settle(held.position);
  }

  /** Its member never got it: nothing was attempted. */
  takenBack(token: number): void {
    if (!this.held.delete(token)) this.faults.push(`token ${token} was taken for good`);
    this.memory.handled.add(token);
  }

  parked(token: number): void {
    const held = this.held.get(token);
    if (held === undefined) return void this.faults.push(`token ${token} was taken for good`);
    this.held.delete(token);
    this.memory.handled.add(token);
    const { position } = held;
    this.setAside(position, (this.memory.failures.get(position) ?? 0) + 1);
  }

  /** Put aside without a delivery: fewer attempts are allowed now than it has had. */
  shelved(position: number): void {
    const { failures, settings } = this.memory;
    const attempts = failures.get(position) ?? 0;
    if (attempts < settings.attemptsMax) this.faults.push(`${position} was put aside too early`);
    this.setAside(position, attempts);
  }

  /** A parked event is to come again. */
  replay(position: number): void {
    const { parked, failures, replays } = this.memory;
    parked.delete(position);
    failures.delete(position);
    if (!this.owed.includes(position)) replays.add(position);
  }

  discard(position: number): void {
    this.memory.parked.delete(position);
  }

  configured(settings: GroupSettings): void {
    this.memory.settings = settings;
  }

  reset(start: number): void {
    const { settled, failures } = this.memory;
    this.held.clear();
    settled.clear();
    failures.clear();
    this.memory.start = start;
    this.mergeReplays();
  }

  /** What a write that begins now makes durable. */
  snapshot(): () => void {
    const taken = copyOf(this.memory);
    return () => {
      this.durable = taken;
    };
  }

  crashed(): void {
    this.held.clear();
    this.memory = copyOf(this.durable);
    // The tokens of the new process begin anew.
    this.memory.handled.clear();
    this.durable.handled.clear();
  }

  /** The group says that everything up to here is settled, durably. */
  reached(position: number): void {
    const left = this.owedIn(this.durable).filter((event) => event.position <= position);
    if (left.length === 0) return;
    this.faults.push(`position ${position}: ${left.map((one) => one.position).join(" ")} is owed`);
  }

  /** One that comes by itself need not be replayed. */
  private mergeReplays(): void {
    const { replays, optional } = this.memory;
    for (const position of this.owed) if (replays.delete(position)) optional.add(position);
  }

  private setAside(position: number, attempts: number): void {
    this.memory.parked.set(position, attempts);
    this.settle(position);
  }

  private settle(position: number): void {
    const { replays, optional, settled, failures } = this.memory;
    replays.delete(position);
    optional.delete(position);
    settled.add(position);
    failures.delete(position);
  }

  private owedIn({ settings, settled, start }: Memory): GroupEvent[] {
    return this.log.filter((event) => {
      const { position } = event;
      if (this.removed.has(position)) return false;
      return position > start && !settled.has(position) && matches(settings.query, event);
    });
  }

  private keyAt(position: number): string {
    const event = this.log[position - 1];
    if (event === undefined) return "";
    return keyOf(event, position, this.memory.settings.ordering);
  }
}
