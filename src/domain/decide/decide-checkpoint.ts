// Decides on checkpoints, in one order with appends: a checkpoint only moves forwards, unless it is
// reset, and never beyond the head if its positions are this store's. Pure and synchronous.

import type {
  BeyondHead,
  Checkpoint,
  CheckpointBackwards,
  CheckpointConflict,
  CheckpointOutcome,
  CheckpointRequest,
  CheckpointUpdate,
  ExpectedCheckpoint,
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
  refusal(
    update: CheckpointUpdate,
  ): BeyondHead | CheckpointBackwards | CheckpointConflict | undefined {
    const { consumer, position: asked } = update;
    const beyond = this.beyondHead("checkpoint.position", update);
    if (beyond !== undefined) return beyond;
    const saved = this.of(consumer);
    if (saved === undefined) return undefined;
    if (saved.source !== (update.source ?? ""))
      return { kind: "checkpoint-conflict", consumer, saved };
    // An equal position is refused as well: the events that brought the consumer there are already
    // stored.
    if (asked > saved.position) return undefined;
    return { kind: "checkpoint-backwards", consumer, asked, saved: saved.position };
  }

  save(update: CheckpointUpdate): Checkpoint {
    const { epoch = "" } = this.facts;
    const { source = "" } = update;
    const checkpoint = { ...update, source, epoch, savedAt: this.savedAt };
    this.changes.set(update.consumer, checkpoint);
    return checkpoint;
  }

  decide(request: CheckpointRequest): CheckpointOutcome {
    if (request.kind === "delete-checkpoint") {
      const existed = this.of(request.consumer) !== undefined;
      if (existed) this.changes.set(request.consumer, undefined);
      return { kind: "checkpoint-deleted", existed };
    }
    const { update, reset, expected } = request;
    const { consumer, position: asked } = update;
    const beyond = this.beyondHead("position", update);
    if (beyond !== undefined) return beyond;
    const saved = this.of(consumer);
    const isOther = !reset && saved !== undefined && saved.source !== (update.source ?? "");
    if (isOther || !isExpected(saved, expected)) {
      return { kind: "checkpoint-conflict", consumer, saved };
    }
    if (!reset && saved !== undefined && asked < saved.position) {
      return { kind: "checkpoint-backwards", consumer, asked, saved: saved.position };
    }
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

  private beyondHead(field: string, update: CheckpointUpdate): BeyondHead | undefined {
    const head = this.facts.head.position;
    if (isElsewhere(update) || update.position <= head) return undefined;
    return { kind: "beyond-head", field, asked: Number(update.position), head };
  }
}

/** Whether the position is one of another log. */
function isElsewhere({ source = "" }: CheckpointUpdate): boolean {
  return source !== "";
}

function isExpected(
  saved: Checkpoint | undefined,
  expected: ExpectedCheckpoint | undefined,
): boolean {
  if (expected === undefined) return true;
  if (expected === "absent") return saved === undefined;
  return saved !== undefined && BigInt(saved.position) === BigInt(expected);
}
