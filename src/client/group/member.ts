// A member that survives its connection: after a break it joins again. Events that it held then are
// delivered again, to it or to others.

import { isWorthRetrying, storeErrorOf } from "../store/call-failure.ts";
import { UnavailableError } from "../store/errors.ts";
import { delayAfter, pause, type RetryPolicy } from "../store/retry.ts";
import type { Interruption } from "../store/subscribe.ts";
import { MemberCall, type GroupRpc, type Held, type Membership } from "./member-call.ts";

export interface MemberOptions {
  readonly rpc: GroupRpc;
  readonly membership: Membership;
  readonly retry: RetryPolicy;
  /** Ends it at once. */
  readonly signal?: AbortSignal | undefined;
  /** Ends it in order: no more deliveries are taken, and those that were taken are waited for. */
  readonly leaving?: Leaving | undefined;
  readonly onInterruption?: ((interruption: Interruption) => void) | undefined;
}

export interface Leaving {
  readonly signal: AbortSignal;
  readonly settled: () => Promise<unknown>;
}

/**
 * Deliveries without an end. Leaving the loop ends the membership in order, after settlements are
 * answered. The signal ends it at once with its own reason.
 */
export async function* deliveriesOf(options: MemberOptions): AsyncGenerator<Held, void, undefined> {
  const { rpc, membership, retry, signal, leaving, onInterruption } = options;
  const isLeaving = (): boolean => leaving?.signal.aborted === true;
  let wasConnected = false;
  for (let failures = 0; !isLeaving();) {
    signal?.throwIfAborted();
    const call = new MemberCall(rpc, membership, signal);
    const interrupt = () => call.interrupt();
    leaving?.signal.addEventListener("abort", interrupt);
    try {
      for (let held; (held = await call.next()) !== undefined;) yield held;
      if (isLeaving()) return void (await leaving?.settled());
      throw new UnavailableError("the call was cut off", "UNREACHABLE");
    } catch (caught) {
      signal?.throwIfAborted();
      const error = storeErrorOf(caught);
      if (call.joined) {
        wasConnected = true;
        failures = 0;
      }
      failures += 1;
      const givesUp = !wasConnected && failures >= retry.attemptsMax;
      if (givesUp || !isWorthRetrying(error)) throw error;
      const delayMs = delayAfter(retry, failures, error);
      onInterruption?.({ error, failures, delayMs });
      await pauseBefore(delayMs, signal, leaving?.signal);
    } finally {
      leaving?.signal.removeEventListener("abort", interrupt);
      await call.finish();
    }
  }
}

/** Throws the signal's reason. Leaving only ends the wait. */
async function pauseBefore(
  ms: number,
  signal: AbortSignal | undefined,
  leaving: AbortSignal | undefined,
): Promise<void> {
  const either = [signal, leaving].filter((one) => one !== undefined);
  try {
    await pause(ms, either.length === 0 ? undefined : AbortSignal.any(either));
  } catch (error) {
    signal?.throwIfAborted();
    if (leaving?.aborted !== true) throw error;
  }
}
