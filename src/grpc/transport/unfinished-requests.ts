// Bytes of requests that have not come to their end, over all calls and connections: a client may
// begin very many large messages and end none of them. Beyond the bound, calls that hold more than
// a little are refused as they grow; small requests pass whatever others do.

/** Of one call, always allowed. */
const smallBytes = 4 * 1024;

export class UnfinishedRequests {
  private readonly bytesMax: number;
  private heldBytes = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.heldBytes;
  }

  /** A call that holds `before` bytes gets so many more. False: too many; it lets go of all. */
  grow(before: number, bytes: number): boolean {
    this.heldBytes += bytes;
    return this.heldBytes <= this.bytesMax || before + bytes <= smallBytes;
  }

  /** A call's request is complete, or the call is over. */
  letGo(bytes: number): void {
    this.heldBytes -= bytes;
  }
}
