// An HTTP/2 client that sends what it is told, frame by frame, and keeps what comes back.
import { connect, type Socket } from "node:net";
import { hpackOf } from "../../src/http2/hpack-encoder.ts";
import { flag, preface, type } from "../../src/http2/protocol.ts";

export interface ReceivedFrame {
  readonly type: number;
  readonly flags: number;
  readonly id: number;
  readonly payload: Buffer;
}

export function frame(
  frameType: number,
  flags = 0,
  id = 0,
  payload: Buffer = Buffer.alloc(0),
): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head.set([frameType, flags], 3);
  head.writeUInt32BE(id, 5);
  return Buffer.concat([head, payload]);
}

export function uint32(...values: number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
}

export function settings(...pairs: [name: number, value: number][]): Buffer {
  const payload = pairs.map(([name, value]) =>
    Buffer.concat([Buffer.from([0, name]), uint32(value)]),
  );
  return frame(type.settings, 0, 0, Buffer.concat(payload));
}

export const requestFields: readonly [string, string][] = [
  [":method", "POST"],
  [":scheme", "http"],
  [":path", "/"],
  [":authority", "here"],
];

/** HEADERS of a request; it ends with them unless `flags` says otherwise. */
export function request(
  id: number,
  more: readonly [string, string][] = [],
  flags = flag.endStream | flag.endHeaders,
): Buffer {
  return frame(type.headers, flags, id, hpackOf([...requestFields, ...more]));
}

export function data(id: number, bytes: number | Buffer, flags = 0): Buffer {
  return frame(type.data, flags, id, typeof bytes === "number" ? Buffer.alloc(bytes) : bytes);
}

export class RawClient {
  readonly socket: Socket;
  readonly frames: ReceivedFrame[] = [];
  readonly closed: Promise<void>;
  isClosed = false;
  private rest: Buffer = Buffer.alloc(0);
  private wake: (() => void) | undefined;

  constructor(port: number, begin: Buffer | false = settings()) {
    this.socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.socket.on("error", () => {});
    this.socket.on("data", (bytes: Buffer) => this.read(bytes));
    this.closed = new Promise((resolve) => {
      this.socket.on("close", () => {
        this.isClosed = true;
        this.wake?.();
        resolve();
      });
    });
    if (begin !== false) this.send(preface, begin);
  }

  send(...parts: Buffer[]): void {
    this.socket.write(Buffer.concat(parts));
  }

  /** The first frame, of those that came and will come, of this type (and stream). */
  async frame(frameType: number, id?: number): Promise<ReceivedFrame> {
    for (;;) {
      const found = this.frames.find(
        (each) =>
          each.type === frameType &&
          (id === undefined || each.id === id) &&
          (frameType < type.settings || (each.flags & flag.ack) === 0),
      );
      if (found !== undefined) return found;
      await this.more(`frame ${frameType} of ${id}`);
    }
  }

  /** What GOAWAY says. */
  async goAway(): Promise<{ last: number; code: number; reason: string }> {
    const { payload } = await this.frame(type.goAway);
    const reason = payload.toString("latin1", 8);
    return { last: payload.readUInt32BE(0), code: payload.readUInt32BE(4), reason };
  }

  async resetCode(id: number): Promise<number> {
    return (await this.frame(type.resetStream, id)).payload.readUInt32BE(0);
  }

  /** All that came before the answer to a PING: everything sent so far has been dealt with. */
  async settle(): Promise<void> {
    const before = this.pongs;
    this.send(frame(type.ping, 0, 0, Buffer.alloc(8, 7)));
    while (this.pongs === before) await this.more("the answer to a PING");
  }

  /** Bytes of data that came for a stream. */
  dataBytes(id: number): number {
    let bytes = 0;
    for (const each of this.frames) {
      if (each.type === type.data && each.id === id) bytes += each.payload.length;
    }
    return bytes;
  }

  has(frameType: number, id: number): boolean {
    return this.frames.some((each) => each.type === frameType && each.id === id);
  }

  hasEnded(id: number): boolean {
    return this.frames.some(
      (each) => each.type <= type.headers && each.id === id && (each.flags & flag.endStream) !== 0,
    );
  }

  destroy(): void {
    this.socket.destroy();
  }

  private get pongs(): number {
    const isPong = (each: ReceivedFrame): boolean =>
      each.type === type.ping && (each.flags & flag.ack) !== 0;
    return this.frames.filter(isPong).length;
  }

  private async more(what: string): Promise<void> {
    if (this.isClosed) throw new Error(`closed without ${what}`);
    await new Promise<void>((resolve) => (this.wake = resolve));
  }

  private read(bytes: Buffer): void {
    this.rest = Buffer.concat([this.rest, bytes]);
    while (this.rest.length >= 9) {
      const end = 9 + this.rest.readUIntBE(0, 3);
      if (this.rest.length < end) break;
      const [, , , frameType = 0, flags = 0] = this.rest;
      const id = this.rest.readUInt32BE(5);
      this.frames.push({ type: frameType, flags, id, payload: this.rest.subarray(9, end) });
      this.rest = this.rest.subarray(end);
      const isOwn = (flags & flag.ack) === 0;
      if (frameType === type.settings && isOwn) this.socket.write(frame(type.settings, flag.ack));
    }
    this.wake?.();
  }
}
