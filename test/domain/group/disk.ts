// What a group under test has made durable.
import type { GroupWrite } from "../../../src/domain/group/journal.ts";
import { encodeProgress, loadProgress } from "../../../src/domain/group/progress-codec.ts";
import type { Progress } from "../../../src/domain/group/progress.ts";

export class GroupDisk {
  private base: Uint8Array;
  private readonly deltas = new Map<number, Uint8Array>();
  /** Attempts by position. */
  private readonly parked = new Map<number, number>();

  constructor(progress: Progress) {
    this.base = encodeProgress(progress);
  }

  get parkedPositions(): number[] {
    return [...this.parked.keys()].toSorted((a, b) => a - b);
  }

  store({ form, sequence, progress, obsolete, parked, unparked }: GroupWrite): void {
    const bytes = new Uint8Array(progress);
    if (form === "base") this.base = bytes;
    else this.deltas.set(sequence, bytes);
    for (const old of obsolete) this.deltas.delete(old);
    for (const position of unparked) this.parked.delete(position);
    for (const { position, attempts } of parked) this.parked.set(position, attempts);
  }

  load(): ReturnType<typeof loadProgress> {
    const inOrder = [...this.deltas].toSorted(([a], [b]) => a - b).map(([, bytes]) => bytes);
    return loadProgress(this.base, inOrder);
  }
}
