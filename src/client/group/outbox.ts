// The requests of a member until the call sends them. Acknowledgements of one turn are sent in one
// message.

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConsumeRequestSchema } from "../../gen/annals/v1/consumer_group_service_pb.js";

export type WireRequest = MessageInitShape<typeof ConsumeRequestSchema>;
export type Said = NonNullable<Exclude<WireRequest, { $typeName: string }>["message"]>;

/** Tokens in one message. */
const tokensMax = 1_000;

export class Outbox implements AsyncIterable<WireRequest> {
  private readonly waiting: WireRequest[] = [];
  private acks: string[] = [];
  private ended = false;
  private wake: (() => void) | undefined;

  say(message: Said): void {
    this.flush();
    this.waiting.push({ message });
    this.notify();
  }

  ack(token: string): void {
    if (this.acks.length === 0) queueMicrotask(() => this.flush());
    this.acks.push(token);
    if (this.acks.length === tokensMax) this.flush();
  }

  /** No more requests follow. */
  end(): void {
    this.flush();
    this.ended = true;
    this.notify();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<WireRequest, void, undefined> {
    for (;;) {
      const next = this.waiting.shift();
      if (next !== undefined) yield next;
      else if (this.ended) return;
      else {
        await new Promise<void>((resolve) => {
          this.wake = resolve;
        });
      }
    }
  }

  private flush(): void {
    if (this.acks.length === 0) return;
    this.waiting.push({ message: { case: "ack", value: { tokens: this.acks } } });
    this.acks = [];
    this.notify();
  }

  private notify(): void {
    this.wake?.();
    this.wake = undefined;
  }
}
