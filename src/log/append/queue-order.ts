// The order of the append queue: by client, each a little at a time. Entries of one client keep
// their order. A client that had nothing in the queue comes before those that fill it, for a few
// KiB: so an append of 200 bytes is in the next commit, whatever others write.
// Source: RFC 8290, section 4.1, which does the same for packets (new and old flows).

/** What a client that had nothing in the queue may put into a commit before all others. */
export const freshBytes = 16 * 1024;
/** What each of the others may put into it before the next one. */
const quantumBytes = 64 * 1024;

interface Entry {
  readonly client: object;
  readonly bytes: number;
}

interface Line<E> {
  readonly entries: Set<E>;
  /** The rest of what it may take in its turn. */
  creditBytes: number;
}

type Lines<E> = Map<object, Line<E>>;

export class QueueOrder<E extends Entry> {
  /** Clients that came to an empty line, and those that have had a turn since. */
  private readonly fresh: Lines<E> = new Map();
  private readonly old: Lines<E> = new Map();
  /** The number of entries. */
  size = 0;

  /** Whether anything of the client waits. */
  has(client: object): boolean {
    return this.fresh.has(client) || this.old.has(client);
  }

  add(entry: E): void {
    const { client } = entry;
    let line = this.fresh.get(client) ?? this.old.get(client);
    if (line === undefined) {
      line = { entries: new Set(), creditBytes: freshBytes };
      this.fresh.set(client, line);
    }
    line.entries.add(entry);
    this.size++;
  }

  /** Removes an entry, wherever it is in its line. */
  delete(entry: E): void {
    const { client } = entry;
    const lines = this.fresh.has(client) ? this.fresh : this.old;
    const line = lines.get(client);
    if (line === undefined || !line.entries.delete(entry)) return;
    this.size--;
    if (line.entries.size === 0) lines.delete(client);
  }

  /** The next entry. Undefined: there is none. `delete` must follow before the next call. */
  next(): E | undefined {
    for (;;) {
      const lines = this.fresh.size > 0 ? this.fresh : this.old;
      const [first] = lines;
      if (first === undefined) return undefined;
      const [client, line] = first;
      const [entry] = line.entries;
      const isAlone = this.fresh.size + this.old.size === 1;
      if (entry !== undefined && (isAlone || line.creditBytes >= entry.bytes)) {
        return entry;
      }
      // The line goes behind the others, with the credit of its next turn.
      line.creditBytes += quantumBytes;
      lines.delete(client);
      this.old.set(client, line);
    }
  }

  /** An entry that `next` answered is taken. */
  take(entry: E): void {
    const line = this.fresh.get(entry.client) ?? this.old.get(entry.client);
    if (line !== undefined) line.creditBytes = Math.max(0, line.creditBytes - entry.bytes);
    this.delete(entry);
  }
}
