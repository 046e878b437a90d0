// A walk through a range with one LevelDB iterator. A closed iterator keeps its last page until its
// JavaScript object is collected; one iterator per page would leave hundreds of megabytes to the
// garbage collector. An open iterator prevents LevelDB from deleting obsolete tables and write
// buffers. So the iterator is renewed after some pages, and closed while nobody asks for more.

import type { Level } from "level";
import type { Entry, KeyRange, Scan } from "./kv.ts";

type Database = Level<Buffer, Buffer>;
/** The methods of a `level` iterator that are used here. */
interface Iterator {
  nextv(count: number): Promise<[Buffer, Buffer][]>;
  close(): Promise<void>;
}

/** Pages read with one iterator before it is renewed. */
const pagesMax = 64;
const idleMsMax = 1_000;

export class LevelScan implements Scan {
  private readonly database: Database;
  private readonly range: KeyRange;
  private iterator: Iterator | undefined;
  private pages = 0;
  private reading = false;
  private ended = false;
  private last: Buffer | undefined;
  private idle: NodeJS.Timeout | undefined;

  constructor(database: Database, range: KeyRange) {
    this.database = database;
    this.range = range;
  }

  async next(): Promise<Entry[]> {
    if (this.ended) return [];
    this.reading = true;
    try {
      this.iterator ??= this.open();
      const entries = await this.iterator.nextv(this.range.limit);
      // Ended, or closed meanwhile.
      this.ended ||= entries.length === 0;
      this.last = entries.at(-1)?.[0] ?? this.last;
      this.pages++;
      if (this.ended || this.pages >= pagesMax) await this.release();
      else this.watch();
      return entries;
    } finally {
      this.reading = false;
    }
  }

  async close(): Promise<void> {
    this.ended = true;
    await this.release();
  }

  private open(): Iterator {
    this.pages = 0;
    const { first, last, bytesMax, fillCache } = this.range;
    const from = this.last === undefined ? { gte: first as Buffer } : { gt: this.last };
    const reading = { fillCache: fillCache ?? true, highWaterMarkBytes: bytesMax };
    return this.database.iterator({ ...from, lte: last as Buffer, ...reading } as object);
  }

  private async release(): Promise<void> {
    clearTimeout(this.idle);
    this.idle = undefined;
    const { iterator } = this;
    this.iterator = undefined;
    await iterator?.close();
  }

  private watch(): void {
    if (this.idle !== undefined) return void this.idle.refresh();
    this.idle = setTimeout(() => {
      this.idle = undefined;
      if (this.reading) this.watch();
      else void this.release().catch(() => {});
    }, idleMsMax);
    this.idle.unref();
  }
}
