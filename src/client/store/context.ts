// What every verb of the client works with: the calls, the patience, the store's identity.

import { once } from "node:events";
import type { CheckpointService } from "../../gen/annals/v1/checkpoint_service_pb.js";
import type { ConsumerGroupService } from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import type { Connection } from "../rpc/connection.ts";
import type { CallOptions, ServiceClient } from "../rpc/service-client.ts";
import { storeErrorOf } from "./call-failure.ts";
import { StoreReplacedError, UnavailableError } from "./errors.ts";
import { patiently, type RetryPolicy } from "./retry.ts";

/** The contract's own methods, a call each, without retries. */
export type StoreRpc = ServiceClient<(typeof EventStoreService)["method"]>;

export interface Context {
  readonly connection: Connection;
  readonly rpc: StoreRpc;
  readonly checkpoints: ServiceClient<(typeof CheckpointService)["method"]>;
  readonly groups: ServiceClient<(typeof ConsumerGroupService)["method"]>;
  readonly retry: RetryPolicy;
  /** For one operation with one answer, all attempts together. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
  /** For the first connection: until there was one, nothing is waited for longer than this. */
  readonly connectTimeoutMs: number;
  /** Of the store this client talks to, as soon as it is known. */
  readonly identity: StoreIdentity;
  /** By stream, up to which version it was deleted, as far as that was met: it only ever rises. */
  readonly deletedThrough: Map<string, bigint>;
}

export interface OperationOptions {
  /** Ends it; it then fails with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
  /** Gives up (`TIMED_OUT`, `UNAVAILABLE` ...) after so long. Absent: the client's own. */
  readonly timeoutMs?: number | undefined;
}

/** A call with one answer, made again while that may help. */
export async function answered<T>(
  context: Context,
  options: OperationOptions,
  attempt: (options: { timeoutMs: number; signal: AbortSignal | undefined }) => Promise<T>,
): Promise<T> {
  await firstConnection(context, options);
  return patiently(attempt, {
    policy: context.retry,
    timeoutMs: options.timeoutMs ?? context.timeoutMs,
    attemptTimeoutMs: context.attemptTimeoutMs,
    signal: options.signal,
  });
}

type AskStoreId = (call: CallOptions) => Promise<string>;

/**
 * Positions mean something in one store only: a reader that goes on from a position makes sure that
 * the store behind the address is still the one the position was read from.
 */
export class StoreIdentity {
  private readonly ask: AskStoreId;
  private knownId: string | undefined;

  /** `known`: whose positions the caller holds already. */
  constructor(ask: AskStoreId, known?: string) {
    this.ask = ask;
    this.knownId = known;
  }

  get known(): string | undefined {
    return this.knownId;
  }

  /**
   * To be called once a call is answered and before its answer is believed: were the store replaced
   * between the two, it is the other one that answers here too.
   */
  async confirm(call: CallOptions): Promise<string> {
    const storeId = await this.ask(call).catch((error: unknown) => {
      throw storeErrorOf(error);
    });
    this.knownId ??= storeId;
    if (storeId !== this.knownId) throw new StoreReplacedError(this.knownId, storeId);
    return storeId;
  }
}

const lastTryMs = 500;

/**
 * Waits for the first connection, and fails soon where there is no server: what was reached before
 * is worth more patience than a wrong address.
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
    // It may be there by now; and if not, this call says why.
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

/** The identity that a reader with positions of its own must find again. */
export function identityFor(context: Context, storeId: string | undefined): StoreIdentity {
  if (storeId === undefined) return context.identity;
  return new StoreIdentity(storeIdOf(context.rpc, context.attemptTimeoutMs), storeId);
}

/** Asks the store who it is, for as long as one attempt may take or the call has left. */
export function storeIdOf(rpc: StoreRpc, attemptTimeoutMs: number): AskStoreId {
  return async ({ signal, timeoutMs = attemptTimeoutMs }) => {
    const call = { signal, timeoutMs: Math.min(timeoutMs, attemptTimeoutMs) };
    return (await rpc.getInfo({}, call)).storeId;
  };
}
