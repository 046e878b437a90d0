// The items of batches, one at a time, for `for await`. An async generator would wait three times
// for each item; here an item that is there takes one promise.

export class OneByOne<T> implements AsyncIterableIterator<T, undefined, undefined> {
  private readonly source: AsyncIterator<readonly T[]>;
  private batch: readonly T[] = [];
  private at = 0;
  /** Calls that wait for a batch, and the end of the last one: they are answered in order. */
  private waiting = 0;
  private last: Promise<unknown> = Promise.resolve();

  constructor(batches: AsyncIterable<readonly T[]>) {
    this.source = batches[Symbol.asyncIterator]();
  }

  next(): Promise<IteratorResult<T, undefined>> {
    const isThere = this.waiting === 0 && this.at < this.batch.length;
    return isThere ? Promise.resolve(this.taken()) : this.inOrder(() => this.fetched());
  }

  return(): Promise<IteratorResult<T, undefined>> {
    return this.inOrder(async () => {
      this.batch = [];
      await this.source.return?.();
      return { done: true, value: undefined };
    });
  }

  async throw(error: unknown): Promise<IteratorResult<T, undefined>> {
    await this.return();
    throw error;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }

  private inOrder<R>(run: () => Promise<R>): Promise<R> {
    this.waiting++;
    const running = this.last.then(async () => {
      try {
        return await run();
      } finally {
        this.waiting--;
      }
    });
    this.last = running.catch(() => {});
    return running;
  }

  private async fetched(): Promise<IteratorResult<T, undefined>> {
    while (this.at >= this.batch.length) {
      const next = await this.source.next();
      if (next.done === true) return { done: true, value: undefined };
      this.batch = next.value;
      this.at = 0;
    }
    return this.taken();
  }

  private taken(): IteratorResult<T, undefined> {
    return { done: false, value: this.batch[this.at++] as T };
  }
}
