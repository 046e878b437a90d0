// Shares the reading of sockets among connections. What has arrived on many of them would otherwise
// be read in one turn of the event loop, while a small request waits behind it. A connection that
// sends a lot reads on when its turn comes, and until then TCP holds up its client.

/** The larger pieces of all connections that are read in one turn: a few milliseconds of work. */
const turnBytes = 256 * 1024;
/** What a socket gives in one piece, at most. */
export const pieceBytesMax = 64 * 1024;
/** Smaller pieces hold up nobody, and are not counted. */
const smallPieceBytesMax = 8 * 1024;

export class ReadPace {
  private leftBytes = turnBytes;
  private isTurning = false;
  /** The first one is next. */
  private readonly waiting = new Set<() => void>();

  /** A connection has read a piece. False: it has to wait for its turn to read on. */
  took(bytes: number): boolean {
    if (bytes <= smallPieceBytesMax) return true;
    this.leftBytes -= bytes;
    this.turnSoon();
    return this.leftBytes > 0;
  }

  /** Calls it when its turn has come. */
  wait(readOn: () => void): void {
    this.waiting.add(readOn);
    this.turnSoon();
  }

  private turnSoon(): void {
    if (this.isTurning) return;
    this.isTurning = true;
    setImmediate(this.turn);
  }

  private readonly turn = (): void => {
    this.isTurning = false;
    this.leftBytes = turnBytes;
    let bytes = 0;
    for (const readOn of this.waiting) {
      if (bytes >= turnBytes) break;
      bytes += pieceBytesMax;
      this.waiting.delete(readOn);
      readOn();
    }
    if (this.waiting.size > 0) this.turnSoon();
  };
}
