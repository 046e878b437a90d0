// A read model in memory, for tests and for models that are rebuilt at every start. Its tables keep
// a journal during a transaction, so that a failed one leaves no trace.

import { sameCheckpoint } from "./read-model.ts";
import type { ParkedEvent, ProjectionCheckpoint, ReadModel } from "./read-model.ts";

/** Rows by key. Replace rows instead of changing them: a change inside a row cannot be undone. */
export class MemoryTable<Key, Row> implements Journaled {
  private readonly storedRows = new Map<Key, Row>();
  private undo: (() => void)[] | undefined;

  get(key: Key): Row | undefined {
    return this.storedRows.get(key);
  }

  has(key: Key): boolean {
    return this.storedRows.has(key);
  }

  get size(): number {
    return this.storedRows.size;
  }

  rows(): IterableIterator<readonly [Key, Row]> {
    return this.storedRows.entries();
  }

  set(key: Key, row: Row): void {
    this.remember(key);
    this.storedRows.set(key, row);
  }

  delete(key: Key): void {
    this.remember(key);
    this.storedRows.delete(key);
  }

  clear(): void {
    for (const key of this.storedRows.keys()) this.delete(key);
  }

  /** Used by the read model. */
  begin(): void {
    this.undo = [];
  }

  end(keep: boolean): void {
    const undo = this.undo ?? [];
    this.undo = undefined;
    if (!keep) for (const step of undo.toReversed()) step();
  }

  private remember(key: Key): void {
    const row = this.storedRows.get(key);
    const had = this.storedRows.has(key);
    this.undo?.push(() => {
      if (had) this.storedRows.set(key, row as Row);
      else this.storedRows.delete(key);
    });
  }
}

/** Objects that take part in a transaction, such as `MemoryTable`. */
export interface Journaled {
  begin(): void;
  end(keep: boolean): void;
}

/** Handlers get the tables and are synchronous, so that no reader sees half a transaction. */
export function memoryReadModel<Tables extends Readonly<Record<string, Journaled>>>(
  tables: Tables,
): ReadModel<Tables> {
  const checkpoints = new Map<string, ProjectionCheckpoint>();
  const parked = new Map<string, ParkedEvent[]>();
  return {
    checkpoint: async (projection) => checkpoints.get(projection),
    async commit(projection, { expected, next, apply, park, unpark, unparkAll }) {
      if (!sameCheckpoint(checkpoints.get(projection), expected)) return false;
      const all: readonly Journaled[] = Object.values(tables);
      for (const table of all) table.begin();
      let applied = false;
      try {
        if (apply(tables) !== undefined) {
          throw new TypeError("handlers of a read model in memory are synchronous");
        }
        applied = true;
      } finally {
        for (const table of all) table.end(applied);
      }
      const kept = (parked.get(projection) ?? []).filter(({ position }) => position !== unpark);
      const events = unparkAll === true ? [] : kept;
      parked.set(projection, park === undefined ? events : [...events, park]);
      checkpoints.set(projection, next);
      return true;
    },
    parked: async (projection) => parked.get(projection) ?? [],
    isTransient: () => false,
  };
}
