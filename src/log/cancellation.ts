// What a call that was given up ends with.

import { AnnalsError } from "../domain/errors.ts";

/** The signal's reason where that is ours (a deadline, say), else CANCELLED. */
export function cancellation(signal: AbortSignal): AnnalsError {
  const reason: unknown = signal.reason;
  if (reason instanceof AnnalsError) return reason;
  return new AnnalsError({ reason: "CANCELLED" }, "the call was cancelled", reason);
}
