// The gate that all reads share, so that readers at full speed do not starve appends, which need
// the same thread. Each turn of the event loop admits the read work of one full batch. More is
// admitted after the I/O that arrived meanwhile, above all appends. Small reads share a turn, and
// pass without waiting if no other read is in progress.

import { schedulingPolicy } from "./policy.ts";

const { turnBytes, readBytesMin } = schedulingPolicy;

interface Waiting {
  readonly bytes: number;
  readonly enter: () => void;
}

export class ReadGate {
  /** The announced cost of the admitted reads. */
  private insideBytes = 0;
  /** The cost of finished reads in this turn. */
  private spentBytes = 0;
  private turning = false;
  /** In the order of arrival, so that a full batch behind small reads gets its turn. */
  private line: Waiting[] = [];

  get waitingCount(): number {
    return this.line.length;
  }

  /**
   * Admits a read of about this cost. Undefined: at once; otherwise when the promise resolves.
   * `leave` with the same number must follow in either case.
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
