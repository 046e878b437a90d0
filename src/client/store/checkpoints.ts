// `client.checkpoints` and `client.waitFor`: positions of named consumers and groups, kept by the
// server.

import type { ConsumerCheckpoint } from "../../gen/annals/v1/checkpoint_service_pb.js";
import { answered, changed, type Context, type OperationOptions } from "./context.ts";
import { NotFoundError, ServerError } from "./errors.ts";
import type { ListOptions } from "./info.ts";
import { dateOf, safeInteger, wireDuration, wireInteger } from "./numbers.ts";

/** A consumer's position: it has dealt with every event up to it. */
export interface StoredCheckpoint {
  readonly consumer: string;
  readonly position: number;
  /** The log whose positions these are. Empty: this store. */
  readonly source: string;
  /** The epoch of the position: subscribe with both. Empty: the server names none. */
  readonly epoch: string;
  readonly savedAt: Date;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface EpochOptions extends OperationOptions {
  /**
   * The epoch of the position. A position of another history of the store is refused with an
   * `EpochMismatchError`. Absent: not checked.
   */
  readonly epoch?: string | undefined;
}

/** A checkpoint to save in the same commit as an append: both, or neither. */
export interface CheckpointUpdate {
  readonly consumer: string;
  /** Greater than the saved one, otherwise the append is refused (`CHECKPOINT_BACKWARDS`). */
  readonly position: number;
  /** The epoch of the position. Absent: not checked. */
  readonly epoch?: string | undefined;
  /** The log whose positions these are; then `epoch` is absent. Absent: this store. */
  readonly source?: string | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface SaveOptions extends EpochOptions {
  /** The log whose positions these are; then `epoch` is absent. Absent: this store. */
  readonly source?: string | undefined;
  /**
   * What must be saved until now, a position or nothing; otherwise the save fails with a
   * `PreconditionError` (`CHECKPOINT_CONFLICT`). Absent: not checked.
   */
  readonly expect?: number | "absent" | undefined;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** The position may also decrease: the consumer starts over. */
  readonly reset?: boolean | undefined;
}

export interface Checkpoints {
  /**
   * Fails with a `PreconditionError` (`CHECKPOINT_BACKWARDS`) if the position is less than the
   * saved one.
   */
  save(consumer: string, position: number, options?: SaveOptions): Promise<StoredCheckpoint>;
  /** Undefined: none is saved. */
  get(consumer: string, options?: OperationOptions): Promise<StoredCheckpoint | undefined>;
  list(options?: ListOptions): AsyncIterable<StoredCheckpoint>;
  /** Returns whether there was one. */
  delete(consumer: string, options?: OperationOptions): Promise<boolean>;
}

/** The consumer or group to wait for. */
export type Waited =
  | { readonly consumer: string; readonly group?: undefined }
  | { readonly group: string; readonly consumer?: undefined };

const pageSize = 500;

export function checkpointsOf(context: Context): Checkpoints {
  const { checkpoints: rpc } = context;
  return {
    async save(consumer, position, options = {}) {
      const { metadata = {}, reset = false, epoch, source, expect } = options;
      const request = {
        ...wireCheckpoint({ consumer, position, metadata, epoch, source }),
        reset,
        expected: wireExpectedCheckpoint(expect),
      };
      // A repeated save would find its own position where it expects the one before.
      const isIdempotent = !reset && expect === undefined;
      const answer = await answered(context, { ...options, isIdempotent }, (call) =>
        rpc.saveCheckpoint(request, call),
      );
      return checkpointOf(answer.checkpoint);
    },
    async get(consumer, options = {}) {
      try {
        const request = { consumer };
        const answer = await answered(context, options, (call) => rpc.getCheckpoint(request, call));
        return checkpointOf(answer.checkpoint);
      } catch (error) {
        if (error instanceof NotFoundError) return undefined;
        throw error;
      }
    },
    async *list(options = {}) {
      const { prefix = "" } = options;
      let pageToken = "";
      do {
        const request = { prefix, pageSize, pageToken };
        const page = await answered(context, options, (call) => rpc.listCheckpoints(request, call));
        for (const one of page.checkpoints) yield checkpointOf(one);
        pageToken = page.nextPageToken;
      } while (pageToken !== "");
    },
    async delete(consumer, options = {}) {
      const request = { consumer };
      return (await changed(context, options, (call) => rpc.deleteCheckpoint(request, call)))
        .deleted;
    },
  };
}

/** The longest wait of one request. */
const waitMsMax = 3_600_000;

/** Resolves with the present position when it has been reached. */
export async function waitFor(
  context: Context,
  { consumer, group }: Waited,
  position: number,
  options: EpochOptions,
): Promise<number> {
  const { epoch = "" } = options;
  const who =
    consumer === undefined
      ? ({ case: "group", value: group } as const)
      : ({ case: "consumer", value: consumer } as const);
  const asked = wireInteger(position, "position");
  // Each attempt waits as long as possible, so that the client does not poll.
  const reached = await answered(context, options, ({ timeoutMs, signal }) => {
    const timeout = wireDuration(Math.min(timeoutMs, waitMsMax), "timeoutMs");
    return context.checkpoints.waitFor(
      { who, position: asked, timeout, epoch },
      { timeoutMs, signal },
    );
  });
  return safeInteger(reached.position);
}

export function wireCheckpoint({
  consumer,
  position,
  metadata = {},
  epoch = "",
  source = "",
}: CheckpointUpdate) {
  const at = wireInteger(position, "position");
  return { consumer, position: at, metadata: { ...metadata }, epoch, source };
}

function wireExpectedCheckpoint(expect: SaveOptions["expect"]) {
  if (expect === undefined) return { case: undefined } as const;
  if (expect === "absent") return { case: "expectedAbsent", value: true } as const;
  return { case: "expectedPosition", value: wireInteger(expect, "expect") } as const;
}

function checkpointOf(wire: ConsumerCheckpoint | undefined): StoredCheckpoint {
  if (wire === undefined) throw new ServerError("an answer without a checkpoint", "INTERNAL", {});
  const { consumer, metadata, epoch, source } = wire;
  const position = safeInteger(wire.position);
  return { consumer, position, source, epoch, savedAt: dateOf(wire.savedAt), metadata };
}
