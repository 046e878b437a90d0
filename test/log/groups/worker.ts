// A member of a group at work, for tests: takes its messages as they come and keeps what it was
// told; settles when the test says so.
import { scanRecord } from "../../../src/domain/record.ts";
import type { EventLog } from "../../../src/log/event-log.ts";
import type {
  GroupMember,
  MemberDelivery,
  MemberMessage,
  MemberRequest,
} from "../../../src/log/group-verbs.ts";
import { settled } from "../harness.ts";

export class Worker {
  readonly deliveries: MemberDelivery[] = [];
  /** Delivered and not dealt with by the test. */
  held: MemberDelivery[] = [];
  readonly settled: string[] = [];
  readonly refused: string[] = [];
  readonly heartbeats: number[] = [];
  error: { reason?: string } | undefined;
  ended = false;
  private readonly member: GroupMember;
  private told = 0;

  constructor(member: GroupMember, tell: (message: MemberMessage, worker: Worker) => void) {
    this.member = member;
    void this.take(tell);
  }

  static async join(
    log: EventLog,
    group: string,
    permits: number,
    tell: (message: MemberMessage, worker: Worker) => void = () => {},
  ): Promise<Worker> {
    return new Worker(await log.groups.join(group, { name: "", permits }), tell);
  }

  /** What came since the last call: positions, with the attempt where it is not the first. */
  async news(): Promise<string[]> {
    await settled();
    const news = this.deliveries.slice(this.told);
    this.told = this.deliveries.length;
    return news.map(({ record, attempt }) => {
      return `${scanRecord(record).position}${attempt > 1 ? ` #${attempt}` : ""}`;
    });
  }

  ask(request: MemberRequest): void {
    void this.member.handle(request);
  }

  ack(deliveries: readonly MemberDelivery[] = this.held): void {
    const tokens = deliveries.map(({ token }) => token);
    this.held = this.held.filter(({ token }) => !tokens.includes(token));
    this.ask({ kind: "ack", tokens, upTo: "" });
  }

  nack(deliveries: readonly MemberDelivery[], delayMs?: number, reason = "no"): void {
    const tokens = deliveries.map(({ token }) => token);
    this.held = this.held.filter(({ token }) => !tokens.includes(token));
    this.ask({ kind: "nack", tokens, delayMs, reason });
  }

  finish(): void {
    this.member.finish();
  }

  leave(): void {
    this.member.leave();
  }

  private async take(tell: (message: MemberMessage, worker: Worker) => void): Promise<void> {
    try {
      for await (const message of this.member.messages()) {
        if (message.kind === "deliveries") {
          this.deliveries.push(...message.deliveries);
          this.held.push(...message.deliveries);
        } else if (message.kind === "settled") this.settled.push(...message.tokens);
        else if (message.kind === "refused") this.refused.push(...message.tokens);
        else this.heartbeats.push(message.position);
        tell(message, this);
      }
    } catch (error) {
      this.error = error as { reason?: string };
    }
    this.ended = true;
  }
}
