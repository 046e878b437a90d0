// Counts bytes of answers that were given to connections and that their clients have not taken yet,
// over all calls. If there are many, a call that waits for its client should hold little: see
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

  /** True: each call may have one small batch in flight at a time. */
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
