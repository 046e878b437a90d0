// Checkpoints in domain words: how far a named consumer has got, and what it may ask to have
// changed.

import type { BeyondHead, CheckpointBackwards } from "./append.ts";

/** How far a consumer has got: every event up to `position` has been dealt with. */
export interface CheckpointUpdate {
  readonly consumer: string;
  readonly position: number;
  /** Facts about the consumer's state, for whoever looks. */
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Checkpoint extends CheckpointUpdate {
  /** Microseconds since 1970, UTC. */
  readonly savedAt: number;
}

/** A change of a checkpoint by itself, without an append. */
export type CheckpointRequest =
  | {
      readonly kind: "save-checkpoint";
      readonly update: CheckpointUpdate;
      /** Also backwards: the consumer starts anew from there. */
      readonly reset: boolean;
    }
  | { readonly kind: "delete-checkpoint"; readonly consumer: string };

export type CheckpointOutcome =
  | { readonly kind: "checkpoint-saved"; readonly checkpoint: Checkpoint }
  | { readonly kind: "checkpoint-deleted"; readonly existed: boolean }
  | CheckpointBackwards
  | BeyondHead;
