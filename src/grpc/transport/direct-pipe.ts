// A pipe, straight on its HTTP/2 stream: many request messages, taken from what arrives as they
// are, without a copy where they are whole. Beyond what may wait, the client meets HTTP/2 flow
// control.

import type { ServerHttp2Stream } from "node:http2";
import {
  DirectCall,
  endsWithin,
  lengthOf,
  prefixBytes,
  tooManyUnfinished,
  type RequestBounds,
} from "./direct.ts";
import type { Stopping } from "./call-environment.ts";
import { Incoming } from "./incoming.ts";
import { StatusError } from "./status.ts";

/** Takes up a pipe as it begins. Must not throw. */
export type TakePipe = (pipe: DirectPipe) => void;

export class DirectPipe extends DirectCall {
  private readonly bounds: RequestBounds;
  private incoming: Incoming | undefined;
  /** Of a message that has not come to its end, with its prefix. */
  private parts: Buffer[] = [];
  private bytes = 0;
  /** Of that message with its prefix; 0: not known yet. */
  private bytesAwaited = 0;
  /** Something was wrong with the request: what follows means nothing. */
  private broken = false;

  constructor(stream: ServerHttp2Stream, timeoutMs: number | undefined, bounds: RequestBounds) {
    super(stream, timeoutMs);
    this.bounds = bounds;
  }

  /** To be called once, as the pipe begins. */
  requests(signal: AbortSignal, stopping: Stopping): Incoming {
    const { stream } = this;
    this.incoming = new Incoming(signal, stopping, () => {
      if (stream.isPaused()) stream.resume();
    });
    return this.incoming;
  }

  arrived(bytes: Buffer): void {
    // What nobody wants any more is taken, so that the connection does not wait for it.
    if (this.ended || this.broken) return;
    const rest = this.parts.length === 0 ? bytes : this.joined(bytes);
    if (rest !== undefined) this.take(rest);
    if (this.incoming?.isFull === true) this.stream.pause();
  }

  complete(): void {
    if (this.broken) return;
    if (this.bytes > 0) this.break(endsWithin());
    else this.incoming?.end();
  }

  protected letGo(): void {
    this.parts = [];
    this.bounds.unfinished.letGo(this.bytes);
    this.bytes = 0;
    this.bytesAwaited = 0;
  }

  /** Behind the parts that are held; undefined: these are still no whole message. */
  private joined(bytes: Buffer): Buffer | undefined {
    if (!this.hold(bytes)) return undefined;
    if (this.bytesAwaited === 0 || this.bytes < this.bytesAwaited) return undefined;
    const joined = Buffer.concat(this.parts);
    this.letGo();
    return joined;
  }

  /** Every whole message; the rest is held. */
  private take(bytes: Buffer): void {
    const { receiveBytesMax } = this.bounds;
    let at = 0;
    while (bytes.length - at >= prefixBytes) {
      const length = lengthOf(bytes, at, receiveBytesMax);
      if (length instanceof StatusError) return void this.break(length);
      const end = at + prefixBytes + length;
      if (end > bytes.length) break;
      this.incoming?.push(bytes.subarray(at + prefixBytes, end));
      at = end;
    }
    if (at < bytes.length) this.hold(at === 0 ? bytes : bytes.subarray(at));
  }

  /** False: the pipe is broken. */
  private hold(part: Buffer): boolean {
    const { unfinished, receiveBytesMax } = this.bounds;
    const hasRoom = unfinished.grow(this.bytes, part.length);
    this.parts.push(part);
    this.bytes += part.length;
    if (!hasRoom) return this.break(tooManyUnfinished());
    if (this.bytesAwaited > 0 || this.bytes < prefixBytes) return true;
    const prefix = this.parts.length === 1 ? part : Buffer.concat(this.parts);
    const length = lengthOf(prefix, 0, receiveBytesMax);
    if (length instanceof StatusError) return this.break(length);
    this.bytesAwaited = prefixBytes + length;
    return true;
  }

  /** What came before it is dealt with first. */
  private break(why: StatusError): false {
    this.broken = true;
    this.letGo();
    this.incoming?.fail(why);
    return false;
  }
}
