// What the rest of the index tells about events whose chunks are lost. A posting says which events
// of a chunk have a term; one of a stream often has their records too.

import { AnnalsError } from "../../../domain/errors.ts";
import { scanRecord } from "../../../domain/record.ts";
import { recordOf } from "../format/chunk.ts";
import {
  prefixId,
  prefixPosting,
  prefixTerm,
  readUint64,
  TermKind,
  type TermNumber,
  unseal,
} from "../format/keys.ts";
import { framesIn, openPosting, type Posting } from "../format/posting.ts";
import type { Entry, ReadableKv } from "../kv/kv.ts";
import { openScan } from "../kv/scan.ts";
import { openTermNumber } from "../state/terms.ts";
import type { Gap } from "./salvage-log.ts";

const pageCount = 4_096;

/** What the index says of a lost event. */
export interface EventFacts {
  /** Empty: not known. */
  stream: string;
  version: number;
  type: string | undefined;
  readonly tags: string[];
}

export interface IndexRemains {
  /** By position: the framed records that postings have. */
  readonly recovered: ReadonlyMap<number, Uint8Array>;
  readonly facts: ReadonlyMap<number, EventFacts>;
  /** Positions of events with an entry for their id. */
  readonly idsFromClients: ReadonlySet<number>;
  /** Chunks that are lost: the first position of each, by the last one. */
  readonly chunks: ReadonlyMap<number, number>;
}

/** Gathers what concerns the gaps. */
export async function indexRemains(kv: ReadableKv, gaps: readonly Gap[]): Promise<IndexRemains> {
  const isLost = (position: number): boolean =>
    gaps.some(({ first, last }) => first <= position && position <= last);
  const postings: [TermNumber, Posting][] = [];
  const recovered = new Map<number, Uint8Array>();
  const facts = new Map<number, EventFacts>();
  const idsFromClients = new Set<number>();
  const chunks = new Map<number, number>();
  if (gaps.length > 0) {
    for await (const [key, value] of entriesUnder(kv, prefixPosting)) {
      const posting = isLost(readUint64(key, 9))
        ? opened(() => openPosting(key, value))
        : undefined;
      if (posting === undefined || !isLost(posting.chunkFirst)) continue;
      postings.push([readUint64(key, 1), posting]);
      chunks.set(posting.chunkLast, posting.chunkFirst);
      for (const frame of opened(() => framesIn(posting.records)) ?? []) {
        recovered.set(scanRecord(recordOf(frame)).position, frame);
      }
    }
    for await (const [key, value] of entriesUnder(kv, prefixId)) {
      const body = unseal(key, value);
      if (body && isLost(readUint64(body, 0))) idsFromClients.add(readUint64(body, 0));
    }
  }
  if (postings.length > 0) {
    const byTerm = new Map<TermNumber, Posting[]>();
    for (const [number, posting] of postings) {
      const some = byTerm.get(number);
      if (some) some.push(posting);
      else byTerm.set(number, [posting]);
    }
    for await (const [key, value] of entriesUnder(kv, prefixTerm)) {
      const number = opened(() => openTermNumber(key, value));
      const some = number === undefined ? undefined : byTerm.get(number);
      for (const posting of some ?? []) learn(facts, key, posting);
    }
  }
  return { recovered, facts, idsFromClients, chunks };
}

/** Adds what a posting of the term under the key says. */
function learn(facts: Map<number, EventFacts>, key: Uint8Array, posting: Posting): void {
  const kind = key[1];
  const name = Buffer.from(key.subarray(2)).toString("utf8");
  for (const [i, ordinal] of posting.ordinals.entries()) {
    const position = posting.chunkFirst + ordinal;
    const fact = facts.get(position) ?? { stream: "", version: 0, type: undefined, tags: [] };
    facts.set(position, fact);
    if (kind === TermKind.stream) {
      fact.stream = name;
      fact.version = posting.before + i + 1;
    } else if (kind === TermKind.type) fact.type = name;
    else if (kind === TermKind.tag) fact.tags.push(name);
  }
}

/** Undefined: what proves itself by its CRC makes no sense. */
function opened<T>(open: () => T): T | undefined {
  try {
    return open();
  } catch (error) {
    if (error instanceof AnnalsError || error instanceof RangeError) return undefined;
    throw error;
  }
}

/** All entries under a prefix. */
export async function* entriesUnder(kv: ReadableKv, prefix: number): AsyncGenerator<Entry> {
  const [first, last] = [Buffer.from([prefix]), Buffer.from([prefix + 1])];
  const scan = openScan(kv, { first, last, limit: pageCount });
  for (;;) {
    const entries = await scan.next();
    if (entries.length === 0) return;
    yield* entries;
  }
}
