// A first-in, first-out queue with constant-time operations.

export class Fifo<T> {
  private values: (T | undefined)[] = [];
  private first = 0;

  get size(): number {
    return this.values.length - this.first;
  }

  /** The next value. Undefined: there is none. */
  get head(): T | undefined {
    return this.values[this.first];
  }

  push(value: T): void {
    this.values.push(value);
  }

  shift(): T | undefined {
    if (this.first >= this.values.length) return undefined;
    const value = this.values[this.first];
    this.values[this.first++] = undefined;
    // Values are moved only when half of the array is free, so that each value is moved once on
    // average.
    if (this.first > 32 && this.first * 2 > this.values.length) {
      this.values = this.values.slice(this.first);
      this.first = 0;
    }
    return value;
  }

  clear(): void {
    this.values = [];
    this.first = 0;
  }
}
