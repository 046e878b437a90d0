// Who is told of commits while they are made, for traces. The log knows no more of it than this.

export interface CommitEnd {
  readonly events: number;
  /** Undefined: the commit is durable. */
  readonly error?: unknown;
}

/** Must not throw or wait. */
export interface CommitObserver {
  /**
   * A commit begins for these callers: the signals that their appends came with. Returns what is
   * called at its end; undefined: nothing is.
   */
  committing(callers: Iterable<object | undefined>): ((end: CommitEnd) => void) | undefined;
}
