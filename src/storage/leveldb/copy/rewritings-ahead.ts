// Chunks that a copy got as a later removal has rewritten them. Such a chunk proves itself only
// when that removal comes: its event has the hash of the rewritten chunk, and is in the hash chain.

import { CopyRefused } from "../../copy.ts";
import { openChunk, presentHashOf, type Chunk } from "../format/chunk.ts";
import { chunkKey } from "../format/keys.ts";
import type { ReadableKv } from "../kv/kv.ts";
import { walkLog } from "../verify/log-walk.ts";
import type { FoundRemoval } from "./log-parts.ts";

const keysAtOnceMax = 64;

interface Arrived {
  readonly chunks: readonly Chunk[];
  readonly removals: readonly FoundRemoval[];
  /** Chunks that these removals have rewritten, which were checked against them. */
  readonly rewritten: ReadonlyMap<number, Chunk>;
  /** The last position, with these chunks. */
  readonly head: number;
}

/** `isSearched`: there may be some in the log. */
export async function rewritingsAhead(
  kv: ReadableKv,
  head: number,
  isSearched: boolean,
): Promise<RewritingsAhead> {
  const ahead = new RewritingsAhead(kv);
  if (!isSearched) return ahead;
  const found = (): void => {};
  for await (const { reclaimed } of walkLog(kv, { first: 1, last: head, found })) {
    if (reclaimed !== undefined && reclaimed.recordedIn > head) ahead.expect(reclaimed.recordedIn);
  }
  return ahead;
}

export class RewritingsAhead {
  private readonly kv: ReadableKv;
  /** How many chunks wait for the removal at a position. */
  private readonly expected = new Map<number, number>();

  constructor(kv: ReadableKv) {
    this.kv = kv;
  }

  /** The last position that is waited for. 0: none is. */
  get last(): number {
    let last = 0;
    for (const position of this.expected.keys()) last = Math.max(last, position);
    return last;
  }

  expect(position: number): void {
    this.expected.set(position, (this.expected.get(position) ?? 0) + 1);
  }

  /** Throws CopyRefused if a chunk is not what its removal made of it. */
  async check({ chunks, removals, rewritten, head }: Arrived): Promise<void> {
    const own = new Map<number, Chunk>();
    for (const chunk of chunks) {
      own.set(chunk.last, chunk);
      if (chunk.reclaimed === undefined || rewritten.has(chunk.last)) continue;
      this.expect(chunk.reclaimed.recordedIn);
    }
    for (const { position, chunks: recorded } of removals) {
      const lasts = [...recorded.keys()].filter((last) => !rewritten.has(last));
      const present = [
        ...lasts.flatMap((last) => own.get(last) ?? []),
        ...(await this.stored(lasts.filter((last) => !own.has(last)))),
      ];
      for (const chunk of present) {
        if (chunk.reclaimed?.recordedIn !== position) continue;
        const hash = recorded.get(chunk.last) as Uint8Array;
        if (Buffer.compare(hash, presentHashOf(chunk)) !== 0) throw refusal(chunk, position);
        this.expected.set(position, (this.expected.get(position) ?? 0) - 1);
      }
    }
    for (const [position, count] of this.expected) {
      if (position > head || count === 0) continue;
      throw new CopyRefused(`no removal at position ${position} rewrote what says so`);
    }
  }

  /** What is proved is forgotten. */
  settle(head: number): void {
    for (const position of this.expected.keys()) {
      if (position <= head) this.expected.delete(position);
    }
  }

  private async stored(lasts: readonly number[]): Promise<Chunk[]> {
    const chunks: Chunk[] = [];
    for (let at = 0; at < lasts.length; at += keysAtOnceMax) {
      const keys = lasts.slice(at, at + keysAtOnceMax).map(chunkKey);
      for (const [i, value] of (await this.kv.getMany(keys)).entries()) {
        if (value !== undefined) chunks.push(openChunk(keys[i] as Uint8Array, value));
      }
    }
    return chunks;
  }
}

function refusal({ first, last }: Chunk, position: number): CopyRefused {
  const what = `positions ${first} to ${last}`;
  return new CopyRefused(`${what} are not what the removal at position ${position} made of them`);
}
