// Decides on checkpoints, in one order with appends: a checkpoint only moves forwards, unless it is
// reset, and never beyond the head. Pure and synchronous.

import type {
  BeyondHead,
  Checkpoint,
  CheckpointBackwards,
  CheckpointOutcome,
  CheckpointRequest,
  CheckpointUpdate,
} from "../checkpoint.ts";
import { invariant } from "../errors.ts";

export interface CheckpointFacts {
  readonly head: { readonly position: number };
  /** The saved checkpoints of every consumer of the batch. Absent: the batch concerns none. */
  readonly checkpoints?: ReadonlyMap<string, Checkpoint>;
  /** The store's epoch. Absent: the batch concerns no consumer. */
  readonly epoch?: string;
}

/**
 * The checkpoints during one decision: the durable ones, overlaid by those that the batch has
 * accepted.
 */
export class CheckpointOverlay {
  /** Accepted changes by consumer. Undefined: the checkpoint is deleted. */
  readonly changes = new Map<string, Checkpoint | undefined>();
  private readonly facts: CheckpointFacts;
  private readonly savedAt: number;

  constructor(facts: CheckpointFacts, savedAt: number) {
    this.facts = facts;
    this.savedAt = savedAt;
  }

  /** The outcome that refuses a checkpoint of an append. Undefined: it is accepted. */
  refusal(update: CheckpointUpdate): BeyondHead | CheckpointBackwards | undefined {
    const { consumer, position: asked } = update;
    const beyond = this.beyondHead("checkpoint.position", asked);
    if (beyond !== undefined) return beyond;
    const saved = this.of(consumer)?.position;
    // An equal position is refused as well: the events that brought the consumer there are already
    // stored.
    if (saved === undefined || asked > saved) return undefined;
    return { kind: "checkpoint-backwards", consumer, asked, saved };
  }

  save(update: CheckpointUpdate): Checkpoint {
    const { consumer, position, metadata } = update;
    const { epoch = "" } = this.facts;
    const checkpoint = { consumer, position, metadata, epoch, savedAt: this.savedAt };
    this.changes.set(consumer, checkpoint);
    return checkpoint;
  }

  decide(request: CheckpointRequest): CheckpointOutcome {
    if (request.kind === "delete-checkpoint") {
      const existed = this.of(request.consumer) !== undefined;
      if (existed) this.changes.set(request.consumer, undefined);
      return { kind: "checkpoint-deleted", existed };
    }
    const { update, reset } = request;
    const { consumer, position: asked } = update;
    const beyond = this.beyondHead("position", asked);
    if (beyond !== undefined) return beyond;
    const saved = this.of(consumer)?.position ?? 0;
    if (!reset && asked < saved) return { kind: "checkpoint-backwards", consumer, asked, saved };
    return { kind: "checkpoint-saved", checkpoint: this.save(update) };
  }

  private of(consumer: string): Checkpoint | undefined {
    if (this.changes.has(consumer)) return this.changes.get(consumer);
    const { checkpoints } = this.facts;
    // A consumer that was not looked up must not be taken for a new one, because it could then go
    // backwards.
    invariant(checkpoints !== undefined, "the facts know every consumer of the batch");
    return checkpoints.get(consumer);
  }

  private beyondHead(field: string, asked: number): BeyondHead | undefined {
    const head = this.facts.head.position;
    return asked > head ? { kind: "beyond-head", field, asked, head } : undefined;
  }
}
