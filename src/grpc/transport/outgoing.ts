// The outgoing messages of a call, in the format of its protocol, and the status after them. While
// all calls together have much unsent, a call waits until it has nothing unsent itself. It never
// waits for others.

import { createHash } from "node:crypto";
import { AnnalsError } from "../../domain/errors.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { errorCode } from "../../http2/protocol.ts";
import type { ClientMemory } from "../../log/scheduling/client-memory.ts";
import { schedulingPolicy } from "../../log/scheduling/policy.ts";
import { inSteps } from "../../log/scheduling/scheduler.ts";
import type { AnswerFormat, Framable } from "./call-format.ts";
import { tooMuchHeld, type Call, type CallEnvironment } from "./call-environment.ts";
import {
  framedBytes,
  RepeatableMessage,
  type Message,
  type MessageSource,
  type PrefixedMessages,
} from "./message-parts.ts";
import type { Bytes } from "./methods.ts";
import type { CallStatus } from "./status.ts";

interface Unsent {
  /** As it goes out, with what frames it. */
  readonly bytes: number;
  /** What it is made of again, or itself where it is small. Undefined: it must be kept. */
  readonly remade: MessageSource | Message | PrefixedMessages | undefined;
  /** It is no message, and goes out as it is. */
  readonly isSaid?: boolean;
}

/** Beside messages that can be made again, such as one that says how far a subscription is. */
const keptBytesMax = 4 * 1024;
/** What a long form is expected to hold while it is made, for each byte of its message. */
const formGrowth = 1.5;
/** In seconds. */
const untakenCountMax = 64;
/** What is offered is given to many in one turn: a longer one is not made then. */
const offeredBytesMax = 32 * 1024;

export class Outgoing {
  /** Of all answers, with what frames them. */
  sentBytes = 0;
  private readonly stream: Http2Stream;
  private readonly memory: ClientMemory;
  private readonly environment: Pick<CallEnvironment, "longMessages">;
  private readonly format: AnswerFormat;
  /** The last messages, at least all that are not completely sent, and their bytes together. */
  private readonly unsent: Unsent[] = [];
  private unsentSum = 0;
  private hasBegun = false;
  private isEnded = false;
  private waiting: Promise<void> | undefined;
  private wake: (() => void) | undefined;
  /** What was unsent when it was dropped, as the client did not take it. */
  private droppedBytes = 0;
  private dropped: Buffer | undefined;
  private isBringingBack = false;
  private readonly call: Call;
  private readonly onLost: (error: unknown) => void;
  /** How often nothing was taken, and how often it may be until what is unsent is dropped. */
  private untakenCount = 0;
  private untakenMax = 1;

  /** `onLost`: the answer cannot go on. */
  constructor(
    stream: Http2Stream,
    environment: Pick<CallEnvironment, "memory" | "longMessages">,
    format: AnswerFormat,
    call: Call,
    onLost: (error: unknown) => void,
  ) {
    this.call = call;
    this.stream = stream;
    this.memory = environment.memory;
    this.environment = environment;
    this.format = format;
    this.onLost = onLost;
  }

  get unsentBytes(): number {
    return this.droppedBytes + this.stream.unsentBytes;
  }

  /** Sends the headers of the answer. */
  begin(): void {
    if (this.hasBegun) return;
    this.hasBegun = true;
    const { stream, format } = this;
    format.begin(stream);
    if (format.opening === undefined || !stream.write(format.opening)) return;
    const { length: bytes } = format.opening;
    if (stream.unsentBytes > 0) this.kept({ bytes, remade: format.opening, isSaid: true });
  }

  /**
   * Makes what takes long of messages that are to be sent, in steps. Undefined: nothing does.
   * Throws OVERLOADED if the budget has no room, and why the call has ended meanwhile.
   */
  ready(messages: readonly Bytes[]): Promise<void> | undefined {
    const { format } = this;
    if (format.longForm === undefined) return undefined;
    const long = messages.map(present).filter((each) => format.longForm?.(each) !== undefined);
    return long.length === 0 ? undefined : this.makeForms(long);
  }

  private async makeForms(messages: readonly Framable[]): Promise<void> {
    const { stream, call, format, environment } = this;
    let drawn = 0;
    const draw = (bytes: number): void => {
      if (!stream.take(bytes)) throw tooMuchHeld();
      drawn += bytes;
    };
    draw(messages.reduce((sum, { length }) => sum + length, 0));
    try {
      await environment.longMessages.make(call, async () => {
        for (const message of messages) {
          const steps = format.longForm?.(message);
          if (steps === undefined) continue;
          const expected = Math.ceil(message.length * formGrowth);
          draw(expected);
          const { length } = await inSteps(call, steps);
          draw(Math.max(0, length - expected));
        }
      });
    } finally {
      stream.release(drawn);
    }
  }

  /** Sends the answers that a handler yields, as fast as the client takes them. */
  async sendEach(answers: AsyncIterable<unknown>, encode: (said: unknown) => Bytes): Promise<void> {
    const { call } = this;
    // The handler must not read ahead for a client that does not read.
    const first = this.room();
    if (first !== undefined) await first;
    for await (const said of answers) {
      const messages = Array.isArray(said) ? said.map((each) => encode(each)) : [encode(said)];
      const ready = this.ready(messages);
      if (ready !== undefined) await ready;
      if (call.aborted) break;
      this.send(messages);
      const room = this.room();
      if (room !== undefined) await room;
      if (call.aborted) break;
    }
    if (call.reason !== undefined) throw call.reason;
  }

  /** Sends messages together. Throws OVERLOADED if the budget has no room. */
  send(messages: readonly Bytes[]): void {
    if (this.isEnded) return;
    this.begin();
    if (!this.write(messages)) throw tooMuchHeld();
  }

  /** Sends a message if the client takes it now, and the budget has room. */
  offer(message: PrefixedMessages): boolean {
    const isDropped = this.droppedBytes > 0;
    if (this.isEnded || isDropped || this.memory.isLarge || !this.hasRoom) return false;
    const isLong = message.length > offeredBytesMax;
    if (isLong && this.format.longForm?.(message) !== undefined) return false;
    this.begin();
    return this.write([message]);
  }

  /** Resolves when the client takes more of the answer. Undefined: it does so now. */
  room(): Promise<void> | undefined {
    if (this.isEnded) return undefined;
    if (this.hasRoom) return this.memory.room(this.stream.connection, this.call);
    if (this.stream.unsentBytes === 0) this.stream.awaitWindow();
    this.waiting ??= new Promise((resolve) => {
      this.wake = resolve;
    });
    return this.waiting;
  }

  /** The connection has taken some of the answer, or a window has opened. */
  sent(): void {
    if (this.droppedBytes > 0) {
      if (this.stream.isBlocked) this.stream.awaitWindow();
      else void this.bringBack();
      return;
    }
    this.forgetSent();
    this.untakenCount = 0;
    if (this.wake === undefined) return;
    if (this.hasRoom) this.goOn();
    else if (this.stream.unsentBytes === 0) this.stream.awaitWindow();
  }

  /** Ends the answer: with OK after the last message, if there is one, or with another status. */
  end(status: CallStatus | undefined, answer?: Bytes): void {
    if (this.isEnded) return;
    if (answer !== undefined) this.send([answer]);
    if (this.droppedBytes > 0 && status !== undefined) return this.endDropped(status);
    this.isEnded = true;
    this.format.end(this.stream, status, this.hasBegun);
    if (this.wake !== undefined) this.goOn();
  }

  /** Ends the answer now, and drops what is unsent. */
  refuse(status: CallStatus): void {
    if (!this.hasBegun) return this.end(status);
    if (this.droppedBytes > 0) return this.endDropped(status);
    this.forgetSent();
    this.endNow(status, this.unsentSum === this.stream.unsentBytes);
  }

  /**
   * Lets go of what the client does not take, if all of it can be made again. Each time it takes
   * twice as long until then, or a client that takes a byte now and then would have much read.
   */
  untaken(): void {
    this.forgetSent();
    const { unsent, wake, isEnded, droppedBytes } = this;
    if (wake === undefined || isEnded || droppedBytes > 0 || unsent.length === 0) return;
    if (++this.untakenCount < this.untakenMax) return;
    if (unsent.some(({ remade }) => remade === undefined)) return;
    this.untakenCount = 0;
    this.untakenMax = Math.min(2 * this.untakenMax, untakenCountMax);
    const parts = this.stream.takeBack();
    this.dropped = digestOf(parts);
    this.droppedBytes = bytesOf(parts);
    for (const { remade } of unsent) if (remade !== undefined && "again" in remade) remade.rest();
    this.stream.awaitWindow();
  }

  /** Makes what was dropped again, and sends what the client does not have of it. Never rejects. */
  private async bringBack(): Promise<void> {
    if (this.isBringingBack || this.isEnded) return;
    this.isBringingBack = true;
    try {
      // Windows of many calls may open at once.
      await this.memory.room(this.stream.connection, this.call);
      if (this.isEnded) return;
      const parts: Uint8Array[] = [];
      for (const { remade, isSaid } of this.unsent) {
        const message = remade !== undefined && "again" in remade ? await remade.again() : remade;
        if (this.isEnded) return;
        if (message === undefined) continue;
        if (isSaid !== true) await this.ready([message]);
        if (this.isEnded) return;
        if (isSaid === true) parts.push(message as Buffer);
        else parts.push(...(this.format.said?.(message) ?? []));
      }
      const left = behind(parts, this.unsentSum - this.droppedBytes);
      if (this.dropped?.equals(digestOf(left)) !== true) throw removedMeanwhile();
      if (!this.stream.write(...left)) throw tooMuchHeld();
      this.droppedBytes = 0;
      this.sent();
    } catch (error) {
      this.onLost(error);
    } finally {
      this.isBringingBack = false;
    }
  }

  /** A message of which a part was sent cannot be completed any more. */
  private endDropped(status: CallStatus): void {
    const isBetweenMessages = this.droppedBytes === this.unsentSum;
    this.droppedBytes = 0;
    this.endNow(status, isBetweenMessages);
  }

  private endNow(status: CallStatus, isBetweenMessages: boolean): void {
    if (isBetweenMessages) this.stream.takeBack();
    const isFree = isBetweenMessages && this.stream.unsentBytes === 0;
    if (isFree) this.format.endInstead(this.stream, status);
    else this.stream.reset(errorCode.enhanceYourCalm);
    this.close();
  }

  /** The stream is over. */
  close(): void {
    this.isEnded = true;
    this.goOn();
  }

  private write(messages: readonly Bytes[]): boolean {
    const framables = messages.map(taken);
    if (!this.format.send(this.stream, framables)) return false;
    const isAllSent = this.stream.unsentBytes === 0;
    for (const [i, message] of messages.entries()) {
      this.sentBytes += framedBytes(message);
      const said = isAllSent ? undefined : this.format.said?.(framables[i] as Framable);
      if (said !== undefined) this.kept({ bytes: bytesOf(said), remade: remadeOf(message) });
    }
    if (this.unsent.length > 0) this.forgetSent();
    return true;
  }

  private kept(unsent: Unsent): void {
    this.unsent.push(unsent);
    this.unsentSum += unsent.bytes;
  }

  private forgetSent(): void {
    const { unsent } = this;
    const { unsentBytes } = this.stream;
    if (unsentBytes === 0) {
      unsent.length = this.unsentSum = 0;
      return;
    }
    let count = 0;
    for (let sum = this.unsentSum; count < unsent.length; count++) {
      sum -= (unsent[count] as Unsent).bytes;
      if (sum < unsentBytes) break;
      this.unsentSum = sum;
    }
    if (count > 0) unsent.splice(0, count);
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

function remadeOf(message: Bytes): Unsent["remade"] {
  if (message instanceof RepeatableMessage) return message.source;
  if (message.length > keptBytesMax) return undefined;
  return message instanceof Uint8Array ? Buffer.from(message) : message;
}

function digestOf(parts: readonly Uint8Array[]): Buffer {
  const digest = createHash("sha256");
  for (const part of parts) digest.update(part);
  return digest.digest();
}

function bytesOf(parts: readonly Uint8Array[]): number {
  let bytes = 0;
  for (const { length } of parts) bytes += length;
  return bytes;
}

/** What is left of the parts behind so many bytes. */
function behind(parts: readonly Uint8Array[], bytes: number): Uint8Array[] {
  const left: Uint8Array[] = [];
  let from = bytes;
  for (const part of parts) {
    if (from < part.length) left.push(part.subarray(from));
    from = Math.max(0, from - part.length);
  }
  return left;
}

function removedMeanwhile(): AnnalsError {
  const message = "events that were on their way were removed while the client took nothing";
  return new AnnalsError({ reason: "READ_OVERTAKEN" }, message);
}

/** The message as it goes out for the first time. */
function taken(message: Bytes): Framable {
  return message instanceof RepeatableMessage ? message.take() : message;
}

/** The message, before it is taken. */
function present(message: Bytes): Framable {
  return message instanceof RepeatableMessage ? message.present : message;
}
