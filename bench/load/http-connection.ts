// A light client of HTTP/1.1 with keep-alive: one request at a time, of bytes made before.

import { connect, type Socket } from "node:net";

export interface HttpReceiver {
  /** A part of the answer's body, as it comes. Valid only during the call. */
  received(bytes: Buffer): void;
  /** The answer is complete. Status 0: the connection was lost before. */
  ended(status: number): void;
}

const endOfHead = Buffer.from("\r\n\r\n");
const nothing = Buffer.alloc(0);
/** What is read at once, of any connection: it is used up before the next one is read. */
const readBuffer = Buffer.allocUnsafeSlow(256 * 1024);

export class HttpConnection {
  private socket: Socket | undefined;
  private receiver: HttpReceiver | undefined;
  /** The beginning of a head, or of a line that says how long a chunk is. */
  private held = nothing;
  private status = 0;
  private isChunked = false;
  /** Of the body, or of the chunk with the end of its line. */
  private missingBytes = 0;

  static open(host: string, port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const connection = new HttpConnection();
      const onread = {
        buffer: readBuffer,
        callback: (length: number, buffer: Uint8Array) => {
          connection.read(Buffer.from(buffer.buffer, buffer.byteOffset, length));
          return true;
        },
      };
      const socket = connect({ host, port, noDelay: true, onread });
      connection.socket = socket;
      socket.once("error", reject);
      socket.on("close", () => connection.finish(0));
      socket.once("connect", () => {
        socket.on("error", () => {});
        resolve(connection);
      });
    });
  }

  send(request: Buffer, receiver: HttpReceiver): void {
    this.receiver = receiver;
    this.socket?.write(request);
  }

  close(): void {
    this.receiver = undefined;
    this.socket?.destroy();
  }

  private read(bytes: Buffer): void {
    const body = this.status === 0 ? this.readHead(bytes) : bytes;
    if (body === undefined) return;
    if (this.isChunked) return this.readChunks(body);
    if (body.length > 0) this.receiver?.received(body);
    this.missingBytes -= body.length;
    if (this.missingBytes <= 0) this.finish(this.status);
  }

  private readHead(bytes: Buffer): Buffer | undefined {
    const all = this.held.length === 0 ? bytes : Buffer.concat([this.held, bytes]);
    const end = all.indexOf(endOfHead);
    if (end < 0) {
      this.held = Buffer.from(all);
      return undefined;
    }
    const head = all.toString("latin1", 0, end);
    this.held = nothing;
    this.status = Number(head.slice(9, 12));
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    this.isChunked = length === undefined;
    this.missingBytes = Number(length ?? 0);
    return all.subarray(end + endOfHead.length);
  }

  private readChunks(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.missingBytes > 0) {
        const part = bytes.subarray(at, at + this.missingBytes);
        this.missingBytes -= part.length;
        at += part.length;
        // The end of the chunk's line is no part of the body.
        const body = part.subarray(0, part.length - Math.max(0, 2 - this.missingBytes));
        if (body.length > 0) this.receiver?.received(body);
        continue;
      }
      const end = bytes.indexOf(0x0a, at);
      const line = Buffer.concat([this.held, bytes.subarray(at, end < 0 ? undefined : end + 1)]);
      this.held = end < 0 ? line : nothing;
      if (end < 0) return;
      at = end + 1;
      const size = Number.parseInt(line.toString("latin1"), 16);
      if (size === 0) return this.finish(this.status);
      this.missingBytes = size + 2;
    }
  }

  private finish(status: number): void {
    const { receiver } = this;
    this.receiver = undefined;
    this.status = 0;
    receiver?.ended(status);
  }
}
