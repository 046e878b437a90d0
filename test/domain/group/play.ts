// A group's state machine over a short log, for rules by example.
import { GroupStateMachine } from "../../../src/domain/group/state-machine.ts";
import { progressFrom } from "../../../src/domain/group/progress.ts";
import type { GroupSettings } from "../../../src/domain/group/settings.ts";
import type { Delivery, GroupEvent } from "../../../src/domain/group/state.ts";

export const settings: GroupSettings = {
  query: { items: [] },
  ordering: { kind: "stream" },
  leaseMs: 1_000,
  attemptsMax: 3,
  retryDelayMs: 100,
  retryDelayMaxMs: 1_000,
  inFlightMax: 1_000,
};

export function logged(position: number, stream: string): GroupEvent {
  return { id: "", stream, type: "T", tags: [], position, version: position, recordedAt: position };
}

/** A group over a log of streams: `ab` is an event of stream a, then one of b. */
export class Play {
  readonly group: GroupStateMachine;
  now = 0;
  private readonly log: string;

  constructor(log: string, changes: Partial<GroupSettings> = {}) {
    this.log = log;
    this.group = new GroupStateMachine({ ...settings, ...changes }, progressFrom(0));
    this.feed();
  }

  /** Offers as much as it wants. */
  feed(): void {
    while (this.group.wantsEvents && this.group.through < this.log.length) {
      this.group.offer(this.event(this.group.through + 1), this.now);
    }
  }

  event(position: number) {
    return logged(position, this.log[position - 1] ?? "");
  }

  /** Reads of a log of one stream what is to be read again. */
  readAgain(): void {
    for (let next = this.group.nextReading(); next !== undefined; next = this.group.nextReading()) {
      const { after, countMax } = next;
      const found = Array.from({ length: countMax }, (_, i) => this.event(after + 1 + i));
      this.group.readMore(next, found, after + countMax, this.now);
    }
  }

  join(id: number, permits: number): this {
    this.group.join(id, permits);
    this.feed();
    return this;
  }

  deliver(): Delivery[] {
    this.feed();
    const given = this.group.deliver(this.now);
    for (const delivery of given) this.group.sent(delivery);
    return given;
  }

  /** In short: `member:position` of each, with the attempt where it is not the first. */
  delivered(): string[] {
    return this.deliver().map(({ member, event, attempt }) => {
      return `${member.id}:${event.position}${attempt > 1 ? ` #${attempt}` : ""}`;
    });
  }

  pass(ms: number): void {
    this.now += ms;
    this.group.tick(this.now);
  }

  /** Makes everything durable; answers the tokens that are settled. */
  write(): number[] {
    this.group.takeWrite();
    return [...this.group.written().values()].flat();
  }
}
