// A Bloom filter: a set of names in little memory. It may report a name that was never added, but
// always reports a name that was. It tells which streams have no lifecycle if the lifecycles of all
// streams do not fit into memory.

import { keyedHash, randomKey } from "./known-keys.ts";

/** 2 MiB. With two million names, one in fifty other names is reported by mistake. */
const bitsLog2 = 24;
const mask = 2 ** bitsLog2 - 1;
const probes = 4;
const firstKey = randomKey();
const secondKey = randomKey();

export class NameFilter {
  private readonly bits = new Uint32Array(2 ** (bitsLog2 - 5));
  private words = new Int32Array(256);
  private bytes = Buffer.from(this.words.buffer);

  add(name: string): void {
    for (const bit of this.bitsOf(name)) {
      this.bits[bit >>> 5] = (this.bits[bit >>> 5] as number) | (1 << (bit & 31));
    }
  }

  /** False: the name was never added. */
  mayHave(name: string): boolean {
    return this.bitsOf(name).every(
      (bit) => (((this.bits[bit >>> 5] as number) >>> (bit & 31)) & 1) === 1,
    );
  }

  private bitsOf(name: string): number[] {
    const length = this.take(name);
    const first = keyedHash(firstKey, this.words, length);
    const step = keyedHash(secondKey, this.words, length);
    return Array.from({ length: probes }, (_, i) => (first + i * step) & mask);
  }

  /** Writes the name to the buffer that is hashed. Returns its number of words. */
  private take(name: string): number {
    // A UTF-16 unit takes at most three bytes.
    if (this.bytes.length < name.length * 3 + 8) {
      this.words = new Int32Array(name.length + 64);
      this.bytes = Buffer.from(this.words.buffer);
    }
    const size = this.bytes.write(name, 4);
    const length = 1 + ((size + 3) >>> 2);
    this.bytes.fill(0, 4 + size, length * 4);
    this.words[0] = size;
    return length;
  }
}
