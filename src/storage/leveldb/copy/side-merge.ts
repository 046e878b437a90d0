// Compares all side values of another store, which come in the order of their keys, with those that
// are here: what differs becomes operations.

import { isCopyState } from "../format/keys.ts";
import type { Entry, Operation, Scan } from "../kv/kv.ts";

export class SideMerge {
  operations: Operation[] = [];
  bytes = 0;
  private readonly scan: Scan;
  private page: readonly Entry[] = [];
  private at = 0;
  private ended = false;

  /** Of all side values that are here. */
  constructor(scan: Scan) {
    this.scan = scan;
  }

  async add(key: Uint8Array, value: Uint8Array): Promise<void> {
    let here = await this.present();
    while (here !== undefined && Buffer.compare(here[0], key) < 0) {
      this.put([here[0], undefined]);
      this.at++;
      here = await this.present();
    }
    const isHere = here !== undefined && Buffer.compare(here[0], key) === 0;
    if (isHere) this.at++;
    if (!isHere || Buffer.compare(here?.[1] as Uint8Array, value) !== 0) this.put([key, value]);
  }

  /** Nothing more comes: what is left here is deleted. */
  async finish(): Promise<void> {
    for (let here; (here = await this.present()) !== undefined; this.at++) {
      this.put([here[0], undefined]);
    }
    await this.scan.close();
  }

  /** The operations so far, which are then forgotten. */
  take(): Operation[] {
    const { operations } = this;
    this.operations = [];
    this.bytes = 0;
    return operations;
  }

  private async present(): Promise<Entry | undefined> {
    for (;;) {
      const entry = this.page[this.at];
      if (entry !== undefined && !isCopyState(entry[0])) return entry;
      if (entry !== undefined) this.at++;
      else if (this.ended) return undefined;
      else {
        this.page = await this.scan.next();
        this.at = 0;
        this.ended = this.page.length === 0;
      }
    }
  }

  private put(operation: Operation): void {
    this.operations.push(operation);
    this.bytes += operation[0].length + (operation[1]?.length ?? 0);
  }
}
