// The slice of LevelDB the engine stands on: ordered keys, one atomic synced write at a time, short
// ranges. A seam inside this folder, so that the engine also runs in memory and over a simulated
// disk; nothing above the folder knows it.

export type Entry = readonly [key: Uint8Array, value: Uint8Array];

/** A range of keys. Both bounds are inclusive. */
export interface KeyRange {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly reverse?: boolean;
  /** At most this many entries. */
  readonly limit: number;
  /** Stop soon after this many bytes. Absent: 512 KiB. */
  readonly bytesMax?: number;
  /** False: the read is a scan and should not push hot blocks out of the cache. */
  readonly fillCache?: boolean;
  /** True: the values are not wanted, and need not be what is stored. */
  readonly keysOnly?: boolean;
}

/** A key and what is put under it; undefined: the key is deleted. */
export type Operation = readonly [key: Uint8Array, value: Uint8Array | undefined];

/** A walk through a range. Whoever opened it closes it. */
export interface Scan {
  /** The next entries, as of now or as of an earlier page; none at the end. One call at a time. */
  next(): Promise<Entry[]>;
  close(): Promise<void>;
}

export interface ReadableKv {
  /** The values of the keys, in their order; undefined where a key is not there. */
  getMany(keys: Uint8Array[]): Promise<(Uint8Array | undefined)[]>;
  /**
   * Some of the entries of a range, in its order: none only if there is none. Fewer than
   * `limit`, of fewer than half of `bytesMax` bytes: there are no more.
   */
  page(range: KeyRange): Promise<Entry[]>;
  /** Forwards, in pages of about `bytesMax`. Absent: by `page` (see scan.ts). */
  scan?(range: KeyRange): Scan;
}

export interface Kv extends ReadableKv {
  /** All of it or nothing; resolves once it is durable. One write at a time. */
  write(operations: readonly Operation[]): Promise<void>;
  /** Moves everything from the write-ahead log into tables, so that the next start is quick. */
  flush(): Promise<void>;
  /** Gives back the space of what was replaced or deleted in a range. Both bounds are inclusive. */
  compact(first: Uint8Array, last: Uint8Array): Promise<void>;
  close(): Promise<void>;
}
