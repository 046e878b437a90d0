// What is known of event types: from the dictionary, less the events that are removed. The postings
// of a type count every event there ever was; how many of them are gone is counted here, stream by
// stream, only as far as it is not counted yet.

import { corruption } from "../../../domain/errors.ts";
import { firstVersion, type Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { recordsIn, scanPlacement, scanRecord } from "../../../domain/record.ts";
import type { EventTypeFacts, NamePage, Range, StorageRead } from "../../storage.ts";
import { recordOf } from "../format/chunk.ts";
import { timeOf, type OpenStore } from "../state/open-store.ts";
import { indexRead, type IndexRead } from "./index-read.ts";
import { TermKind } from "../format/keys.ts";
import { namesWithPrefix } from "./names.ts";
import { firstPosition } from "../format/posting.ts";
import { firstPostingFrom } from "./postings.ts";
import { readEvents } from "./read.ts";
import { Visibility } from "./visibility.ts";
import { streamFacts } from "./stream-facts.ts";
import type { TermHead } from "../state/term-table.ts";

const countBatchBytes = 256 * 1024;

/** The first and last event of a type that were left when somebody last looked. */
interface Edges {
  readonly first: number;
  readonly last: number;
  /** The head then. */
  readonly through: number;
}

/** What was counted of a stream. */
interface Counted {
  readonly through: number;
  readonly lifecycle: Lifecycle;
  /** Nothing more of it is gone by age before this time. */
  readonly quietUntil: number;
}

/** Removed events by type. Begins anew where the clock is set back: some may be left again. */
export class RemovedTypes {
  private readonly counts = new Map<string, number>();
  private readonly counted = new Map<string, Counted>();
  private readonly edges = new Map<string, Edges>();
  private countedAt = 0;
  private last: Promise<unknown> = Promise.resolve();

  async list(store: OpenStore, page: NamePage): Promise<EventTypeFacts[]> {
    const turn = this.last.then(() => this.listNow(store, page));
    this.last = turn.catch(() => {});
    return turn;
  }

  private async listNow(store: OpenStore, page: NamePage): Promise<EventTypeFacts[]> {
    const head = store.head.position;
    await this.count(store);
    const found: EventTypeFacts[] = [];
    let { after } = page;
    while (found.length < page.limit) {
      const names = await namesWithPrefix(store, TermKind.type, { ...page, after }, head);
      const terms = names.map((name) => ({ kind: TermKind.type, name }));
      const heads = await store.terms.load(store.kv, terms, head);
      for (const [i, type] of names.entries()) {
        const facts = await this.factsOf(store, type, heads[i] as TermHead, head);
        if (facts !== undefined && found.length < page.limit) found.push(facts);
      }
      if (names.length < page.limit) break;
      after = names.at(-1) as string;
    }
    return found;
  }

  private async factsOf(
    store: OpenStore,
    type: string,
    term: TermHead,
    head: number,
  ): Promise<EventTypeFacts | undefined> {
    const removed = this.counts.get(type) ?? 0;
    const eventCount = term.count - removed;
    if (removed === 0) {
      return {
        type,
        eventCount,
        firstPosition: await firstOf(store, term),
        lastPosition: term.last,
      };
    }
    if (eventCount <= 0) return undefined;
    const known = this.edges.get(type) ?? { first: 1, last: 0, through: 0 };
    const first = await edgeOf(store, type, "forwards", { first: known.first, last: head }, head);
    const later = { first: known.through + 1, last: head };
    const last =
      (await edgeOf(store, type, "backwards", later, head)) ||
      (await edgeOf(store, type, "backwards", { first: 1, last: known.last }, head));
    if (first === 0 || last === 0) return undefined;
    this.edges.set(type, { first, last, through: head });
    return { type, eventCount, firstPosition: first, lastPosition: last };
  }

  /** Counts what is gone of every stream of the book since it was last counted. */
  private async count(store: OpenStore): Promise<void> {
    const now = timeOf(store);
    if (now < this.countedAt) {
      for (const known of [this.counts, this.counted, this.edges]) known.clear();
    }
    this.countedAt = now;
    for (const stream of store.lifecycles.streams()) {
      const entry = store.lifecycles.get(stream);
      if (entry === undefined) continue;
      const { lifecycle, version } = entry;
      const known = this.counted.get(stream);
      const isQuiet = known?.lifecycle === lifecycle && now < known.quietUntil;
      if (isQuiet && firstVersion(lifecycle, version) <= known.through + 1) continue;
      await this.countStream(store, stream, known?.through ?? 0);
    }
  }

  private async countStream(store: OpenStore, stream: string, from: number): Promise<void> {
    const { position: head, recordedAt } = store.head;
    const facts = await streamFacts(store, stream);
    const lifecycle = facts?.lifecycle;
    if (facts === undefined || lifecycle === undefined) return;
    const { eventCount, version } = facts;
    const through = Math.max(from, version - eventCount);
    const versions = { first: from + 1, last: through };
    for (const [type, count] of await countTypes(store, stream, versions, head))
      this.counts.set(type, (this.counts.get(type) ?? 0) + count);
    const { maxAge = Infinity } = lifecycle.policy;
    // What comes next is recorded no earlier than the head.
    const quietUntil = (eventCount > 0 ? facts.firstRecordedAt : recordedAt) + maxAge;
    this.counted.set(stream, { through, lifecycle, quietUntil });
  }
}

/** How many of a stream's events, of these versions, are of which type. */
async function countTypes(
  store: OpenStore,
  stream: string,
  versions: Range,
  head: number,
): Promise<Map<string, number>> {
  const counts = new Map<string, number>();
  if (versions.first > versions.last) return counts;
  const read: IndexRead = {
    selection: { kind: "stream", stream },
    direction: "forwards",
    positions: { first: 1, last: head },
    versions,
    withRemoved: true,
    withSystemEvents: true,
    batchBytes: countBatchBytes,
  };
  const terms = await store.terms.load(store.kv, [{ kind: TermKind.stream, name: stream }], head);
  for await (const { frames } of indexRead(store, read, terms, head, new Visibility(store, read))) {
    for (const run of frames) {
      for (const record of recordsIn(run)) {
        const { type } = scanRecord(record);
        counts.set(type, (counts.get(type) ?? 0) + 1);
      }
    }
  }
  return counts;
}

/** The first event of a type, in a direction, that is left as of `head`; 0: none is. */
async function edgeOf(
  store: OpenStore,
  type: string,
  direction: StorageRead["direction"],
  positions: Range,
  head: number,
): Promise<number> {
  const item = { streams: [], streamPrefixes: [], types: [type], tags: [] };
  const read: StorageRead = {
    selection: { kind: "query", query: { items: [item] } },
    direction,
    positions,
    asOf: head,
    batchBytes: 1,
    batchEvents: 1,
  };
  for await (const { frames } of readEvents(store, read, head)) {
    const [frame] = frames;
    if (frame !== undefined) return scanPlacement(recordOf(frame)).position;
  }
  return 0;
}

async function firstOf(store: OpenStore, term: TermHead): Promise<number> {
  const posting = await firstPostingFrom(store.kv, term.number, 0, term.lastChunk);
  if (posting?.before === 0) return firstPosition(posting);
  throw corruption("the first index entry of a type is missing", { first: term.last });
}
