// The commits of late with what they changed beside the log, so that a copy that was interrupted
// for a while continues where it was. Kept from the first copy on, as far as the memory goes.

import { randomBytes } from "node:crypto";
import { prefixSideValue } from "../format/keys.ts";
import type { Operation } from "../kv/kv.ts";

/** A commit, or several in a row that changed nothing beside the log. */
export interface TailCommit {
  /** The head after it. */
  readonly position: number;
  /** LevelDB's sequence number after it. */
  readonly sequence: number;
  readonly sideValues: readonly Operation[];
}

const bytesMax = 64 * 1024 * 1024;
const operationBytes = 200;

export class CommitTail {
  /** Sequence numbers of another process, or of another database, are no cursors of this tail. */
  private readonly id = randomBytes(8).toString("hex");
  private commits: (TailCommit & { readonly bytes: number })[] = [];
  /** The sequence number before the first of the commits. Undefined: they are not kept. */
  begin: number | undefined;
  private bytes = 0;
  private readonly listeners = new Set<() => void>();

  /** Keeps the commits after this sequence number from now on. */
  keep(sequence: number): void {
    this.begin ??= sequence;
  }

  /** Called when a commit is durable, if commits are kept. */
  push(position: number, sequence: number, written: readonly Operation[]): void {
    const operations = sideValuesAmong(written);
    const last = this.commits.at(-1);
    if (operations.length === 0 && last?.sideValues.length === 0) {
      this.commits[this.commits.length - 1] = { ...last, position, sequence };
    } else {
      let bytes = operationBytes;
      for (const [key, value] of operations) {
        bytes += operationBytes + key.length + (value?.length ?? 0);
      }
      this.commits.push({ position, sequence, sideValues: operations, bytes });
      this.bytes += bytes;
      while (this.bytes > bytesMax) this.dropFirst();
    }
    this.wake();
  }

  /** A write whose outcome was not known may be durable: what it changed is not known here. */
  clear(): void {
    this.begin = undefined;
    this.commits = [];
    this.bytes = 0;
    this.wake();
  }

  cursorOf(sequence: number): string {
    return `${this.id}:${sequence}`;
  }

  /** The sequence number of a cursor after which all commits are known. Undefined: they are not. */
  sequenceOf(cursor: string): number | undefined {
    const [id, digits = ""] = cursor.split(":");
    if (id !== this.id || !/^\d{1,16}$/.test(digits)) return undefined;
    return this.since(Number(digits)) === undefined ? undefined : Number(digits);
  }

  /** The commits after a sequence number. Undefined: not all of them are known any more. */
  since(sequence: number): readonly TailCommit[] | undefined {
    if (this.begin === undefined || sequence < this.begin) return undefined;
    let low = 0;
    let high = this.commits.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if ((this.commits[middle] as TailCommit).sequence <= sequence) low = middle + 1;
      else high = middle;
    }
    return this.commits.slice(low);
  }

  /** Returns a function that ends the watch. */
  watch(listener: () => void): () => void {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  }

  private dropFirst(): void {
    const first = this.commits.shift();
    if (first === undefined) return;
    this.bytes -= first.bytes;
    this.begin = first.sequence;
  }

  private wake(): void {
    for (const listener of this.listeners) listener();
  }
}

function sideValuesAmong(operations: readonly Operation[]): Operation[] {
  return operations.filter(([key]) => key[0] === prefixSideValue);
}
