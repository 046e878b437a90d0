// The one gate that all reads share, so that readers at full speed do not starve appends: what
// they fight for is this thread. One quantum of read work is let through in a turn of the event
// loop; the next comes after the I/O that arrived meanwhile, appends above all. Reads of little
// share a quantum, and pass without waiting where nobody else reads.

/** Bytes of events read in one turn of the event loop: one full slab. */
export const quantumBytes = 128 * 1024;

/** What a read of nothing costs all the same. */
const readBytesMin = 1024;

interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
}

export class ReadGate {
  /** What those inside said they would read. */
  private insideBytes = 0;
  /** What was read in this turn. */
  private spentBytes = 0;
  private turning = false;
  /** In the order of arrival: a full slab behind small reads gets its turn. */
  private line: Waiting[] = [];

  /** How many wait. */
  get waitingCount(): number {
    return this.line.length;
  }

  /**
   * To read about this much. Undefined: go on at once; else when the promise resolves. `leave` with
   * the same number must follow in either case.
   */
  enter(bytes: number): Promise<void> | undefined {
    if (this.line.length === 0 && this.hasRoom(bytes)) {
      this.insideBytes += bytes;
      return undefined;
    }
    return new Promise((enter) => this.line.push({ bytes, enter }));
  }

  leave(bytes: number, readBytes: number): void {
    this.insideBytes -= bytes;
    this.spentBytes += Math.max(readBytes, readBytesMin);
    if (!this.turning) {
      this.turning = true;
      setImmediate(this.turn);
    }
    this.letIn();
  }

  private hasRoom(bytes: number): boolean {
    const taken = this.insideBytes + this.spentBytes;
    return taken === 0 || taken + bytes <= quantumBytes;
  }

  private readonly turn = (): void => {
    this.turning = false;
    this.spentBytes = 0;
    this.letIn();
  };

  private letIn(): void {
    let entered = 0;
    for (const { bytes, enter } of this.line) {
      if (!this.hasRoom(bytes)) break;
      this.insideBytes += bytes;
      entered++;
      enter();
    }
    if (entered > 0) this.line.splice(0, entered);
  }
}
