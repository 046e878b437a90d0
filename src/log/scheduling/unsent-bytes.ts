// Bytes of answers that connections were given and their clients have not taken yet, over all
// calls. Where they are many, a call that waits for its client is to hold little: see
// scheduled-read.ts and grpc/transport/outgoing.ts. No call waits for another call's client.

export class UnsentBytes {
  private readonly bytesMax: number;
  private held = 0;

  constructor(bytesMax: number) {
    this.bytesMax = bytesMax;
  }

  get bytes(): number {
    return this.held;
  }

  /** True: each call makes do with one small batch at a time. */
  get isLarge(): boolean {
    return this.held >= this.bytesMax;
  }

  given(bytes: number): void {
    this.held += bytes;
  }

  taken(bytes: number): void {
    this.held -= bytes;
  }
}
