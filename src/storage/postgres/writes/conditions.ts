// Whether conditions hold: does an event after a position match? Mostly there is none after it that
// has the names it would need, such as a tag. That is asked for all conditions of a decision in one
// statement, which looks each name up in an index. Only where there is something, the newest events
// with these names are read and compared.

import type { AppendCondition } from "../../../domain/append.ts";
import type { HeadKeeper } from "../head/log-head.ts";
import {
  inCategory,
  lookUpOf,
  readPage,
  type EventPage,
  type PageRequest,
} from "../reads/pages.ts";
import { lifecyclesOf, Removals, removalsOf } from "../reads/removals.ts";
import type { Asker } from "../sessions/session.ts";
import { numberArray, textArray } from "../tables/binary-arrays.ts";

const kinds = { stream: 1, tag: 2, category: 3, type: 4 } as const;

function someAfter(from: string, position = "x.position"): string {
  return `EXISTS (SELECT FROM ${from} AND ${position} > n.after)`;
}

/** Answers the numbers of the names that an event after a position has. */
const namesAfter = {
  name: "names-after",
  text: `SELECT n.number FROM unnest($1::bigint[], $2::text[], $3::bigint[])
      WITH ORDINALITY AS n(kind, name, after, number)
    WHERE CASE n.kind
      WHEN ${kinds.stream} THEN ${someAfter("stream x WHERE x.name = n.name", "x.last_position")}
      WHEN ${kinds.tag} THEN ${someAfter("tag x WHERE x.tag = n.name")}
      WHEN ${kinds.category} THEN ${someAfter(`event x WHERE ${inCategory}`)}
      ELSE ${someAfter("event x WHERE x.type = n.name")}
    END`,
};

/** A condition is mostly answered by its newest candidates. */
const candidates = { eventsMax: 4, bytesMax: 256 * 1_024, window: 64 };
const moreCandidates = { eventsMax: 256, bytesMax: 256 * 1_024, window: 4_096 };
const everything = Number.MAX_SAFE_INTEGER;

/** What is looked up for some conditions. */
class Names {
  readonly kinds: number[] = [];
  readonly names: string[] = [];
  readonly afters: number[] = [];

  /** Returns its number, from 1. */
  add(kind: number, name: string, after: number): number {
    this.kinds.push(kind);
    this.names.push(name);
    return this.afters.push(after);
  }

  /**
   * The sets of names of which an event that matches has one, by their numbers. Undefined: it may
   * have any.
   */
  of({ query, after }: AppendCondition): readonly (readonly number[])[] | undefined {
    const by = lookUpOf(query.items);
    if (by === undefined) return undefined;
    const each = (kind: number, names: Iterable<string>): number[] =>
      Array.from(names, (name) => this.add(kind, name, after));
    const single = [
      ...each(kinds.stream, by.streams),
      ...each(kinds.category, by.categories),
      ...each(kinds.type, by.types),
    ].map((number) => [number]);
    return [...single, ...by.tags.map((tags) => each(kinds.tag, tags))];
  }
}

/** For each condition, whether an event may match it. */
export async function mayMatch(
  session: Asker,
  conditions: readonly AppendCondition[],
): Promise<boolean[]> {
  const names = new Names();
  const sets = conditions.map((each) => names.of(each));
  const found = new Set<number>();
  if (names.names.length > 0) {
    const values = [numberArray(names.kinds), textArray(names.names), numberArray(names.afters)];
    await session.eachRow(namesAfter, values, (row) => found.add(row.number()));
  }
  return sets.map(
    (each) => each?.some((numbers) => numbers.every((number) => found.has(number))) ?? true,
  );
}

interface Judging {
  readonly session: Asker;
  readonly keeper: HeadKeeper;
  /** Whether lifecycles have changed beyond what is known. */
  readonly isNewer: boolean;
  readonly head: number;
}

/** For each condition, the position of an event that matches and is not removed, or 0. */
export async function matchesOf(
  judging: Judging,
  conditions: readonly AppendCondition[],
  areOpen: readonly boolean[],
): Promise<number[]> {
  const pages = await Promise.all(
    conditions.map(async (each, i) =>
      areOpen[i] === true ? newest(judging.session, each, candidates) : undefined,
    ),
  );
  const matches: number[] = [];
  for (const [i, condition] of conditions.entries()) {
    matches.push(await matchAfter(judging, condition, pages[i]));
  }
  return matches;
}

function newest(
  session: Asker,
  { query, after }: AppendCondition,
  size: Pick<PageRequest, "eventsMax" | "bytesMax" | "window">,
  last = everything,
): Promise<EventPage> {
  const selection = { kind: "query", query } as const;
  const positions = { first: after + 1, last };
  return readPage(session, { selection, isForwards: false, positions, ...size, isOpen: true });
}

async function matchAfter(
  { session, keeper, isNewer, head }: Judging,
  condition: AppendCondition,
  page: EventPage | undefined,
): Promise<number> {
  const { after } = condition;
  const now = { of: head, now: keeper.time };
  for (let next = page; next !== undefined;) {
    const streams = next.events.map(({ stream }) => stream).filter((stream) => stream !== "");
    const removals = isNewer
      ? new Removals(await lifecyclesOf(session, [...new Set(streams)], head), now.now)
      : await removalsOf(session, keeper, streams, now);
    const match = next.events.find((event) => event.position > after && !removals.removes(event));
    if (match !== undefined) return match.position;
    const last = Math.min(next.through - 1, head);
    next = last <= after ? undefined : await newest(session, condition, moreCandidates, last);
  }
  return 0;
}
