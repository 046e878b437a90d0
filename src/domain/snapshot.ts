// A snapshot in domain words: a stream's state at a version. A cache, never truth.

/** What a client asks to save, checked against every limit. */
export interface NewSnapshot {
  readonly stream: string;
  /** Empty: the default kind. */
  readonly kind: string;
  /** The stream's version the state includes, from 1. */
  readonly version: number;
  readonly contentType: string;
  readonly data: Uint8Array;
  readonly metadata: Readonly<Record<string, string>>;
}

export interface Snapshot extends NewSnapshot {
  /** The position of the event at `version`. */
  readonly position: number;
  /** Microseconds since 1970, UTC. */
  readonly savedAt: number;
}
