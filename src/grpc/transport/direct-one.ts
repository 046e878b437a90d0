// A unary or server-streaming call, straight on its HTTP/2 stream: one request message.

import type { ServerHttp2Stream } from "node:http2";
import {
  DirectCall,
  endsWithin,
  lengthOf,
  prefixBytes,
  tooManyUnfinished,
  type RequestBounds,
} from "./direct.ts";
import { StatusCode, StatusError } from "./status.ts";

/** Takes up a call whose request is complete. Must not throw. */
export type TakeOne = (request: Buffer, call: DirectCall) => void;

const nothing = Buffer.alloc(0);

export class DirectOne extends DirectCall {
  private readonly run: TakeOne;
  private readonly bounds: RequestBounds;
  private parts: Buffer[] = [];
  private bytes = 0;
  /** Of the parts that are held. */
  private heldBytes = 0;
  /** Of the request with its prefix; 0: not known yet. */
  private bytesAwaited = 0;

  constructor(
    stream: ServerHttp2Stream,
    run: TakeOne,
    timeoutMs: number | undefined,
    bounds: RequestBounds,
  ) {
    super(stream, timeoutMs);
    this.run = run;
    this.bounds = bounds;
  }

  arrived(bytes: Buffer): void {
    if (this.ended) return;
    const { unfinished, receiveBytesMax } = this.bounds;
    const hasRoom = unfinished.grow(this.heldBytes, bytes.length);
    this.heldBytes += bytes.length;
    if (!hasRoom) return this.refuse(tooManyUnfinished());
    this.parts.push(bytes);
    this.bytes += bytes.length;
    if (this.bytesAwaited === 0 && this.bytes >= prefixBytes) {
      const prefix = this.parts.length === 1 ? bytes : Buffer.concat(this.parts);
      const length = lengthOf(prefix, 0, receiveBytesMax);
      if (length instanceof StatusError) return this.refuse(length);
      this.bytesAwaited = prefixBytes + length;
    }
    if (this.bytesAwaited > 0 && this.bytes > this.bytesAwaited) {
      this.refuse(new StatusError(StatusCode.UNIMPLEMENTED, "more than one request message"));
    }
  }

  complete(): void {
    if (this.ended) return;
    if (this.bytes === 0) {
      return this.refuse(new StatusError(StatusCode.UNIMPLEMENTED, "no request message"));
    }
    if (this.bytes !== this.bytesAwaited) return this.refuse(endsWithin());
    const bytes = this.parts.length === 1 ? this.parts[0] : Buffer.concat(this.parts);
    this.letGo();
    this.run((bytes ?? nothing).subarray(prefixBytes), this);
  }

  protected letGo(): void {
    this.parts = [];
    this.bounds.unfinished.letGo(this.heldBytes);
    this.heldBytes = 0;
  }
}
