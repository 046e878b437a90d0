// A member of a group over a real connection, for tests: says what it is told to, and waits for what
// the server answers, in whatever order that comes.
import type { MessageInitShape } from "@bufbuild/protobuf";
import {
  ConsumerGroupService,
  type ConsumeRequestSchema,
  type ConsumeResponse,
  type Delivery,
} from "../../../src/gen/annals/v1/consumer_group_service_pb.js";
import { failedOf, type Calls, type Failed, type Pipe } from "../../support/calls.ts";

type Wire = MessageInitShape<typeof ConsumeRequestSchema>;
type Said = NonNullable<Exclude<Wire, { $typeName: string }>["message"]>;
type Asked = Extract<Said, { case: "join" }>["value"];

export interface Wish {
  readonly permits?: number;
  readonly member?: string;
  readonly view?: number;
  /** Of the call, milliseconds from now. */
  readonly deadlineMs?: number;
}

export class Consumer {
  readonly pipe: Pipe<Wire, ConsumeResponse>;
  readonly deliveries: Delivery[] = [];
  readonly settled: string[] = [];
  readonly refused: string[] = [];
  readonly heartbeats: bigint[] = [];
  /** How the call ended, once it has. */
  readonly ended: Promise<Failed | "ok">;
  private over: Failed | "ok" | undefined;
  private taken = 0;
  private changed: (() => void)[] = [];

  private constructor(pipe: Pipe<Wire, ConsumeResponse>) {
    this.pipe = pipe;
    const reading = this.read();
    this.ended = reading.then(
      () => "ok" as const,
      (error: unknown) => failedOf(Promise.reject(error as Error)),
    );
    void this.ended.then((how) => {
      this.over = how;
      this.tell();
      return how;
    });
  }

  /** A call whose first message is the test's own. */
  static open(calls: Calls, wish: Pick<Wish, "deadlineMs"> = {}): Consumer {
    const { deadlineMs } = wish;
    const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
    return new Consumer(calls.pipe(ConsumerGroupService.method.consume, options));
  }

  static join(calls: Calls, group: string, wish: Wish = {}): Consumer {
    const consumer = Consumer.open(calls, wish);
    const { permits = 10, member = "", view = 0 } = wish;
    consumer.say({ case: "join", value: { group, permits, member, view } as Asked });
    return consumer;
  }

  say(message: Said): void {
    this.pipe.send({ message });
  }

  ack(...deliveries: readonly Delivery[]): void {
    this.say({ case: "ack", value: { tokens: deliveries.map(({ token }) => token) } });
  }

  nack(deliveries: readonly Delivery[], reason = "no", delayMs?: number): void {
    const tokens = deliveries.map(({ token }) => token);
    const delay = delayMs === undefined ? {} : { delay: { nanos: delayMs * 1_000_000 } };
    this.say({ case: "nack", value: { tokens, reason, ...delay } });
  }

  /** The next `count` deliveries. Throws where the call ends before. */
  async next(count = 1): Promise<Delivery[]> {
    await this.until(() => this.deliveries.length >= this.taken + count);
    const next = this.deliveries.slice(this.taken, this.taken + count);
    this.taken += count;
    return next;
  }

  /** Waits for something that messages bring about. */
  async until(isSo: () => boolean): Promise<void> {
    while (!isSo()) {
      if (this.over !== undefined) throw new Error(`it ended: ${JSON.stringify(this.over)}`);
      await new Promise<void>((resolve) => this.changed.push(resolve));
    }
  }

  private async read(): Promise<void> {
    const messages = { [Symbol.asyncIterator]: () => this.pipe.answers };
    for await (const { message } of messages) {
      switch (message.case) {
        case "deliveries":
          this.deliveries.push(...message.value.deliveries);
          break;
        case "settled":
          this.settled.push(...message.value.tokens);
          break;
        case "refused":
          this.refused.push(...message.value.tokens);
          break;
        case "heartbeat":
          this.heartbeats.push(message.value.position);
          break;
        default:
      }
      this.tell();
    }
  }

  private tell(): void {
    for (const resolve of this.changed.splice(0)) resolve();
  }
}

/** In short: `position`, with the attempt where it is not the first. */
export function shortly(deliveries: readonly Delivery[]): string[] {
  return deliveries.map(({ event, attempt }) => {
    return `${event?.position}${attempt > 1 ? ` #${attempt}` : ""}`;
  });
}
