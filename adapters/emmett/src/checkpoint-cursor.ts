// The checkpoint of one processor in Annals, saved once for a batch. Of two processes that run one
// processor by mistake, the one behind fails with CHECKPOINT_BACKWARDS.

import type { AnyMessage, Checkpointer } from "@event-driven-io/emmett";
import type { AnnalsClient, StoredCheckpoint } from "annals-client";
import type { AnnalsHandlerContext } from "./annals-event-store.js";
import type { ReadMetadata, StoredMessage } from "./stored-messages.js";

export class CheckpointCursor {
  /** For Emmett's processor. What it stores is kept here until `save`. */
  readonly checkpointer: Checkpointer<AnyMessage, ReadMetadata, AnnalsHandlerContext> = {
    read: async () => ({ lastCheckpoint: this.saved ? BigInt(this.saved.position) : null }),
    store: async ({ message }) => {
      const newCheckpoint: bigint = message.metadata.globalPosition;
      this.handled = Number(newCheckpoint);
      return { success: true, newCheckpoint };
    },
  };
  private saved: StoredCheckpoint | undefined;
  private handled: number | undefined;

  constructor(
    private readonly client: AnnalsClient<StoredMessage>,
    private readonly consumer: string,
  ) {}

  /** Reads what is saved. Before each start. */
  async begin(): Promise<void> {
    this.handled = undefined;
    this.saved = await this.client.checkpoints.get(this.consumer);
  }

  /** The epoch of a position, if it is the saved one. */
  epochOf(position: unknown): string | undefined {
    return this.saved?.position === position ? this.saved?.epoch || undefined : undefined;
  }

  /** Saves up to the last message that was handled. */
  async save(epoch: string): Promise<void> {
    if (this.handled !== undefined) await this.reach(this.handled, epoch);
  }

  /** Saves a position, up to which everything is handled or is not for this processor. */
  async reach(position: number, epoch: string): Promise<void> {
    this.handled = undefined;
    if (position === (this.saved?.position ?? 0)) return;
    // The processor begins anew: `startFrom`.
    const reset = position < (this.saved?.position ?? 0);
    const options = { epoch: epoch || undefined, reset };
    this.saved = await this.client.checkpoints.save(this.consumer, position, options);
  }
}
