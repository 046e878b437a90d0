// Checkpoints: the positions of named consumers, and the requests that change them.

/** A consumer's position: it has dealt with every event up to `position`. */
export interface CheckpointUpdate {
  readonly consumer: string;
  readonly position: number;
  /** Facts about the consumer's state, for people. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The epoch of the position. Absent: not said. */
  readonly epoch?: string | undefined;
}

export interface Checkpoint extends CheckpointUpdate {
  /** The store's epoch when it was saved. */
  readonly epoch: string;
  /** Microseconds since 1970, UTC. */
  readonly savedAt: number;
}

/** A change of a checkpoint that comes without an append. */
export type CheckpointRequest =
  | {
      readonly kind: "save-checkpoint";
      readonly update: CheckpointUpdate;
      /** True: the position may also go back, because the consumer starts over. */
      readonly reset: boolean;
    }
  | { readonly kind: "delete-checkpoint"; readonly consumer: string };

/** A later position is already saved for the consumer. Nothing was stored. */
export interface CheckpointBackwards {
  readonly kind: "checkpoint-backwards";
  readonly consumer: string;
  readonly asked: number;
  /** The position that is saved. */
  readonly saved: number;
}

/** A position is beyond the head, so it was not read from this store. Nothing was stored. */
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
