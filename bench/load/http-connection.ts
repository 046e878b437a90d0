// A light client of HTTP/1.1 with keep-alive: one request at a time, of bytes made before.

import { connect, type Socket } from "node:net";

export interface HttpReceiver {
  /** A part of an answer, as it comes: heads, sizes of chunks and bodies. */
  received(bytes: Buffer): void;
  /** The answer is complete. Status 0: the connection was lost before. */
  ended(status: number): void;
}

const lastChunk = Buffer.from("\r\n0\r\n\r\n");
const endOfHead = Buffer.from("\r\n\r\n");

export class HttpConnection {
  private readonly socket: Socket;
  private receiver: HttpReceiver | undefined;
  private head = Buffer.alloc(0);
  private status = 0;
  /** Of the body. -1: it comes in chunks. */
  private missingBytes = 0;
  private end = Buffer.alloc(0);

  private constructor(socket: Socket) {
    this.socket = socket;
    socket.on("data", (bytes: Buffer) => this.read(bytes));
    socket.on("close", () => this.finish(0));
    socket.on("error", () => {});
  }

  static open(host: string, port: number): Promise<HttpConnection> {
    return new Promise((resolve, reject) => {
      const socket = connect({ host, port, noDelay: true });
      socket.once("error", reject);
      socket.once("connect", () => resolve(new HttpConnection(socket)));
    });
  }

  send(request: Buffer, receiver: HttpReceiver): void {
    this.receiver = receiver;
    this.socket.write(request);
  }

  close(): void {
    this.receiver = undefined;
    this.socket.destroy();
  }

  private read(bytes: Buffer): void {
    this.receiver?.received(bytes);
    const body = this.status === 0 ? this.readHead(bytes) : bytes;
    if (body === undefined) return;
    if (this.missingBytes >= 0) {
      this.missingBytes -= body.length;
      if (this.missingBytes <= 0) this.finish(this.status);
      return;
    }
    this.end = Buffer.concat([this.end, body.subarray(-lastChunk.length)]);
    this.end = this.end.subarray(-lastChunk.length);
    if (this.end.equals(lastChunk)) this.finish(this.status);
  }

  private readHead(bytes: Buffer): Buffer | undefined {
    const all = this.head.length === 0 ? bytes : Buffer.concat([this.head, bytes]);
    const end = all.indexOf(endOfHead);
    if (end < 0) {
      this.head = Buffer.from(all);
      return undefined;
    }
    const head = all.toString("latin1", 0, end);
    this.head = Buffer.alloc(0);
    // The end of the head, as a chunk may be the last one.
    this.end = endOfHead;
    this.status = Number(head.slice(9, 12));
    const length = /content-length: (\d+)/i.exec(head)?.[1];
    this.missingBytes = length === undefined ? -1 : Number(length);
    return all.subarray(end + endOfHead.length);
  }

  private finish(status: number): void {
    const { receiver } = this;
    this.receiver = undefined;
    this.status = 0;
    receiver?.ended(status);
  }
}
