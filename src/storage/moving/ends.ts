// The two ends of a move: where a store comes from, and where it goes. Between them goes what a
// follower gets of its leader (storage/copy.ts), so that both kinds of store can be either end.

import type { CopiedStore, CopyPart, CopyStart } from "../copy.ts";

export interface SourceEnd {
  readonly store: CopiedStore;
  /** What is behind `start`. Throws COPY_DIVERGED if the receiver has something else. */
  open(start: CopyStart, signal: AbortSignal): AsyncIterable<CopyPart>;
  /** Whether servers may have written to it since it was opened, or may go on writing to it. */
  isInUse(): Promise<boolean>;
  close(): Promise<void>;
}

/** A store in its new place. */
export interface Moved {
  readonly storeId: string;
  /** The epoch that begins behind `head`. */
  readonly epoch: string;
  readonly head: number;
  /** SHA-256 of the last chunk, which stands for the whole log. Hexadecimal. */
  readonly chain: string;
}

export interface TargetEnd {
  /** What is there by now. */
  start(): Promise<CopyStart>;
  /** Throws CopyRefused. */
  receive(part: CopyPart): Promise<void>;
  /** Checks everything that is there, and makes it a store. Throws what refuses it. */
  finish(): Promise<Moved>;
  close(): Promise<void>;
}

export interface MoveContext {
  /** Called with the last position that is done, and the last one there is. */
  readonly progress: (what: "copied" | "verified", position: number, last: number) => void;
  readonly signal: AbortSignal;
  readonly warn: (message: string, cause?: unknown) => void;
}
