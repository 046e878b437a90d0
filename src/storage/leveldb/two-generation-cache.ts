// A bounded cache with almost no upkeep: when the young generation is full it becomes the old one
// and the old one is dropped. What is used is carried over. Holds between one and two times its
// limit.

export class TwoGenerationCache<K, V> {
  private young = new Map<K, V>();
  private old = new Map<K, V>();
  private readonly countMax: number;

  /** `countMax` is the limit of one generation. */
  constructor(countMax: number) {
    this.countMax = countMax;
  }

  get(key: K): V | undefined {
    const value = this.young.get(key);
    if (value !== undefined) return value;
    const older = this.old.get(key);
    if (older !== undefined) this.set(key, older);
    return older;
  }

  set(key: K, value: V): void {
    if (this.young.size >= this.countMax) {
      this.old = this.young;
      this.young = new Map();
    }
    this.young.set(key, value);
  }

  clear(): void {
    this.young.clear();
    this.old.clear();
  }
}
