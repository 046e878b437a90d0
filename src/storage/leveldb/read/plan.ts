// Plans how to find the events of a selection: by walking the log, or by the postings of its most
// selective terms. A plan only narrows the search; domain/query.ts decides on the records what
// matches.

import { categoryOf } from "../../../domain/event.ts";
import { positionMax } from "../../../domain/limits.ts";
import { possibleStreams, type QueryItem } from "../../../domain/query.ts";
import type { StorageRead } from "../../storage.ts";
import type { OpenStore } from "../state/open-store.ts";
import { TermKind } from "../format/keys.ts";
import { namesWithPrefix } from "./names.ts";
import { TypeFilter } from "./type-filter.ts";
import type { TermHead } from "../state/term-table.ts";
import type { Term } from "../state/terms.ts";

export type Plan =
  | { readonly kind: "scan" }
  | { readonly kind: "terms"; readonly terms: readonly TermHead[] };

const scan: Plan = { kind: "scan" };
/** Beyond this share of the log, walking it is cheaper than following postings. */
const scanShare = 1 / 4;
/** The same where types alone tell that most records are not wanted, and many events are. */
const scanShareByType = 1 / 12;
const manyEvents = 64;
const categoriesMax = 256;

/** A plan as of `head`. Every event that can match has at least one of the terms. */
export async function planFor(store: OpenStore, read: StorageRead, head: number): Promise<Plan> {
  const { selection, versions } = read;
  if (selection.kind === "all") return scan;
  if (selection.kind === "stream") {
    const term = { kind: TermKind.stream, name: selection.stream };
    // Versions are searched from the stream's head. A whole stream is read without loading it.
    const terms =
      versions === undefined
        ? await store.terms.find(store.kv, [term], head)
        : await store.terms.load(store.kv, [term], head);
    return { kind: "terms", terms };
  }
  const { items } = selection.query;
  if (items.length === 0) return scan;
  const chosen = new Map<string, TermHead>();
  let count = 0;
  for (const narrowest of await narrowestParts(store, items, head)) {
    if (!narrowest) return scan;
    for (const [term, found] of narrowest) {
      const key = `${term.kind}${term.name}`;
      if (found.count === 0 || chosen.has(key)) continue;
      chosen.set(key, found);
      count += found.count === positionMax ? 0 : found.count;
    }
  }
  const isByType = (read.batchEvents ?? Infinity) >= manyEvents && TypeFilter.of(selection);
  const share = isByType ? scanShareByType : scanShare;
  if (count > head * share && head > 1_000) return scan;
  return { kind: "terms", terms: [...chosen.values()] };
}

type ItemPart = readonly (readonly [Term, TermHead])[];

/**
 * The part of each item with the fewest events. Undefined: only a walk through the log finds the
 * item. The terms of all items are looked up together.
 */
async function narrowestParts(
  store: OpenStore,
  items: readonly QueryItem[],
  head: number,
): Promise<(ItemPart | undefined)[]> {
  const { terms, kv } = store;
  const all = await Promise.all(items.map((item) => partsOfItem(store, item, head)));
  const [tags, counted] = [all.filter(isOfTags), all.filter((parts) => !isOfTags(parts))];
  const found = (await terms.find(kv, tags.flat(2), head)).values();
  const loaded = (await terms.load(kv, counted.flat(2), head)).values();
  return all.map((parts) => {
    const heads = isOfTags(parts) ? found : loaded;
    let best: ItemPart | undefined;
    let bestCount = Number.POSITIVE_INFINITY;
    for (const part of parts) {
      const known = part.map((term) => [term, heads.next().value as TermHead] as const);
      let count = 0;
      for (const [, of] of known) count += of.count;
      if (count < bestCount) [best, bestCount] = [known, count];
    }
    return best;
  });
}

/** With a single choice, and for tags, which are on few events, counts are not needed. */
function isOfTags(parts: readonly (readonly Term[])[]): boolean {
  const [only] = parts;
  return (
    only !== undefined && parts.length === 1 && only.every(({ kind }) => kind === TermKind.tag)
  );
}

/**
 * The parts of an item. Each is a list of terms, of which every matching event has at least one.
 */
export async function partsOfItem(
  store: OpenStore,
  item: QueryItem,
  head: number,
): Promise<Term[][]> {
  const parts: Term[][] = [];
  const named = (kind: TermKind, names: readonly string[]) => names.map((name) => ({ kind, name }));
  if (item.streams.length > 0) parts.push(named(TermKind.stream, possibleStreams(item)));
  else if (item.streamPrefixes.length > 0) {
    const categories = await categoriesOf(store, item.streamPrefixes, head);
    if (categories) parts.push(named(TermKind.category, categories));
  }
  if (item.types.length > 0) parts.push(named(TermKind.type, item.types));
  for (const tag of item.tags) parts.push(named(TermKind.tag, [tag]));
  if (item.tagsAny.length > 0) parts.push(named(TermKind.tag, item.tagsAny));
  return parts;
}

/** The categories of streams that begin with the prefixes. Undefined: there are too many. */
async function categoriesOf(
  store: OpenStore,
  prefixes: readonly string[],
  head: number,
): Promise<string[] | undefined> {
  const categories = new Set<string>();
  for (const prefix of prefixes) {
    if (prefix.includes("-")) {
      categories.add(categoryOf(prefix));
      continue;
    }
    const page = { prefix, after: "", limit: categoriesMax + 1 };
    for (const name of await namesWithPrefix(store, TermKind.category, page, head)) {
      categories.add(name);
    }
    if (categories.size > categoriesMax) return undefined;
  }
  return [...categories];
}
