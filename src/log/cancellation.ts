// How a call ends after its client cancelled it or its deadline passed.

import { AnnalsError } from "../domain/errors.ts";

/** Called once when the caller no longer wants an answer. */
export interface CancelListener {
  handleEvent(): void;
}

/**
 * The part of an AbortSignal that an append needs. Creating an AbortSignal costs more than the rest
 * of a call's bookkeeping.
 */
export interface CancelSignal {
  /** The same for all calls of a connection: between these the log is fair. Absent: of nobody. */
  readonly connection?: object;
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: CancelListener, options?: { once: true }): void;
  removeEventListener(type: "abort", listener: CancelListener): void;
}

/** The signal's reason if it is an AnnalsError (for example a deadline), otherwise CANCELLED. */
export function cancellation(signal: CancelSignal): AnnalsError {
  const reason: unknown = signal.reason;
  if (reason instanceof AnnalsError) return reason;
  return new AnnalsError({ reason: "CANCELLED" }, "the call was cancelled", reason);
}
