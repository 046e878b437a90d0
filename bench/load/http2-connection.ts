// An HTTP/2 client connection for gRPC over a plain socket. It writes the frames of a turn into one
// buffer, reads from one buffer without copies, and passes messages on in parts. It is several
// times cheaper than a full client, so that a load process can keep a server busy from the same two
// cores. Source: RFC 9113.

import { connect, type Socket } from "node:net";
import { frameHeaderBytes, FrameWriter, lengthAt } from "./frame-writer.ts";
import { HeaderDecoder, RequestHeaders, type Headers } from "./hpack.ts";

const frameBytesMax = 16_384;
const readBufferBytes = 256 * 1024;
const defaultWindowBytes = 65_535;

const typeData = 0;
const typeHeaders = 1;
const typeReset = 3;
const typeSettings = 4;
const typePing = 6;
const typeGoaway = 7;
const typeWindowUpdate = 8;
const typeContinuation = 9;
const flagAck = 1;
const flagEndStream = 1;
const flagEndHeaders = 4;
const flagPadded = 8;
const flagPriority = 0x20;
const settingInitialWindow = 4;
const settingFrameBytesMax = 5;
const resetCancel = 8;

const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/** Receives what arrives on a stream. Called during the parse, so it must not wait. */
export interface Receiver {
  /** Bytes of gRPC messages with their prefixes, split anywhere. Valid only during the call. */
  received(bytes: Buffer, start: number, end: number): void;
  /**
   * The call has ended. `status` is gRPC's. If the connection or the stream was lost, it is 14 and
   * there are no trailers.
   */
  ended(status: number, message: string, trailers?: Headers): void;
}

interface Stream {
  readonly receiver: Receiver;
  sendWindow: number;
  unacknowledged: number;
  /** Of an answer that is no gRPC, and so has no trailers. */
  httpStatus?: string | undefined;
}

interface Pending {
  readonly id: number;
  readonly bytes: Buffer;
  offset: number;
  readonly end: boolean;
}

export class Http2Connection {
  private readonly socket: Socket;
  private readonly windowBytes: number;
  private readonly requestHeaders: RequestHeaders;
  private readonly headerDecoder = new HeaderDecoder();
  private readonly streams = new Map<number, Stream>();
  private readonly pending: Pending[] = [];
  private readonly output: FrameWriter;
  private parsing = false;
  private nextId = 1;
  private sendWindow = defaultWindowBytes;
  private streamSendWindow = defaultWindowBytes;
  private peerFrameBytesMax = frameBytesMax;
  private unacknowledged = 0;
  private failure: string | undefined;
  // The frame being read.
  private readonly partial = Buffer.allocUnsafe(frameHeaderBytes + frameBytesMax);
  private partialUsed = 0;
  private dataLeft = 0;
  private dataStream: Stream | undefined;
  private dataId = 0;
  private dataEnds = false;
  private headerBlock: Buffer[] = [];
  private headerEnds = false;

  /** `windowBytes` is how much the server may send ahead, on a stream and on the connection. */
  static open(
    host: string,
    port: number,
    windowBytes: number,
    authorization?: string,
    contentType?: string,
  ): Promise<Http2Connection> {
    return new Promise((resolve, reject) => {
      const buffer = Buffer.allocUnsafe(readBufferBytes);
      let connection: Http2Connection | undefined;
      const socket = connect({
        host,
        port,
        noDelay: true,
        onread: {
          buffer,
          callback: (count) => {
            connection?.read(buffer, count);
            return true;
          },
        },
      });
      socket.once("error", reject);
      socket.once("connect", () => {
        socket.off("error", reject);
        const headers = new RequestHeaders(`${host}:${port}`, authorization, contentType);
        connection = new Http2Connection(socket, headers, windowBytes);
        resolve(connection);
      });
    });
  }

  private constructor(socket: Socket, headers: RequestHeaders, windowBytes: number) {
    this.socket = socket;
    this.output = new FrameWriter(socket);
    this.windowBytes = windowBytes;
    this.requestHeaders = headers;
    socket.on("error", (error) => this.fail(error.message));
    socket.on("close", () => this.fail("connection closed"));
    this.output.text(preface);
    this.output.frame(12, typeSettings, 0, 0);
    this.output.uint16(2); // ENABLE_PUSH
    this.output.uint32(0);
    this.output.uint16(settingInitialWindow);
    this.output.uint32(windowBytes);
    if (windowBytes > defaultWindowBytes) this.windowUpdate(0, windowBytes - defaultWindowBytes);
    this.flush();
  }

  /** Open calls. */
  get callCount(): number {
    return this.streams.size;
  }

  /** Begins a call with its first message (with gRPC prefix) and returns its stream. */
  call(path: string, message: Buffer, end: boolean, receiver: Receiver): number {
    const id = this.nextId;
    this.nextId += 2;
    if (this.failure !== undefined) {
      receiver.ended(14, this.failure);
      return id;
    }
    this.streams.set(id, { receiver, sendWindow: this.streamSendWindow, unacknowledged: 0 });
    const block = this.requestHeaders.block(path);
    this.output.frame(block.length, typeHeaders, flagEndHeaders, id);
    this.output.bytes(block);
    this.send(id, message, end);
    return id;
  }

  /** Sends another message of a call. It is held back while the server's windows are closed. */
  send(id: number, message: Buffer, end: boolean): void {
    const pending = { id, bytes: message, offset: 0, end };
    if (this.pending.length > 0 || !this.sendNow(pending)) {
      // The caller may reuse its buffer after this returns.
      this.pending.push({
        ...pending,
        bytes: Buffer.from(message.subarray(pending.offset)),
        offset: 0,
      });
    }
  }

  cancel(id: number): void {
    if (!this.streams.delete(id)) return;
    this.output.frame(4, typeReset, 0, id);
    this.output.uint32(resetCancel);
  }

  /**
   * Passes everything written so far to the socket. Happens by itself when something was received.
   */
  flush(): void {
    if (!this.parsing) this.output.flush();
  }

  close(): void {
    this.streams.clear();
    this.failure ??= "closed";
    this.socket.destroy();
  }

  /** Reads nothing until `resume`, as a client that pauses does. */
  pause(): void {
    this.socket.pause();
  }

  resume(): void {
    this.socket.resume();
  }

  /** Ends the connection. Every open call ends with status 14. */
  fail(message: string): void {
    if (this.failure !== undefined) return;
    this.failure = message;
    for (const [id, { receiver }] of this.streams) {
      this.streams.delete(id);
      receiver.ended(14, message);
    }
    this.socket.destroy();
  }

  /** False if a window closed before all bytes were sent. */
  private sendNow(pending: Pending): boolean {
    const stream = this.streams.get(pending.id);
    if (!stream) return true;
    const { bytes } = pending;
    for (;;) {
      const left = bytes.length - pending.offset;
      const open = Math.min(this.sendWindow, stream.sendWindow, this.peerFrameBytesMax);
      const count = Math.min(left, open);
      if (count <= 0 && left > 0) return false;
      const last = count === left;
      this.output.frame(count, typeData, last && pending.end ? flagEndStream : 0, pending.id);
      this.output.bytes(bytes, pending.offset, pending.offset + count);
      pending.offset += count;
      this.sendWindow -= count;
      stream.sendWindow -= count;
      if (last) return true;
    }
  }

  private sendPending(): void {
    for (let next = this.pending[0]; next && this.sendNow(next); next = this.pending[0]) {
      this.pending.shift();
    }
  }

  private windowUpdate(id: number, increment: number): void {
    this.output.frame(4, typeWindowUpdate, 0, id);
    this.output.uint32(increment);
  }

  private read(buffer: Buffer, end: number): void {
    this.parsing = true;
    try {
      let offset = 0;
      while (offset < end) {
        offset =
          this.dataLeft > 0
            ? this.readData(buffer, offset, end)
            : this.readFrame(buffer, offset, end);
      }
    } catch (error) {
      this.fail((error as Error).message);
    }
    this.parsing = false;
    this.flush();
  }

  private readData(buffer: Buffer, offset: number, end: number): number {
    const stop = Math.min(end, offset + this.dataLeft);
    this.dataLeft -= stop - offset;
    this.dataStream?.receiver.received(buffer, offset, stop);
    if (this.dataLeft === 0 && this.dataEnds) this.end(this.dataId, undefined);
    return stop;
  }

  /** Reads one whole frame, or as much of it as has arrived; of a data frame only the header. */
  private readFrame(buffer: Buffer, offset: number, end: number): number {
    if (this.partialUsed === 0 && end - offset >= frameHeaderBytes) {
      const length = lengthAt(buffer, offset);
      if (buffer[offset + 3] === typeData) return this.beginData(buffer, offset);
      const next = offset + frameHeaderBytes + length;
      if (next <= end) {
        this.handle(buffer.subarray(offset, next));
        return next;
      }
    }
    const { partial } = this;
    const isHeader = this.partialUsed < frameHeaderBytes;
    const wanted = isHeader ? frameHeaderBytes : frameHeaderBytes + lengthAt(partial, 0);
    const stop = Math.min(end, offset + wanted - this.partialUsed);
    this.partialUsed += buffer.copy(partial, this.partialUsed, offset, stop);
    if (this.partialUsed < wanted) return stop;
    if (isHeader && partial[3] === typeData) {
      this.beginData(partial, 0);
      this.partialUsed = 0;
    } else if (!isHeader || lengthAt(partial, 0) === 0) {
      this.partialUsed = 0;
      this.handle(Buffer.from(partial.subarray(0, wanted)));
    }
    return stop;
  }

  /** Reads the header of a data frame and returns the offset of its payload. */
  private beginData(header: Buffer, offset: number): number {
    const length = lengthAt(header, offset);
    const flags = header[offset + 4] ?? 0;
    if ((flags & flagPadded) !== 0) throw new Error("http2: padding is not understood");
    const id = header.readUInt32BE(offset + 5) & 0x7fffffff;
    const stream = this.streams.get(id);
    this.dataId = id;
    this.dataStream = stream;
    this.dataLeft = length;
    this.dataEnds = (flags & flagEndStream) !== 0;
    this.unacknowledged += length;
    if (this.unacknowledged >= this.windowBytes / 2) {
      this.windowUpdate(0, this.unacknowledged);
      this.unacknowledged = 0;
    }
    if (stream && !this.dataEnds) {
      stream.unacknowledged += length;
      if (stream.unacknowledged >= this.windowBytes / 2) {
        this.windowUpdate(id, stream.unacknowledged);
        stream.unacknowledged = 0;
      }
    }
    if (length === 0 && this.dataEnds) this.end(id, undefined);
    return offset + frameHeaderBytes;
  }

  private handle(frame: Buffer): void {
    const type = frame[3];
    const flags = frame[4] ?? 0;
    const id = frame.readUInt32BE(5) & 0x7fffffff;
    const payload = frame.subarray(frameHeaderBytes);
    if (type === typeHeaders) {
      const skipped = (flags & flagPriority) === 0 ? 0 : 5;
      if ((flags & flagPadded) !== 0) throw new Error("http2: padding is not understood");
      this.headerEnds = (flags & flagEndStream) !== 0;
      this.headers(id, payload.subarray(skipped), flags);
    } else if (type === typeContinuation) {
      this.headers(id, payload, flags);
    } else if (type === typeWindowUpdate) {
      this.windowOpened(id, payload.readUInt32BE(0) & 0x7fffffff);
    } else if (type === typeSettings) {
      if ((flags & flagAck) === 0) this.settings(payload);
    } else if (type === typePing) {
      if ((flags & flagAck) !== 0) return;
      this.output.frame(8, typePing, flagAck, 0);
      this.output.bytes(payload);
    } else if (type === typeReset) {
      this.lost(id, `stream reset, code ${payload.readUInt32BE(0)}`);
    } else if (type === typeGoaway) {
      this.fail(`goaway, code ${payload.readUInt32BE(4)} ${payload.toString("latin1", 8)}`);
    }
  }

  private headers(id: number, block: Buffer, flags: number): void {
    if ((flags & flagEndHeaders) === 0 || this.headerBlock.length > 0) {
      this.headerBlock.push(Buffer.from(block));
      if ((flags & flagEndHeaders) === 0) return;
      block = Buffer.concat(this.headerBlock);
      this.headerBlock = [];
    }
    const headers = this.headerDecoder.decode(block);
    const stream = this.streams.get(id);
    if (this.headerEnds) this.end(id, headers);
    else if (stream && !this.requestHeaders.isGrpc) stream.httpStatus = headers.get(":status");
  }

  private end(id: number, trailers: Headers | undefined): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    this.streams.delete(id);
    const http = trailers?.get(":status") ?? stream.httpStatus;
    const status = stream.httpStatus === "200" ? "0" : trailers?.get("grpc-status");
    const message = trailers?.get("grpc-message") ?? `no status, http ${http}`;
    stream.receiver.ended(status === undefined ? 2 : Number(status), message, trailers);
  }

  private lost(id: number, message: string): void {
    const stream = this.streams.get(id);
    if (!stream) return;
    this.streams.delete(id);
    stream.receiver.ended(14, message);
  }

  private windowOpened(id: number, increment: number): void {
    if (id === 0) this.sendWindow += increment;
    else {
      const stream = this.streams.get(id);
      if (stream) stream.sendWindow += increment;
    }
    this.sendPending();
  }

  private settings(payload: Buffer): void {
    for (let at = 0; at + 6 <= payload.length; at += 6) {
      const setting = payload.readUInt16BE(at);
      const value = payload.readUInt32BE(at + 2);
      if (setting === settingInitialWindow) {
        const difference = value - this.streamSendWindow;
        this.streamSendWindow = value;
        for (const stream of this.streams.values()) stream.sendWindow += difference;
      } else if (setting === settingFrameBytesMax) {
        this.peerFrameBytesMax = Math.min(value, frameBytesMax);
      }
    }
    this.output.frame(0, typeSettings, flagAck, 0);
    this.sendPending();
  }
}
