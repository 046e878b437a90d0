// What every operation of the client uses: the calls, the retry policy, the identity of the store.

import { once } from "node:events";
import type { CheckpointService } from "../../gen/annals/v1/checkpoint_service_pb.js";
import type { ConsumerGroupService } from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import type { Connection } from "../rpc/connection.ts";
import type { CallOptions, ServiceClient } from "../rpc/service-client.ts";
import { storeErrorOf } from "./call-failure.ts";
import { StoreReplacedError, UnavailableError } from "./errors.ts";
import { patiently, type Patience, type RetryPolicy } from "./retry.ts";

/** The methods of the contract, one call each, without retries. */
export type StoreRpc = ServiceClient<(typeof EventStoreService)["method"]>;

export interface Context {
  readonly connection: Connection;
  readonly rpc: StoreRpc;
  readonly checkpoints: ServiceClient<(typeof CheckpointService)["method"]>;
  readonly groups: ServiceClient<(typeof ConsumerGroupService)["method"]>;
  readonly retry: RetryPolicy;
  /** The time for one operation with one answer, all attempts together. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** The time for the first connection. Without one, no operation waits longer than this. */
  readonly connectTimeoutMs: number;
  /** The identity of the store, as soon as it is known. */
  readonly identity: StoreIdentity;
  /** By stream: up to which version it is known to be deleted. Only increases. */
  readonly deletedThrough: Map<string, bigint>;
}

export interface OperationOptions {
  /** Ends the operation, which then fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Gives up (`TIMED_OUT`, `UNAVAILABLE` ...) after this time. Absent: the client's own. */
  readonly timeoutMs?: number | undefined;
}

type Attempt<T> = (options: { timeoutMs: number; signal: AbortSignal | undefined }) => Promise<T>;

/** An idempotent call with one answer, retried while that may help. */
export async function answered<T>(
  context: Context,
  options: OperationOptions & Pick<Patience, "isIdempotent">,
  attempt: Attempt<T>,
): Promise<T> {
  await firstConnection(context, options);
  return patiently(attempt, {
    policy: context.retry,
    timeoutMs: options.timeoutMs ?? context.timeoutMs,
    attemptTimeoutMs: context.attemptTimeoutMs,
    isIdempotent: options.isIdempotent,
    signal: options.signal,
  });
}

/**
 * The same for a change that is not idempotent: made again only while it certainly had no effect.
 * The error says whether it may have had one (`mayHaveBeenStored`).
 */
export function changed<T>(
  context: Context,
  options: OperationOptions,
  attempt: Attempt<T>,
): Promise<T> {
  return answered(context, { ...options, isIdempotent: false }, attempt);
}

type AskStoreId = (call: CallOptions) => Promise<string>;

/**
 * Positions are valid in one store only. A reader that continues from a position checks that the
 * store at the address is still the one from which the position was read.
 */
export class StoreIdentity {
  private readonly ask: AskStoreId;
  private knownId: string | undefined;

  /** `known` is the identity of the store whose positions the caller already has. */
  constructor(ask: AskStoreId, known?: string) {
    this.ask = ask;
    this.knownId = known;
  }

  get known(): string | undefined {
    return this.knownId;
  }

  /**
   * Must be called after a call was answered and before the answer is used: if the store was
   * replaced in between, the other store answers here as well.
   */
  async confirm(call: CallOptions): Promise<string> {
    const storeId = await this.ask(call).catch((error: unknown) => {
      throw storeErrorOf(error);
    });
    this.knownId ??= storeId;
    if (storeId !== this.knownId) throw new StoreReplacedError(this.knownId, storeId);
    return storeId;
  }

  /** The messages of a call, each passed on once the store is confirmed. */
  async *confirmed<M>(messages: AsyncIterable<M>, options: () => CallOptions): AsyncGenerator<M> {
    let isConfirmed = false;
    for await (const message of messages) {
      if (!isConfirmed) await this.confirm(options());
      isConfirmed = true;
      yield message;
    }
  }
}

const lastTryMs = 500;

/**
 * Waits for the first connection, and fails soon if there is no server, because the address may be
 * wrong. A server that was reached before is retried for longer.
 */
export async function firstConnection(
  { connection, rpc, connectTimeoutMs }: Context,
  { signal, timeoutMs = connectTimeoutMs }: OperationOptions,
): Promise<void> {
  if (connection.wasConnected) return;
  const waitMs = Math.min(timeoutMs, connectTimeoutMs);
  if (await isReady(connection, waitMs, signal)) return;
  const message = `no server answers at ${connection.address}, for ${waitMs} ms`;
  let why = new UnavailableError(message, "UNREACHABLE", { mayHaveBeenStored: false });
  try {
    // The server may be available by now; if not, this call's error says why.
    await rpc.getInfo({}, { signal, timeoutMs: lastTryMs });
    return;
  } catch (caught) {
    signal?.throwIfAborted();
    const error = storeErrorOf(caught);
    if (error instanceof UnavailableError && !error.mayHaveBeenStored) why = error;
  }
  throw why;
}

/** Whether there is a connection before the time is over. Throws the signal's reason. */
async function isReady(
  connection: Connection,
  timeoutMs: number,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  signal?.throwIfAborted();
  const ready = connection.ready(timeoutMs).then(
    () => true,
    () => false,
  );
  if (signal === undefined) return ready;
  const over = new AbortController();
  const aborted = once(signal, "abort", { signal: over.signal }).catch(() => {});
  const first = await Promise.race([ready, aborted]);
  over.abort();
  signal.throwIfAborted();
  return first === true;
}

/** The identity that a reader with positions must find again. */
export function identityFor(context: Context, storeId: string | undefined): StoreIdentity {
  if (storeId === undefined) return context.identity;
  return new StoreIdentity(storeIdOf(context.rpc, context.attemptTimeoutMs), storeId);
}

/**
 * Asks the store for its identity, within the time of one attempt or what is left of the call's.
 */
export function storeIdOf(rpc: StoreRpc, attemptTimeoutMs: number): AskStoreId {
  return async ({ signal, timeoutMs = attemptTimeoutMs }) => {
    const call = { signal, timeoutMs: Math.min(timeoutMs, attemptTimeoutMs) };
    return (await rpc.getInfo({}, call)).storeId;
  };
}
