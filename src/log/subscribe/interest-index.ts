// Which selections an event may concern, found by the event's own words: what a commit costs grows
// with those it concerns, not with all there are. A selection is filed under words of which every
// event it selects has at least one; whether it does select the event is for `selects` to say.

import type { EventHeader } from "../../domain/event.ts";
import { possibleStreams, type QueryItem, type Selection } from "../../domain/query.ts";

type Entries<T> = Map<string, Set<T>>;

/** A word under which a selection is filed. */
export interface Filing<T> {
  readonly entries: Entries<T>;
  readonly word: string;
}

export class InterestIndex<T> {
  /** Those that no word narrows. */
  private readonly anything: Entries<T> = new Map();
  private readonly streams: Entries<T> = new Map();
  private readonly prefixes: Entries<T> = new Map();
  private readonly types: Entries<T> = new Map();
  private readonly tags: Entries<T> = new Map();
  /** How many prefixes there are of each length: an event looks up one beginning for each. */
  private readonly prefixLengths = new Map<number, number>();
  private readonly found: Set<T>[] = [];

  add(entry: T, filings: readonly Filing<T>[]): void {
    for (const { entries, word } of filings) {
      const filed = entries.get(word);
      if (filed !== undefined) filed.add(entry);
      else {
        entries.set(word, new Set([entry]));
        if (entries === this.prefixes) this.countPrefix(word.length, 1);
      }
    }
  }

  delete(entry: T, filings: readonly Filing<T>[]): void {
    for (const { entries, word } of filings) {
      const filed = entries.get(word);
      if (filed === undefined || !filed.delete(entry) || filed.size > 0) continue;
      entries.delete(word);
      if (entries === this.prefixes) this.countPrefix(word.length, -1);
    }
  }

  /** Every entry that may select the event, some perhaps twice. Good until the next call. */
  candidates(event: EventHeader): readonly ReadonlySet<T>[] {
    this.found.length = 0;
    this.find(this.anything, "");
    this.find(this.streams, event.stream);
    for (const length of this.prefixLengths.keys()) {
      if (length > event.stream.length) continue;
      this.find(this.prefixes, event.stream.slice(0, length));
    }
    this.find(this.types, event.type);
    if (this.tags.size > 0) for (const tag of event.tags) this.find(this.tags, tag);
    return this.found;
  }

  /** The words to file a selection under, of this index. */
  filingsOf(selection: Selection): readonly Filing<T>[] {
    switch (selection.kind) {
      case "all":
        return [{ entries: this.anything, word: "" }];
      case "stream":
        return [{ entries: this.streams, word: selection.stream }];
      case "query": {
        const { items } = selection.query;
        if (items.length === 0) return [{ entries: this.anything, word: "" }];
        return items.flatMap((item) => this.itemFilings(item));
      }
    }
  }

  /** How many words are filed: 0 once every entry is gone. */
  get wordCount(): number {
    const all = [this.anything, this.streams, this.prefixes, this.types, this.tags];
    return all.reduce((sum, { size }) => sum + size, 0);
  }

  private find(entries: Entries<T>, word: string): void {
    if (entries.size === 0) return;
    const filed = entries.get(word);
    if (filed !== undefined) this.found.push(filed);
  }

  /** Under the part of the item that fewest events share, as far as one can tell beforehand. */
  private itemFilings(item: QueryItem): Filing<T>[] {
    const under = (entries: Entries<T>, words: readonly string[]) =>
      words.map((word) => ({ entries, word }));
    if (item.streams.length > 0) return under(this.streams, possibleStreams(item));
    if (item.tags.length > 0) return under(this.tags, item.tags.slice(0, 1));
    if (item.streamPrefixes.length > 0) return under(this.prefixes, item.streamPrefixes);
    if (item.types.length > 0) return under(this.types, item.types);
    return under(this.anything, [""]);
  }

  private countPrefix(length: number, change: 1 | -1): void {
    const count = (this.prefixLengths.get(length) ?? 0) + change;
    if (count === 0) this.prefixLengths.delete(length);
    else this.prefixLengths.set(length, count);
  }
}
