// Gathers HTTP/2 frames in one buffer, which goes to the socket in one write.

import type { Socket } from "node:net";

export const frameHeaderBytes = 9;
const batchBytes = 256 * 1024;

export class FrameWriter {
  private readonly socket: Socket;
  private readonly spareBatches: Buffer[] = [];
  private batch: Buffer = Buffer.allocUnsafe(batchBytes);
  private used = 0;

  constructor(socket: Socket) {
    this.socket = socket;
  }

  /** Writes a frame header and makes room for the payload. */
  frame(length: number, type: number, flags: number, id: number): void {
    if (this.used + frameHeaderBytes + length > this.batch.length) this.flush();
    const { batch } = this;
    let at = this.used;
    batch[at++] = length >>> 16;
    batch[at++] = length >>> 8;
    batch[at++] = length;
    batch[at++] = type;
    batch[at++] = flags;
    batch[at++] = id >>> 24;
    batch[at++] = id >>> 16;
    batch[at++] = id >>> 8;
    batch[at++] = id;
    this.used = at;
  }

  text(text: string): void {
    this.used += this.batch.write(text, this.used, "latin1");
  }

  bytes(bytes: Buffer, from = 0, to = bytes.length): void {
    this.used += bytes.copy(this.batch, this.used, from, to);
  }

  uint16(value: number): void {
    this.used = this.batch.writeUInt16BE(value, this.used);
  }

  uint32(value: number): void {
    this.used = this.batch.writeUInt32BE(value, this.used);
  }

  /** Passes everything written so far to the socket. */
  flush(): void {
    if (this.used === 0) return;
    const { batch } = this;
    const bytes = batch.subarray(0, this.used);
    this.batch = this.spareBatches.pop() ?? Buffer.allocUnsafe(batchBytes);
    this.used = 0;
    if (this.socket.destroyed) return;
    this.socket.write(bytes, () => this.spareBatches.push(batch));
  }
}

/** The length of the frame that begins there. */
export function lengthAt(bytes: Buffer, offset: number): number {
  return (
    ((bytes[offset] as number) << 16) |
    ((bytes[offset + 1] as number) << 8) |
    (bytes[offset + 2] as number)
  );
}
