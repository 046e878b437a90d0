// What the reason of a failure means for the caller: the one table for the SDK and the commands. It
// has every reason of the contract, and those that a client finds itself.

import type { CallReason } from "../rpc/call-error.ts";

export interface Outlook {
  /** The same request may succeed later without a change. */
  readonly isTransient: boolean;
  /** A failed append may be stored. */
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
  CHECKPOINT_CONFLICT: refused,
  GROUP_NOT_FOUND: refused,
  GROUP_EXISTS: refused,
  BEYOND_HEAD: refused,
  EPOCH_MISMATCH: refused,
  COPY_DIVERGED: refused,
  NOT_LEADER: refused,
  ANSWER_TOO_LARGE: refused,
  CORRUPTION: refused,
  UNIMPLEMENTED: refused,
  UNAUTHENTICATED: refused,
  PERMISSION_DENIED: refused,
  OVERLOADED: notYet,
  // Space becomes available when the store reclaims some or an operator acts. The server says how
  // long to wait.
  DISK_FULL: notYet,
  RECOVERING: notYet,
  STOPPING: notYet,
  // Nothing was sent.
  NO_CONNECTION: notYet,
  READ_OVERTAKEN: notYet,
  COPY_INCOMPLETE: notYet,
  GROUPS_ELSEWHERE: notYet,
  // The server states that the append had not reached the disk.
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
