// A heap of values by number, the least first. An entry may become invalid after it was added: the
// caller checks each entry, and rebuilds the heap when too many are invalid.

interface Entry<T> {
  readonly at: number;
  readonly value: T;
}

export class MinHeap<T> {
  private entries: Entry<T>[] = [];

  get size(): number {
    return this.entries.length;
  }

  get top(): Entry<T> | undefined {
    return this.entries[0];
  }

  push(at: number, value: T): void {
    const entry = { at, value };
    const { entries } = this;
    let place = entries.length;
    entries.push(entry);
    while (place > 0) {
      const parent = (place - 1) >> 1;
      const above = entries[parent] as Entry<T>;
      if (above.at <= at) break;
      entries[place] = above;
      place = parent;
    }
    entries[place] = entry;
  }

  pop(): Entry<T> | undefined {
    const { entries } = this;
    const top = entries[0];
    const last = entries.pop();
    if (last !== undefined && entries.length > 0) this.sink(last);
    return top;
  }

  /** Keeps valid entries only. */
  retain(holds: (at: number, value: T) => boolean): void {
    const kept = this.entries.filter(({ at, value }) => holds(at, value));
    this.entries = [];
    for (const { at, value } of kept) this.push(at, value);
  }

  clear(): void {
    this.entries = [];
  }

  private sink(entry: Entry<T>): void {
    const { entries } = this;
    let place = 0;
    for (;;) {
      let child = 2 * place + 1;
      if (child >= entries.length) break;
      const [left, right] = [entries[child] as Entry<T>, entries[child + 1]];
      if (right !== undefined && right.at < left.at) child++;
      const lesser = entries[child] as Entry<T>;
      if (lesser.at >= entry.at) break;
      entries[place] = lesser;
      place = child;
    }
    entries[place] = entry;
  }
}
