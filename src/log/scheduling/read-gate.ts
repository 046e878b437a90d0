// The one gate that all reads share, so that readers at full speed do not starve appends: both need
// this thread. Read work of one full batch is let through in a turn of the event loop; more comes
// after the I/O that arrived meanwhile, appends above all. Small reads share a turn, and pass
// without waiting where no other read is under way.

import { schedulingPolicy } from "./policy.ts";

const { turnBytes, readBytesMin } = schedulingPolicy;

interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
}

export class ReadGate {
  /** What the reads inside said they would cost. */
  private insideBytes = 0;
  /** What reads have cost in this turn. */
  private spentBytes = 0;
  private turning = false;
  /** In the order of arrival: a full batch behind small reads gets its turn. */
  private line: Waiting[] = [];

  get waitingCount(): number {
    return this.line.length;
  }

  /**
   * To read at about this cost. Undefined: go on at once; else when the promise resolves. `leave`
   * with the same number must follow in either case.
   */
  enter(bytes: number): Promise<void> | undefined {
    if (this.line.length === 0 && this.hasRoom(bytes)) {
      this.insideBytes += bytes;
      return undefined;
    }
    return new Promise((enter) => this.line.push({ bytes, enter }));
  }

  leave(bytes: number, spentBytes: number): void {
    this.insideBytes -= bytes;
    this.spentBytes += Math.max(spentBytes, readBytesMin);
    if (!this.turning) {
      this.turning = true;
      setImmediate(this.turn);
    }
    this.letIn();
  }

  private hasRoom(bytes: number): boolean {
    const taken = this.insideBytes + this.spentBytes;
    return taken === 0 || taken + bytes <= turnBytes;
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
