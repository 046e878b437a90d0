// The outgoing messages of a call, framed as HTTP/2 data, and the status after them. While all
// calls together have much unsent, a call waits until it has nothing unsent itself. It never waits
// for others.

import { encodeHeaders, type HeaderBlock } from "../../http2/hpack-encoder.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import type { ClientMemory } from "../../log/scheduling/client-memory.ts";
import { schedulingPolicy } from "../../log/scheduling/policy.ts";
import { tooMuchHeld } from "./incoming.ts";
import { MessageParts, PrefixedMessages } from "./message-parts.ts";
import type { Bytes } from "./methods.ts";
import { statusFields, type CallStatus } from "./status.ts";

/** The length of the prefix before each message. */
const prefixBytes = 5;
/** Longer messages are not copied. */
const smallBytesMax = 1_024;

const plain = [
  [":status", "200"],
  ["content-type", "application/grpc+proto"],
] as const;
/** The encodings that requests may be compressed with. */
export const acceptedEncodings = "identity,deflate,gzip";

const answerHead = encodeHeaders([
  ...plain,
  ["grpc-encoding", "identity"],
  ["grpc-accept-encoding", acceptedEncodings],
]);
const okTrailers = encodeHeaders([["grpc-status", "0"]]);
const nothingButOk = encodeHeaders([...plain, ["grpc-status", "0"]]);

export class Outgoing {
  /** Of all answers, with what frames them. */
  sentBytes = 0;
  private readonly stream: Http2Stream;
  private readonly memory: ClientMemory;
  /** The lengths of the last messages, at least of all that are not completely sent. */
  private readonly lengths: number[] = [];
  private lengthsSum = 0;
  private hasBegun = false;
  private isEnded = false;
  private waiting: Promise<void> | undefined;
  private wake: (() => void) | undefined;

  constructor(stream: Http2Stream, memory: ClientMemory) {
    this.stream = stream;
    this.memory = memory;
  }

  get unsentBytes(): number {
    return this.stream.unsentBytes;
  }

  /** Sends the headers of the answer. */
  begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    this.stream.respond(answerHead);
  }

  /**
   * Sends messages together. Returns a promise if the next message has to wait for room. Throws
   * OVERLOADED if the budget has no room.
   */
  send(messages: readonly Bytes[]): Promise<void> | undefined {
    if (this.isEnded) return undefined;
    this.mustWrite(messages);
    return this.room();
  }

  /** Sends a message if the client takes it now, and the budget has room. */
  offer(message: Buffer): boolean {
    if (this.isEnded || this.memory.isLarge || !this.hasRoom) return false;
    this.begin();
    return this.write([message]);
  }

  /** Resolves when the client takes more of the answer. Undefined: it does so now. */
  room(): Promise<void> | undefined {
    const { isEnded, hasRoom } = this;
    if (isEnded) return undefined;
    if (hasRoom) return this.memory.room(this.stream.connection);
    if (this.stream.unsentBytes === 0) this.stream.awaitWindow();
    this.waiting ??= new Promise((resolve) => {
      this.wake = resolve;
    });
    return this.waiting;
  }

  /** The connection has taken some of the answer, or a window has opened. */
  sent(): void {
    this.forgetSent();
    if (this.wake === undefined) return;
    if (this.hasRoom) this.goOn();
    else if (this.stream.unsentBytes === 0) this.stream.awaitWindow();
  }

  /** Ends the answer: with OK after the last message, if there is one, or with another status. */
  end(status: CallStatus | undefined, answer?: Bytes): void {
    if (this.isEnded) return;
    if (answer !== undefined) this.mustWrite([answer]);
    this.isEnded = true;
    if (this.hasBegun) this.stream.end(status === undefined ? okTrailers : trailersOf(status));
    else this.stream.respond(status === undefined ? nothingButOk : statusOnly(status), true);
    this.goOn();
  }

  /** Ends the answer now, and drops what is unsent. */
  refuse(status: CallStatus): void {
    if (!this.hasBegun) return this.end(status);
    this.forgetSent();
    const isBetweenMessages = this.lengthsSum === this.stream.unsentBytes;
    if (isBetweenMessages) this.stream.endInstead(trailersOf(status));
    else this.stream.reset(errorCode.enhanceYourCalm);
    this.close();
  }

  /** The stream is over. */
  close(): void {
    this.isEnded = true;
    this.goOn();
  }

  private mustWrite(messages: readonly Bytes[]): void {
    this.begin();
    if (!this.write(messages)) throw tooMuchHeld();
  }

  private write(messages: readonly Bytes[]): boolean {
    if (!this.stream.write(...framed(messages))) return false;
    for (const message of messages) {
      const { length } = message;
      const sentBytes = message instanceof PrefixedMessages ? length : length + prefixBytes;
      this.lengths.push(sentBytes);
      this.lengthsSum += sentBytes;
      this.sentBytes += sentBytes;
    }
    this.forgetSent();
    return true;
  }

  private forgetSent(): void {
    const { lengths } = this;
    const { unsentBytes } = this.stream;
    if (unsentBytes === 0) {
      lengths.length = this.lengthsSum = 0;
      return;
    }
    let count = 0;
    for (let sum = this.lengthsSum; count < lengths.length; count++) {
      sum -= lengths[count] as number;
      if (sum < unsentBytes) break;
      this.lengthsSum = sum;
    }
    if (count > 0) lengths.splice(0, count);
  }

  private get hasRoom(): boolean {
    const { unsentBytes, isBlocked } = this.stream;
    if (unsentBytes === 0) return !isBlocked;
    return unsentBytes < schedulingPolicy.callUnsentBytesMax && !this.memory.isLarge;
  }

  private goOn(): void {
    this.wake?.();
    this.wake = this.waiting = undefined;
  }
}

/** Answers with a status alone. */
export function statusOnly(status: CallStatus, more: [string, string][] = []): HeaderBlock {
  return encodeHeaders([...plain, ...statusFields(status), ...more]);
}

function trailersOf(status: CallStatus): HeaderBlock {
  return encodeHeaders(statusFields(status));
}

/** Small messages become one piece: what is written piece by piece costs more than a copy. */
function framed(messages: readonly Bytes[]): readonly Uint8Array[] {
  let bytes = 0;
  for (const message of messages) {
    const isSmall = message instanceof Uint8Array && message.length <= smallBytesMax;
    if (!isSmall) return messages.flatMap(framedAlone);
    bytes += prefixBytes + message.length;
  }
  const piece = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const message of messages as readonly Uint8Array[]) {
    at = writePrefix(piece, at, message.length);
    piece.set(message, at);
    at += message.length;
  }
  return [piece];
}

function framedAlone(message: Bytes): readonly Uint8Array[] {
  if (message instanceof PrefixedMessages) return [message.bytes];
  const prefix = Buffer.allocUnsafe(prefixBytes);
  writePrefix(prefix, 0, message.length);
  return message instanceof MessageParts ? [prefix, ...message.parts] : [prefix, message];
}

function writePrefix(into: Buffer, at: number, length: number): number {
  into[at] = 0;
  return into.writeUInt32BE(length, at + 1);
}
