// The part of LevelDB that the engine uses: ordered keys, one atomic synced write at a time, short
// ranges. The interface lets the engine also run in memory and over a simulated disk. Nothing
// outside the LevelDB folder knows it.

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** A range of keys. Both bounds are inclusive. */
export interface KeyRange {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly reverse?: boolean;
  /** At most this many entries. */
  readonly limit: number;
  /** Stop soon after this many bytes of entries. Absent: 512 KiB. */
  readonly bytesMax?: number;
  /** False: the read is a scan and does not displace hot blocks in the cache. */
  readonly fillCache?: boolean;
  /** True: the values are not needed and may differ from the stored ones. */
  readonly keysOnly?: boolean;
}

/** A key and the value to store under it. Undefined: the key is deleted. */
export type Operation = readonly [key: Uint8Array, value: Uint8Array | undefined];

/** A walk through a range. The caller that opened it closes it. */
export interface Scan {
  /** The next entries, as of now or as of an earlier page. Empty at the end. One call at a time. */
  next(): Promise<Entry[]>;
  close(): Promise<void>;
}

export interface ReadableKv {
  /** The values of the keys, in the order of the keys. Undefined for a key that is not there. */
  getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * The value of a key, at once. "later": that may take long, and the other methods leave the main
   * thread. Absent: they always do.
   */
  readonly getNow?: (key: Uint8Array) => Uint8Array | undefined | "later";
  /**
   * Entries of the range, in its order; empty only if the range has none. A page with fewer than
   * `limit` entries and less than half of `bytesMax` is the last one.
   */
  page(range: KeyRange): Promise<Entry[]>;
  /** A forward walk in pages of about `bytesMax`. Absent: implemented by `page` (see scan.ts). */
  scan?(range: KeyRange): Scan;
}

export interface Kv extends ReadableKv {
  /**
   * Present: the database is open for reading only, and needs this much free space to be opened for
   * writing.
   */
  readonly neededBytes?: number;
  /**
   * A forward walk through the range as it is now, whatever is written meanwhile. Absent: nothing
   * is written, or no copies are made.
   */
  readonly frozen?: (range: KeyRange) => Scan;
  /** For checks: the database with what others avoid. Absent: nothing is avoided. */
  readonly whole?: ReadableKv;
  /** Writes all operations or none, and resolves when they are durable. One write at a time. */
  write(operations: readonly Operation[]): Promise<void>;
  /** Moves the contents of the write-ahead log into tables, so that the next start is quick. */
  flush(): Promise<void>;
  /** Reclaims the space of replaced and deleted entries in a range. Both bounds are inclusive. */
  compact(first: Uint8Array, last: Uint8Array): Promise<void>;
  close(): Promise<void>;
}
