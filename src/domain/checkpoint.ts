// Checkpoints: the positions of named consumers, and the requests that change them.

/** A position of this store, or of another log: of that any number of 64 bits. */
export type AnyPosition = number | bigint;

/** A consumer's position: it has dealt with every event up to `position`. */
export interface CheckpointUpdate {
  readonly consumer: string;
  /** A number where there is no other `source`. */
  readonly position: AnyPosition;
  /** The log whose positions `position` counts. Absent or empty: this store. */
  readonly source?: string | undefined;
  /** Facts about the consumer's state, for people. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The epoch of the position. Absent: not said. */
  readonly epoch?: string | undefined;
}

export interface Checkpoint extends CheckpointUpdate {
  readonly source: string;
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
      /** What must be saved until now. Absent: anything. */
      readonly expected?: ExpectedCheckpoint | undefined;
    }
  | { readonly kind: "delete-checkpoint"; readonly consumer: string };

export type ExpectedCheckpoint = AnyPosition | "absent";

/** The saved checkpoint is not the expected one, or is of another source. Nothing was stored. */
export interface CheckpointConflict {
  readonly kind: "checkpoint-conflict";
  readonly consumer: string;
  /** Undefined: none is saved. */
  readonly saved: Pick<Checkpoint, "position" | "source"> | undefined;
}

/** A later position is already saved for the consumer. Nothing was stored. */
export interface CheckpointBackwards {
  readonly kind: "checkpoint-backwards";
  readonly consumer: string;
  readonly asked: AnyPosition;
  /** The position that is saved. */
  readonly saved: AnyPosition;
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
  | CheckpointConflict
  | BeyondHead;
