// Checkpoints in domain words: how far a named consumer has got, and what it may ask to have
// changed.

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

/** The consumer has got further already; nothing was stored. */
export interface CheckpointBackwards {
  readonly kind: "checkpoint-backwards";
  readonly consumer: string;
  readonly asked: number;
  /** The position saved before. */
  readonly saved: number;
}

/** A position lies beyond the head: it was not read from this store. Nothing was stored. */
export interface BeyondHead {
  readonly kind: "beyond-head";
  readonly field: string;
  readonly asked: number;
  readonly head: number;
}

export type CheckpointOutcome =
  | { readonly kind: "checkpoint-saved"; readonly checkpoint: Checkpoint }
  | { readonly kind: "checkpoint-deleted"; readonly existed: boolean }
  | CheckpointBackwards
  | BeyondHead;
