// `client.checkpoints` and `client.waitFor`: how far named consumers and groups have got, kept by
// the server.

import type { ConsumerCheckpoint } from "../../gen/annals/v1/checkpoint_service_pb.js";
import { answered, type Context, type OperationOptions } from "./context.ts";
import { NotFoundError, ServerError } from "./errors.ts";
import type { ListOptions } from "./info.ts";
import { dateOf, safeInteger, wireDuration, wireInteger } from "./numbers.ts";

/** How far a consumer has got: every event up to the position is dealt with. */
export interface StoredCheckpoint {
  readonly consumer: string;
  readonly position: number;
  readonly savedAt: Date;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A checkpoint to be saved together with an append, in the same commit: both, or neither. */
export interface CheckpointUpdate {
  readonly consumer: string;
  /** Beyond the one saved before, else the append is refused (`CHECKPOINT_BACKWARDS`). */
  readonly position: number;
  readonly metadata?: Readonly<Record<string, string>> | undefined;
}

export interface SaveOptions extends OperationOptions {
  readonly metadata?: Readonly<Record<string, string>> | undefined;
  /** Also backwards: the consumer begins anew from there. */
  readonly reset?: boolean | undefined;
}

export interface Checkpoints {
  /** A `PreconditionError` (`CHECKPOINT_BACKWARDS`) where it is behind the one saved before. */
  save(consumer: string, position: number, options?: SaveOptions): Promise<StoredCheckpoint>;
  /** Undefined: it never saved one. */
  get(consumer: string, options?: OperationOptions): Promise<StoredCheckpoint | undefined>;
  list(options?: ListOptions): AsyncIterable<StoredCheckpoint>;
  /** Whether there was one. */
  delete(consumer: string, options?: OperationOptions): Promise<boolean>;
}

/** Whom to wait for. */
export type Waited =
  | { readonly consumer: string; readonly group?: undefined }
  | { readonly group: string; readonly consumer?: undefined };

const pageSize = 500;

export function checkpointsOf(context: Context): Checkpoints {
  const { checkpoints: rpc } = context;
  return {
    async save(consumer, position, options = {}) {
      const { metadata = {}, reset = false } = options;
      const request = { ...wireCheckpoint({ consumer, position, metadata }), reset };
      const answer = await answered(context, options, (call) => rpc.saveCheckpoint(request, call));
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
      return (await answered(context, options, (call) => rpc.deleteCheckpoint(request, call)))
        .deleted;
    },
  };
}

/** The longest one request to wait may ask for. */
const waitMsMax = 3_600_000;

/** Resolves with where it is once it has got there. */
export async function waitFor(
  context: Context,
  { consumer, group }: Waited,
  position: number,
  options: OperationOptions,
): Promise<number> {
  const who =
    consumer === undefined
      ? ({ case: "group", value: group } as const)
      : ({ case: "consumer", value: consumer } as const);
  const asked = wireInteger(position, "position");
  // An attempt waits as long as it may: the server looks, not the client again and again.
  const reached = await answered(context, options, ({ timeoutMs, signal }) => {
    const timeout = wireDuration(Math.min(timeoutMs, waitMsMax), "timeoutMs");
    return context.checkpoints.waitFor({ who, position: asked, timeout }, { timeoutMs, signal });
  });
  return safeInteger(reached.position);
}

export function wireCheckpoint({ consumer, position, metadata = {} }: CheckpointUpdate) {
  return { consumer, position: wireInteger(position, "position"), metadata: { ...metadata } };
}

function checkpointOf(wire: ConsumerCheckpoint | undefined): StoredCheckpoint {
  if (wire === undefined) throw new ServerError("an answer without a checkpoint", "INTERNAL", {});
  const { consumer, metadata } = wire;
  const position = safeInteger(wire.position);
  return { consumer, position, savedAt: dateOf(wire.savedAt), metadata };
}
