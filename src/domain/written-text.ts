// A long text in UTF-8 that is made piece by piece.

import { grown } from "./byte-writer.ts";
import type { Parts } from "./exact-json.ts";

/** Gathered before they are encoded. */
const gatheredChars = 16 * 1024;

/** A text in UTF-8. `bytes`: how long a long one will be, as far as it is known. */
export class WrittenText implements Parts {
  private buffer: Buffer;
  private length = 0;
  private gathered = "";

  constructor(bytes = 0) {
    this.buffer = Buffer.allocUnsafeSlow(bytes);
  }

  push(...texts: string[]): void {
    for (const text of texts) this.gathered += text;
    if (this.gathered.length > gatheredChars) this.write();
  }

  bytes(): Buffer {
    if (this.length === 0) return Buffer.from(this.gathered);
    this.write();
    return this.buffer.subarray(0, this.length);
  }

  private write(): void {
    const needed = this.length + Buffer.byteLength(this.gathered);
    if (needed > this.buffer.length) this.buffer = grown(this.buffer, 2 * needed);
    this.length += this.buffer.write(this.gathered, this.length);
    this.gathered = "";
  }
}
