// What a call says that ends early, before its answer is complete: as the error that its handler
// sees, and as its status.

import { AnnalsError } from "../../domain/errors.ts";
import { StatusCode, type CallStatus } from "./status.ts";

/** By the reason of the end. */
export interface EndWords {
  readonly CANCELLED: string;
  readonly DEADLINE_EXCEEDED: string;
}

export const unaryWords: EndWords = {
  CANCELLED: "the client cancelled the call before it took effect; nothing was stored",
  DEADLINE_EXCEEDED: "the call's deadline passed before it took effect; nothing was stored",
};

/** Used for a stream of answers, in which each answer that was sent stays valid. */
export const streamingWords: EndWords = {
  CANCELLED: "the client cancelled the call",
  DEADLINE_EXCEEDED: "the call's deadline passed; what was answered before holds",
};

/** The status of an append that is being written when its deadline passes. */
export const maybeStored: CallStatus = {
  code: StatusCode.DEADLINE_EXCEEDED,
  message: "the call's deadline passed; what was on its way to disk may be stored",
  details: [],
};

/** The end of a call that may have changed the store, but whose answer cannot be held. */
export function answerNotHeld(): AnnalsError {
  const message = "client_memory_bytes: the answer could not be held, and what it says may be done";
  return new AnnalsError({ reason: "OUTCOME_UNKNOWN" }, message);
}
