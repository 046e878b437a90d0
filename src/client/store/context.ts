// What every verb of the client works with: the calls, the patience, the store's identity.

import type { CheckpointService } from "../../gen/annals/v1/checkpoint_service_pb.js";
import type { ConsumerGroupService } from "../../gen/annals/v1/consumer_group_service_pb.js";
import type { EventStoreService } from "../../gen/annals/v1/event_store_service_pb.js";
import type { ServiceClient } from "../rpc/service-client.ts";
import { storeErrorOf } from "./call-failure.ts";
import { StoreReplacedError } from "./errors.ts";
import { patiently, type RetryPolicy } from "./retry.ts";

/** The contract's own methods, a call each, without retries. */
export type StoreRpc = ServiceClient<(typeof EventStoreService)["method"]>;

export interface Context {
  readonly rpc: StoreRpc;
  readonly checkpoints: ServiceClient<(typeof CheckpointService)["method"]>;
  readonly groups: ServiceClient<(typeof ConsumerGroupService)["method"]>;
  readonly retry: RetryPolicy;
  /** For one operation with one answer, all attempts together. */
  readonly timeoutMs: number;
  readonly attemptTimeoutMs: number;
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
export function answered<T>(
  context: Context,
  options: OperationOptions,
  attempt: (options: { timeoutMs: number; signal: AbortSignal | undefined }) => Promise<T>,
): Promise<T> {
  return patiently(attempt, {
    policy: context.retry,
    timeoutMs: options.timeoutMs ?? context.timeoutMs,
    attemptTimeoutMs: context.attemptTimeoutMs,
    signal: options.signal,
  });
}

type AskStoreId = (signal: AbortSignal | undefined) => Promise<string>;

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
  async confirm(signal: AbortSignal | undefined): Promise<string> {
    const storeId = await this.ask(signal).catch((error: unknown) => {
      throw storeErrorOf(error);
    });
    this.knownId ??= storeId;
    if (storeId !== this.knownId) throw new StoreReplacedError(this.knownId, storeId);
    return storeId;
  }
}

/** The identity that a reader with positions of its own must find again. */
export function identityFor(context: Context, storeId: string | undefined): StoreIdentity {
  if (storeId === undefined) return context.identity;
  const { rpc, attemptTimeoutMs: timeoutMs } = context;
  return new StoreIdentity(async (signal) => {
    return (await rpc.getInfo({}, { signal, timeoutMs })).storeId;
  }, storeId);
}
