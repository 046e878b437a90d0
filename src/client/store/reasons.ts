// What the reason of a failure means for the caller: the one table that the SDK and the commands go
// by. It has every reason of the contract, and those that a client finds without the server's word.

import type { CallReason } from "../rpc/call-error.ts";

export interface Outlook {
  /** The same request may succeed in a moment, without anybody changing anything. */
  readonly isTransient: boolean;
  /** An append that failed so may be in the store all the same. */
  readonly mayHaveBeenStored: boolean;
}

const refused: Outlook = { isTransient: false, mayHaveBeenStored: false };
const notYet: Outlook = { isTransient: true, mayHaveBeenStored: false };
const unknown: Outlook = { isTransient: true, mayHaveBeenStored: true };
const broken: Outlook = { isTransient: false, mayHaveBeenStored: true };

export const outlooks: Readonly<Record<CallReason, Outlook>> = {
  INVALID_FIELD: refused,
  APPEND_CONFLICT: refused,
  EVENT_ID_CONFLICT: refused,
  STREAM_NOT_FOUND: refused,
  STREAM_TOMBSTONED: refused,
  SNAPSHOT_NOT_FOUND: refused,
  SNAPSHOT_BEYOND_STREAM: refused,
  CHECKPOINT_NOT_FOUND: refused,
  CHECKPOINT_BACKWARDS: refused,
  GROUP_NOT_FOUND: refused,
  GROUP_EXISTS: refused,
  BEYOND_HEAD: refused,
  ANSWER_TOO_LARGE: refused,
  CORRUPTION: refused,
  UNIMPLEMENTED: refused,
  OVERLOADED: notYet,
  // Space comes back when the store reclaims some, or an operator does: the server says how long to
  // wait before the next attempt.
  DISK_FULL: notYet,
  RECOVERING: notYet,
  STOPPING: notYet,
  // Nothing was sent.
  NO_CONNECTION: notYet,
  READ_OVERTAKEN: notYet,
  // The server's own word that the append had not reached the disk.
  DEADLINE_EXCEEDED: notYet,
  CANCELLED: notYet,
  OUTCOME_UNKNOWN: unknown,
  UNREACHABLE: unknown,
  CUT_OFF: unknown,
  TIMED_OUT: unknown,
  STORE_FAILED: broken,
  INTERNAL: broken,
  NOT_SAID: broken,
};
