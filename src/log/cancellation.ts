// How a call ends that its client gave up or whose deadline passed.

import { AnnalsError } from "../domain/errors.ts";

/** Told once, when the caller does not want an answer any more. */
export interface CancelListener {
  handleEvent(): void;
}

/** What of an AbortSignal an append needs; making one of those costs more than the rest. */
export interface CancelSignal {
  readonly aborted: boolean;
  readonly reason: unknown;
  addEventListener(type: "abort", listener: CancelListener, options?: { once: true }): void;
  removeEventListener(type: "abort", listener: CancelListener): void;
}

/** The signal's reason where that is ours (a deadline, say), else CANCELLED. */
export function cancellation(signal: CancelSignal): AnnalsError {
  const reason: unknown = signal.reason;
  if (reason instanceof AnnalsError) return reason;
  return new AnnalsError({ reason: "CANCELLED" }, "the call was cancelled", reason);
}
