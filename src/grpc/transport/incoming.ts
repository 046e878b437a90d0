// The incoming messages of a call. HTTP/2 data is split into messages, which are inflated if they
// are compressed, and kept until the handler takes them. The client may send more only while little
// waits; otherwise HTTP/2 flow control stops it.

import { grown } from "../../domain/byte-writer.ts";
import { AnnalsError } from "../../domain/errors.ts";
import type { Http2Stream } from "../../http2/api.ts";
import { tooMuchHeld, type Call, type CallEnvironment } from "./call-environment.ts";
import type { CallFormat } from "./call-format.ts";
import { prefixBytes } from "./message-parts.ts";
import { compressedUnasked, endsWithin, tooLong, unimplemented } from "./request-faults.ts";
import { chunkBytes, inflate, type Compression } from "./inflate.ts";
import { RequestDeadline, type Awaited, type RequestTimes } from "./request-deadlines.ts";

/** Read ahead of the handler, so that it need not wait for each of many small messages. */
const aheadBytesMax = 64 * 1024;
const aheadCountMax = 64;
/** About the memory that zlib needs to inflate a message. */
const inflaterBytes = 32 * 1024 + chunkBytes;
/** Of JSON, whose long messages are decoded in steps. */
const decodedAtOnceMax = 32 * 1024;
const nothing: Buffer = Buffer.alloc(0);

export interface IncomingOptions {
  /** Undefined: no message may be compressed. */
  readonly compression: Compression | undefined;
  /** The limit of one message, compressed or not. */
  readonly receiveBytesMax: number;
  /** The call has one request message, and begins at the end of the request. */
  readonly isOneRequest: boolean;
  readonly format: CallFormat;
  readonly requestTimes: RequestTimes;
}

interface Packed {
  readonly bytes: Buffer;
  readonly isCompressed: boolean;
}

/** A handler iterates over it. Each step takes all messages that wait. */
export class Incoming implements AsyncIterableIterator<readonly Buffer[]> {
  private readonly stream: Http2Stream;
  private readonly options: IncomingOptions;
  private readonly call: Call;
  private readonly environment: CallEnvironment;
  private readonly onProgress: () => void;
  /** Of the request, as it came. */
  receivedBytes = 0;
  /** The part of the next message that has arrived, with its prefix. */
  private partial = nothing;
  private partialBytes = 0;
  /** The message that is being inflated, and the messages after it. */
  private readonly packed: Packed[] = [];
  private isUnpacking = false;
  private waiting: Buffer[] = [];
  private waitingBytes = 0;
  /** Bytes drawn from the budget for all of these. */
  private heldBytes = 0;
  /** Flow-control bytes that are not yet returned to the client. */
  private owedBytes = 0;
  private messageCount = 0;
  private hasEnded = false;
  private deadline: RequestDeadline | undefined;
  private isClosed = false;
  private error: unknown;
  private wake: (() => void) | undefined;
  private unwatch: (() => void) | undefined;

  /** `onProgress`: what `single` returns or throws may have changed. */
  constructor(
    stream: Http2Stream,
    options: IncomingOptions,
    call: Call,
    environment: CallEnvironment,
    onProgress: () => void,
  ) {
    this.stream = stream;
    this.options = options;
    this.call = call;
    this.environment = environment;
    this.onProgress = onProgress;
  }

  /** Called about once a second. Fails a request that does not go on, or does not end in time. */
  tick(nowMs: number): void {
    this.deadline ??= new RequestDeadline(this.options.requestTimes);
    const overdue = this.deadline.overdue(this.awaited, nowMs);
    if (overdue !== undefined) this.fail(overdue);
  }

  /** Undefined: nothing is awaited, or the client is not to blame. */
  private get awaited(): Awaited | undefined {
    if (this.hasEnded || this.isClosed || this.error !== undefined) return undefined;
    if (this.options.isOneRequest) return { message: 0, bytes: this.receivedBytes };
    // The client is not late if flow control keeps it from sending.
    if (this.partialBytes === 0 || this.owedBytes > 0) return undefined;
    return { message: this.messageCount, bytes: this.partialBytes };
  }

  /**
   * The message of a call that has one. Undefined: the request is not complete yet. Throws the
   * fault of the request, which may be that it has another number of messages.
   */
  single(): Buffer | undefined {
    const { waiting, packed } = this;
    if (packed.length === 0 && this.error !== undefined) throw this.error as Error;
    const count = waiting.length + packed.length + (this.partialBytes > 0 ? 1 : 0);
    if (count > 1) throw unimplemented("more than one request message");
    if (!this.hasEnded || packed.length > 0) return undefined;
    if (count === 0) throw unimplemented("no request message");
    return waiting[0];
  }

  /** No message follows those that wait. */
  get isComplete(): boolean {
    return this.hasEnded && this.packed.length === 0;
  }

  /** The fault that follows the messages that wait. */
  get failure(): unknown {
    return this.packed.length === 0 ? this.error : undefined;
  }

  push(part: Buffer): void {
    this.heldBytes += part.length;
    this.receivedBytes += part.length;
    if (this.isClosed || this.error !== undefined) {
      this.release(part.length);
      return this.stream.allow(part.length);
    }
    this.owedBytes += part.length;
    try {
      if (this.options.format.wholeBytesMax === undefined) this.split(part);
      else this.collect(part, this.options.format.wholeBytesMax);
    } catch (error) {
      this.fail(error);
    }
    this.allowMore();
  }

  /** The client has ended the request. */
  complete(): void {
    if (this.options.format.wholeBytesMax !== undefined) return this.completeWhole();
    if (this.partialBytes > 0 && this.error === undefined) this.fail(endsWithin());
    this.hasEnded = true;
    this.notify();
  }

  /** All that came is one message, also if nothing did. */
  private completeWhole(): void {
    this.hasEnded = true;
    if (this.isClosed || this.error !== undefined) return this.notify();
    const bytes = this.partial.subarray(0, this.partialBytes);
    this.partial = nothing;
    this.partialBytes = 0;
    this.messageCount++;
    const isCompressed = this.options.compression !== undefined && bytes.length > 0;
    if (isCompressed || this.isLong(bytes)) {
      this.packed.push({ bytes, isCompressed });
      return void this.unpack();
    }
    try {
      this.add(bytes);
    } catch (error) {
      this.fail(error);
    }
  }

  /** Messages that arrived before the fault are handled first. Later data is ignored. */
  fail(error: unknown): void {
    this.error ??= error;
    this.release(this.partial.length);
    this.partial = nothing;
    this.partialBytes = 0;
    this.notify();
  }

  /** The call is over. Everything that waits is dropped. */
  close(): void {
    this.release(this.heldBytes);
    this.isClosed = true;
    this.partial = nothing;
    this.waiting = [];
    this.packed.length = 0;
    this.unwatch?.();
    this.wake?.();
    this.wake = undefined;
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  /**
   * Throws the request's fault, the reason of the call's early end, or STOPPING if the server stops
   * before the client has ended the request.
   */
  async next(): Promise<IteratorResult<readonly Buffer[], undefined>> {
    for (;;) {
      if (this.call.reason !== undefined) throw this.call.reason;
      if (this.environment.stopping.begun && !this.isComplete) {
        const message = "the server is stopping; what was answered before holds";
        throw new AnnalsError({ reason: "STOPPING" }, message);
      }
      if (this.waiting.length > 0) return { done: false, value: this.take() };
      if (this.failure !== undefined) throw this.failure as Error;
      if (this.isComplete || this.isClosed) return { done: true, value: undefined };
      this.unwatch ??= this.watch();
      await new Promise<void>((resolve) => {
        this.wake = resolve;
      });
    }
  }

  /** The handler stops reading. */
  return(): Promise<IteratorResult<readonly Buffer[], undefined>> {
    this.close();
    return Promise.resolve({ done: true, value: undefined });
  }

  private take(): readonly Buffer[] {
    const { waiting } = this;
    this.waiting = [];
    this.release(this.waitingBytes);
    this.waitingBytes = 0;
    this.allowMore();
    void this.unpack();
    return waiting;
  }

  private watch(): () => void {
    const listener = { handleEvent: this.notify };
    this.call.addEventListener("abort", listener);
    const unwatch = this.environment.stopping.watch(this.notify);
    return () => {
      unwatch();
      this.call.removeEventListener("abort", listener);
    };
  }

  private readonly notify = (): void => {
    this.wake?.();
    this.wake = undefined;
    this.onProgress();
  };

  private get isFull(): boolean {
    return this.waitingBytes >= aheadBytesMax || this.waiting.length >= aheadCountMax;
  }

  private allowMore(): void {
    if (this.packed.length > 0 || this.isFull) return;
    this.stream.allow(this.owedBytes);
    this.owedBytes = 0;
  }

  private collect(part: Buffer, bytesMax: number): void {
    const bytes = this.partialBytes + part.length;
    if (bytes > bytesMax) throw tooLong(bytes, bytesMax);
    this.append(part, 0, part.length, Math.max(bytes, Math.min(bytesMax, 2 * this.partialBytes)));
  }

  /** Accepts every complete message. Keeps the part of an incomplete one. */
  private split(part: Buffer): void {
    for (let at = 0; at < part.length;) {
      const rest = part.length - at;
      const isWhole = this.partialBytes === 0 && rest >= prefixBytes;
      const end = isWhole ? at + prefixBytes + this.lengthAt(part, at) : Infinity;
      if (end > part.length) {
        at = this.extend(part, at);
      } else {
        this.accept({ bytes: part.subarray(at + prefixBytes, end), isCompressed: part[at] === 1 });
        at = end;
      }
    }
  }

  /** Returns where the data of the message ends. */
  private extend(part: Buffer, from: number): number {
    const hasPrefix = this.partialBytes >= prefixBytes;
    const wanted = prefixBytes + (hasPrefix ? this.lengthAt(this.partial, 0) : 0);
    const to = Math.min(part.length, from + wanted - this.partialBytes);
    const bytes = this.partialBytes + to - from;
    // The buffer grows as data arrives: a client may never send the length that it announced.
    const size = Math.min(wanted, Math.max(bytes, 2 * this.partial.length));
    this.append(part, from, to, size);
    if (bytes < prefixBytes || bytes < prefixBytes + this.lengthAt(this.partial, 0)) return to;
    const whole = this.partial;
    this.partial = nothing;
    this.partialBytes = 0;
    this.accept({ bytes: whole.subarray(prefixBytes, bytes), isCompressed: whole[0] === 1 });
    return to;
  }

  /** Adds a part to what is there of a message, in a buffer of this size if it has to grow. */
  private append(part: Buffer, from: number, to: number, size: number): void {
    const bytes = this.partialBytes + to - from;
    if (this.partial.length < bytes) {
      this.draw(size - this.partial.length);
      this.partial = grown(this.partial, size);
    }
    part.copy(this.partial, this.partialBytes, from, to);
    this.release(to - from);
    this.partialBytes = bytes;
  }

  private lengthAt(bytes: Buffer, at: number): number {
    const { compression, receiveBytesMax } = this.options;
    if ((bytes[at] as number) > (compression === undefined ? 0 : 1)) {
      throw compressedUnasked();
    }
    const length = bytes.readUInt32BE(at + 1);
    if (length > receiveBytesMax) throw tooLong(length, receiveBytesMax);
    return length;
  }

  private accept({ bytes, isCompressed }: Packed): void {
    this.release(prefixBytes);
    this.messageCount++;
    // A small message that waits must not keep all that was read with it.
    const isMostOfIt = bytes.length * 2 >= bytes.buffer.byteLength;
    const message = isMostOfIt ? bytes : Buffer.from(bytes);
    if (!isCompressed && this.packed.length === 0 && !this.isLong(message))
      return this.add(message);
    this.packed.push({ bytes: message, isCompressed });
    void this.unpack();
  }

  private isLong({ length }: Buffer): boolean {
    return length > decodedAtOnceMax && this.options.format.decodeInSteps !== undefined;
  }

  private async decoded(came: Buffer): Promise<Buffer> {
    const { decode, decodeInSteps } = this.options.format;
    if (!decodeInSteps || !this.isLong(came)) return decode?.(came) ?? came;
    return this.environment.longMessages.make(this.call, async () => {
      this.draw(came.length);
      const message = await this.call.inSteps(decodeInSteps(came));
      this.release(came.length);
      return message;
    });
  }

  private add(came: Buffer, message = this.options.format.decode?.(came) ?? came): void {
    if (message.length > came.length) this.draw(message.length - came.length);
    this.waiting.push(message);
    this.waitingBytes += message.length;
    this.notify();
  }

  /** Inflates the compressed messages in order, while little waits. Never rejects. */
  private async unpack(): Promise<void> {
    if (this.isUnpacking) return;
    this.isUnpacking = true;
    try {
      for (let next; (next = this.packed[0]) !== undefined && !this.isFull;) {
        const message = next.isCompressed ? await this.inflated(next.bytes) : next.bytes;
        const decoded = this.isClosed ? message : await this.decoded(message);
        if (this.isClosed) return;
        this.packed.shift();
        this.add(message, decoded);
      }
    } catch (error) {
      this.packed.length = 0;
      if (!this.isClosed) this.fail(error);
    } finally {
      this.isUnpacking = false;
    }
    this.allowMore();
    this.notify();
  }

  private async inflated(bytes: Buffer): Promise<Buffer> {
    const { compression = "gzip", receiveBytesMax } = this.options;
    let length = 0;
    const onChunk = (more: number): void => {
      length += more;
      if (length > receiveBytesMax) throw tooLong(length, receiveBytesMax);
      this.draw(more);
    };
    return this.environment.inflations.make(this.call, async () => {
      this.draw(inflaterBytes);
      const message = await inflate(bytes, compression, onChunk);
      this.release(inflaterBytes + bytes.length);
      return message;
    });
  }

  private draw(bytes: number): void {
    if (this.isClosed || !this.stream.take(bytes)) throw tooMuchHeld();
    this.heldBytes += bytes;
  }

  private release(bytes: number): void {
    const released = this.isClosed ? this.heldBytes : bytes;
    this.heldBytes -= released;
    this.stream.release(released);
  }
}
