// What goes out of a call: answers framed as HTTP/2 data, and the status behind them. Where all
// calls together leave much unsent, a call waits until it has nothing unsent itself: it never waits
// for others.

import { encodeHeaders, type HeaderBlock } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { schedulingPolicy } from "../../log/scheduling/policy.ts";
import type { UnsentBytes } from "../../log/scheduling/unsent-bytes.ts";
import { tooMuchHeld } from "./incoming.ts";
import { MessageParts, PrefixedMessages } from "./message-parts.ts";
import type { Bytes } from "./methods.ts";
import { statusFields, type CallStatus } from "./status.ts";

const plain = [
  [":status", "200"],
  ["content-type", "application/grpc+proto"],
] as const;
/** What requests may be compressed with. */
export const acceptedEncodings = "identity,deflate,gzip";

const answerHead = encodeHeaders([
  ...plain,
  ["grpc-encoding", "identity"],
  ["grpc-accept-encoding", acceptedEncodings],
]);
const okTrailers = encodeHeaders([["grpc-status", "0"]]);
const nothingButOk = encodeHeaders([...plain, ["grpc-status", "0"]]);

export class Outgoing {
  private readonly stream: Http2Stream;
  private readonly unsent: UnsentBytes;
  /** Of this call's answers, those counted among the unsent ones. */
  private countedBytes = 0;
  private hasBegun = false;
  private isEnded = false;
  private wake: (() => void) | undefined;

  constructor(stream: Http2Stream, unsent: UnsentBytes) {
    this.stream = stream;
    this.unsent = unsent;
  }

  /** The headers of the answer. */
  begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    this.stream.respond(answerHead);
  }

  /**
   * Sends messages together. Answers a promise where the next one has to wait for room. Throws
   * OVERLOADED where the budget has none.
   */
  send(messages: readonly Bytes[]): Promise<void> | undefined {
    if (this.isEnded) return undefined;
    this.begin();
    if (!this.stream.write(...messages.flatMap(framed))) throw tooMuchHeld();
    this.count();
    if (this.hasRoom) return undefined;
    return new Promise((resolve) => {
      this.wake = resolve;
    });
  }

  /** Some of it is with the connection. */
  sent(): void {
    this.count();
    if (this.hasRoom) this.release();
  }

  /** The end: with OK behind the last answer, if there is one, or with another status. */
  end(status: CallStatus | undefined, answer?: Bytes): void {
    if (this.isEnded) return;
    if (answer !== undefined) void this.send([answer]);
    this.isEnded = true;
    if (this.hasBegun) this.stream.end(status === undefined ? okTrailers : trailersOf(status));
    else this.stream.respond(status === undefined ? nothingButOk : statusOnly(status), true);
    this.release();
  }

  /** The stream is over. */
  close(): void {
    this.isEnded = true;
    this.count();
    this.release();
  }

  private count(): void {
    const { unsentBytes } = this.stream;
    const more = unsentBytes - this.countedBytes;
    if (more > 0) this.unsent.given(more);
    else this.unsent.taken(-more);
    this.countedBytes = unsentBytes;
  }

  private get hasRoom(): boolean {
    const { unsentBytes } = this.stream;
    const isLittle = unsentBytes < schedulingPolicy.callUnsentBytesMax && !this.unsent.isLarge;
    return unsentBytes === 0 || isLittle;
  }

  private release(): void {
    this.wake?.();
    this.wake = undefined;
  }
}

/** An answer that is nothing but a status. */
export function statusOnly(status: CallStatus, more: [string, string][] = []): HeaderBlock {
  return encodeHeaders([...plain, ...statusFields(status), ...more]);
}

function trailersOf(status: CallStatus): HeaderBlock {
  return encodeHeaders(statusFields(status));
}

function framed(message: Bytes): readonly Uint8Array[] {
  if (message instanceof PrefixedMessages) return [message.bytes];
  const prefix = Buffer.allocUnsafe(5);
  prefix[0] = 0;
  prefix.writeUInt32BE(message.length, 1);
  return message instanceof MessageParts ? [prefix, ...message.parts] : [prefix, message];
}
