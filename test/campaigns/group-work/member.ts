// A member of a group under test: it settles most of what it gets, and does everything else that
// members do: fails, puts aside, forgets, asks for more time, hangs up, says goodbye.
import type { Delivery } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { ConsumerGroupService } from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import type { Calls } from "../../support/calls.ts";
import type { GroupHistory } from "./history.ts";

export interface Temper {
  readonly permits: number;
  /** Only acknowledges: at the end everything must come to its end. */
  readonly sound: boolean;
}

export class CampaignMember {
  /** When the call has ended, however it did. */
  readonly ended: Promise<void>;
  private readonly history: GroupHistory;
  private readonly random: () => number;
  private readonly temper: Temper;
  private readonly pipe: ReturnType<typeof openPipe>;
  private readonly held: Delivery[] = [];
  /** What came when its lease was about to end. */
  private readonly late: string[] = [];
  /** All that it ever had. */
  private readonly tokens: string[] = [];
  private isOver = false;

  constructor(calls: Calls, history: GroupHistory, random: () => number, temper: Temper) {
    this.history = history;
    this.random = random;
    this.temper = temper;
    this.pipe = openPipe(calls);
    const { permits } = temper;
    this.pipe.send({ message: { case: "join", value: { group: history.name, permits } } });
    this.ended = this.read();
  }

  hangUp(): void {
    this.goodbye();
    this.pipe.cancel();
  }

  /** What it has from here on is the group's. */
  private goodbye(): void {
    this.isOver = true;
    for (const { token } of [...this.held, ...this.forgotten]) this.history.say(token, "goodbye");
  }

  private async read(): Promise<void> {
    try {
      const messages = { [Symbol.asyncIterator]: () => this.pipe.answers };
      for await (const { message } of messages) {
        const { history } = this;
        if (message.case === "settled") {
          message.value.tokens.forEach((token) => history.settled(token));
        } else if (message.case === "refused") {
          message.value.tokens.forEach((token) => history.refused(token));
        } else if (message.case === "deliveries") {
          this.take(message.value.deliveries);
        }
      }
    } catch {
      // The server was killed, or it hung up.
    }
    if (!this.isOver) this.history.cutOff(this.tokens, Date.now());
    this.goodbye();
  }

  private take(deliveries: readonly Delivery[]): void {
    const now = Date.now();
    for (const delivery of deliveries) {
      // After the goodbye no event is this member's any more.
      if (this.isOver) continue;
      if (!this.history.delivered(delivery, now)) {
        this.late.push(delivery.token);
        continue;
      }
      this.held.push(delivery);
      this.tokens.push(delivery.token);
    }
    this.work();
  }

  /** Deals with what it has, some of it later. */
  private work(): void {
    const { random } = this;
    while (this.held.length > 0 && !this.isOver) {
      const later = !this.temper.sound && random() < 0.3;
      if (later) {
        setTimeout(() => this.work(), random() * 20);
        return;
      }
      const luck = this.temper.sound ? 0 : random();
      if (luck < 0.7) this.ack(this.held.splice(0, 1 + Math.floor(random() * 8)));
      else if (luck < 0.75) this.ackUpTo(Math.floor(random() * this.held.length));
      else if (luck < 0.97) this.misfortune(this.held.shift(), luck);
      else this.part();
    }
  }

  private ack(deliveries: readonly Delivery[]): void {
    const tokens = deliveries.map(({ token }) => token);
    for (const token of tokens) this.history.say(token, "ack");
    this.pipe.send({ message: { case: "ack", value: { tokens } } });
  }

  /** In the order they came; what was forgotten before is among them. */
  private ackUpTo(index: number): void {
    const through = this.held.splice(0, index + 1);
    const last = through.at(-1);
    if (last === undefined) return;
    for (const { token } of [...this.forgotten.splice(0), ...through]) {
      this.history.say(token, "ack");
    }
    // If the server's clock still gives it to this member.
    for (const token of this.late) {
      if (numberOf(token) <= numberOf(last.token)) this.history.say(token, "ack");
    }
    this.pipe.send({ message: { case: "ack", value: { upToToken: last.token } } });
  }

  /** Not settled: their leases run out, unless something later stands for them too. */
  private readonly forgotten: Delivery[] = [];

  private misfortune(delivery: Delivery | undefined, luck: number): void {
    if (delivery === undefined) return;
    const tokens = [delivery.token];
    if (luck < 0.85) {
      this.history.say(delivery.token, "nack");
      const nanos = Math.floor(this.random() * 20) * 1_000_000;
      const value = { tokens, reason: "chance", ...(luck < 0.8 && { delay: { nanos } }) };
      this.pipe.send({ message: { case: "nack", value } });
    } else if (luck < 0.88) {
      this.history.say(delivery.token, "park");
      this.pipe.send({ message: { case: "park", value: { tokens, reason: "chance" } } });
    } else if (luck < 0.93) this.forgotten.push(delivery);
    else {
      const leaseMs = 100 + Math.floor(this.random() * 800);
      this.history.extend(delivery.token, leaseMs, Date.now());
      const lease = { nanos: leaseMs * 1_000_000 };
      this.pipe.send({ message: { case: "extend", value: { tokens, lease } } });
      this.forgotten.push(delivery);
    }
  }

  private part(): void {
    this.goodbye();
    if (this.random() < 0.5) this.pipe.cancel();
    else this.pipe.end();
  }
}

/** Tokens of one loading of a group are numbered as they are delivered. */
function numberOf(token: string): number {
  return Number.parseInt(token.slice(token.indexOf(".") + 1), 36);
}

function openPipe(calls: Calls) {
  return calls.pipe(ConsumerGroupService.method.consume);
}
