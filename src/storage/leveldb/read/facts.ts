// Gathers the facts for a decision: versions, events by id, and whether a condition's query has
// matched. All are as of one head.

import { setImmediate } from "node:timers/promises";
import type { AppendCondition } from "../../../domain/append.ts";
import { corruption } from "../../../domain/errors.ts";
import { type StoredEvent, positionInId } from "../../../domain/event.ts";
import type { Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import type { Query, QueryItem } from "../../../domain/query.ts";
import { scanPlacement } from "../../../domain/record.ts";
import type { Facts, FactsRequest, Range, StorageRead } from "../../storage.ts";
import { frameOffsets, isIdFromClient, recordOf } from "../format/chunk.ts";
import { chunkHolding } from "./chunks.ts";
import { entriesOf, readable } from "./lifecycles.ts";
import type { OpenStore } from "../state/open-store.ts";
import type { Term } from "../state/terms.ts";
import { idKey, readUint64, TermKind, unseal } from "../format/keys.ts";
import { partsOfItem } from "./plan.ts";
import { EngineRead } from "./read.ts";
import type { TermHead } from "../state/term-table.ts";
import { storedEventOf } from "../../removed-record.ts";

const noLifecycles: ReadonlyMap<string, Lifecycle> = new Map();

/** Events that are looked up by their ids in one turn of the event loop, and those found. */
const idsPerTurn = 500;
const foundPerTurn = 250;

export async function gatherFacts(store: OpenStore, request: FactsRequest): Promise<Facts> {
  const { head } = store;
  const streams = [...new Set(request.streams)];
  const ids = [...new Set(request.ids)];
  const { replaced } = request;
  const [lifecycles, versions, events, matches] = await Promise.all([
    store.lifecycles.isEmpty ? noLifecycles : lifecyclesOf(store, streams, replaced),
    versionsOf(store, streams, head.position),
    ids.length > 0 ? eventsById(store, ids, head.position) : new Map<string, StoredEvent>(),
    request.conditions.length > 0 ? matchesOf(store, request.conditions, head.position) : [],
  ]);
  return { head, versions, lifecycles, events, matches };
}

async function versionsOf(
  store: OpenStore,
  streams: readonly string[],
  head: number,
): Promise<Map<string, number>> {
  const terms: Term[] = [];
  for (const name of streams) terms.push({ kind: TermKind.stream, name });
  const heads = await store.terms.load(store.kv, terms, head);
  const versions = new Map<string, number>();
  for (let i = 0; i < streams.length; i++) versions.set(streams[i] as string, heads[i]?.count ?? 0);
  return versions;
}

async function lifecyclesOf(
  store: OpenStore,
  streams: readonly string[],
  replaced?: ReadonlySet<string>,
): Promise<Map<string, Lifecycle>> {
  const lifecycles = new Map<string, Lifecycle>();
  for (const [stream, known] of await entriesOf(store, streams)) {
    if ("fault" in known && replaced?.has(stream) === true) continue;
    lifecycles.set(stream, readable(known).lifecycle);
  }
  return lifecycles;
}

async function eventsById(
  store: OpenStore,
  ids: readonly string[],
  head: number,
): Promise<Map<string, StoredEvent>> {
  const found = new Map<string, StoredEvent>();
  for (let i = 0; i < ids.length; i += idsPerTurn) {
    // The streams are looked up in the same turn as the first ones.
    if (ids.length > idsPerTurn) await setImmediate();
    await findEvents(store, ids.slice(i, i + idsPerTurn), head, found);
  }
  return found;
}

async function findEvents(
  store: OpenStore,
  ids: readonly string[],
  head: number,
  found: Map<string, StoredEvent>,
): Promise<void> {
  const keys = ids.map((id) => idKey(id, 0));
  const values = await store.kv.getMany(keys);
  for (let i = 0; i < values.length; i++) {
    const value = values[i];
    const id = ids[i] as string;
    if (!value) {
      const own = await ownEvent(store, id, head);
      if (own !== undefined) found.set(id, own);
      continue;
    }
    const body = unseal(keys[i] as Uint8Array, value);
    if (!body) throw corruption(`the index entry of event id ${id} fails its CRC`);
    const position = readUint64(body, 0);
    if (position > head) continue;
    const event = await eventAt(store, position, head);
    if (event.id !== id)
      throw corruption("an event id's index entry is wrong", { first: position });
    found.set(id, event);
    if (found.size % foundPerTurn === 0) await setImmediate();
  }
}

/** The event whose id the store made, if this is one. */
async function ownEvent(
  store: OpenStore,
  id: string,
  head: number,
): Promise<StoredEvent | undefined> {
  const position = positionInId(id);
  if (position === 0 || position > head) return undefined;
  const event = await eventAt(store, position, head);
  return event.id === id ? event : undefined;
}

/** The event at a position at or before the head. Throws CORRUPTION. */
async function eventAt(store: OpenStore, position: number, head: number): Promise<StoredEvent> {
  const chunk = await chunkHolding(store, position, head);
  const offsets = frameOffsets(chunk);
  const ordinal = position - chunk.first;
  const record = recordOf(chunk.records.subarray(offsets[ordinal], offsets[ordinal + 1]));
  if (scanPlacement(record).position !== position) {
    throw corruption("a record disagrees with its place", { first: position });
  }
  return storedEventOf(record, isIdFromClient(chunk, ordinal));
}

/** Names of conditions that are looked up in one turn of the event loop, besides a long one's. */
const namesPerTurn = 500;

/** For each condition, the position of an event after `after` that matches, or 0. */
async function matchesOf(
  store: OpenStore,
  conditions: readonly AppendCondition[],
  head: number,
): Promise<number[]> {
  const matches = conditions.map(() => 0);
  const searches: Promise<void>[] = [];
  let names = 0;
  for (const [i, { query, after }] of conditions.entries()) {
    const { items } = query;
    if (after >= head) continue;
    if (names >= namesPerTurn) {
      await Promise.all(searches.splice(0));
      await setImmediate();
      names = 0;
    }
    for (const item of items) names += nameCount(item);
    // Most conditions name a tag that no later event has. That is known without a promise.
    if (items.length > 0 && items.every((item) => isTagBefore(store, item, after))) continue;
    const search = async (): Promise<void> => {
      matches[i] = await matchAfter(store, query, after, head);
    };
    searches.push(search());
  }
  await Promise.all(searches);
  return matches;
}

function nameCount({ streams, types, tags, tagsAny }: QueryItem): number {
  return streams.length + types.length + tags.length + tagsAny.length;
}

/** Whether the item names a tag of which it is in memory that no event after `after` has it. */
function isTagBefore({ terms }: OpenStore, { tags }: QueryItem, after: number): boolean {
  for (const tag of tags) {
    const known = terms.peek(TermKind.tag, tag);
    if (known !== undefined && known.last <= after) return true;
  }
  return false;
}

/** The position of an event after `after` that matches, or 0. Mostly answered from memory. */
async function matchAfter(
  store: OpenStore,
  query: Query,
  after: number,
  head: number,
): Promise<number> {
  const positions = { first: after + 1, last: head };
  if (query.items.length === 0) return newestMatch(store, [], positions, head);
  const possible = await possibleAfter(store, query.items, after, head);
  return possible.length === 0 ? 0 : newestMatch(store, possible, positions, head);
}

/** The items of which each part has an event after `after`. All terms are loaded in one trip. */
async function possibleAfter(
  store: OpenStore,
  items: readonly QueryItem[],
  after: number,
  head: number,
): Promise<QueryItem[]> {
  const parts = await Promise.all(items.map((item) => partsOfItem(store, item, head)));
  const heads = await store.terms.load(store.kv, parts.flat(2), head);
  let next = 0;
  const isAfter = (): boolean => (heads[next++] as TermHead).last > after;
  return items.filter((_, i) => {
    const found = (parts[i] ?? []).map((terms) => terms.map(isAfter).includes(true));
    return !found.includes(false);
  });
}

async function newestMatch(
  store: OpenStore,
  items: readonly QueryItem[],
  positions: Range,
  head: number,
): Promise<number> {
  const read: StorageRead = {
    selection: { kind: "query", query: { items } },
    direction: "backwards",
    positions,
    asOf: head,
    batchBytes: 1,
    batchEvents: 1,
  };
  for await (const batch of new EngineRead(store, read, head)) {
    const frame = batch.frames[0];
    if (frame) return scanPlacement(recordOf(frame)).position;
  }
  return 0;
}
