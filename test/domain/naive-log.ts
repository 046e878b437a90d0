// The oracle of what appends do: one append at a time, no groups, no overlay, no index, by
// looking at every event there is.
import fc from "fast-check";
import type { Append, Outcome } from "../../src/domain/append.ts";
import type { CommitEvent, NewEvent, StoredEvent } from "../../src/domain/event.ts";
import { matches, type Query } from "../../src/domain/query.ts";
import { recordsIn, sameContent } from "../../src/domain/record.ts";
import {
  arbitraryQuery,
  idOf,
  nastyNames,
  newAppend,
  newEvent,
  placeEvents,
} from "../support/events.ts";

/** Few ids and few contents, so that retries and id conflicts happen; few streams and tags. */
const arbitraryEvent = fc
  .record({
    id: fc.nat({ max: 12 }),
    idFromClient: fc.boolean(),
    stream: fc.constantFrom("", "a", "a-1", "b"),
    type: fc.constantFrom("Opened", "Closed", "$sys"),
    tags: fc.subarray(["k:1", "k:2", "k:10"]),
    data: fc.constantFrom("1", "2"),
  })
  .map(({ id, ...sketch }) => ({ ...sketch, id: sketch.idFromClient ? idOf(id) : undefined }))
  .map(({ id, ...sketch }) => newEvent({ ...sketch, ...(id !== undefined && { id }) }));
/** Appends that get in each other's way: retries, conflicts of ids, streams and conditions. */
export const contendedAppend: fc.Arbitrary<Append> = fc
  .record({
    events: fc.uniqueArray(arbitraryEvent, {
      minLength: 1,
      maxLength: 4,
      selector: ({ id }) => id,
    }),
    expectations: fc.uniqueArray(
      fc.record({
        stream: fc.constantFrom(...nastyNames.slice(0, 3), "b"),
        expected: fc.oneof(
          fc.nat({ max: 3 }).map((version) => ({ kind: "version" as const, version })),
          fc.constantFrom({ kind: "exists" as const }, { kind: "absent" as const }),
        ),
      }),
      { maxLength: 2, selector: ({ stream }) => stream },
    ),
    conditions: fc.array(
      fc
        .record({ query: arbitraryQuery, after: fc.nat({ max: 12 }), mayBeAhead: fc.boolean() })
        .map(({ mayBeAhead, ...rest }) => (mayBeAhead ? { ...rest, mayBeAhead } : rest)),
      { maxLength: 2 },
    ),
  })
  .map(({ events, ...checks }) => newAppend(events, checks));

export class NaiveLog {
  readonly events: (StoredEvent & { readonly idFromClient: boolean })[] = [];

  append(proposed: Append, durable: number, now: number): Outcome {
    const there = proposed.events.flatMap((event) => {
      const found = this.events.find(({ id, idFromClient }) => idFromClient && id === event.id);
      return event.idFromClient && found !== undefined ? [{ event, found }] : [];
    });
    if (there.length > 0) return this.again(proposed, there);
    const { conditions } = proposed;
    const ahead = conditions.findIndex(({ after, mayBeAhead }) => after > durable && !mayBeAhead);
    if (ahead >= 0) {
      const asked = conditions[ahead]?.after ?? 0;
      return { kind: "beyond-head", field: `conditions[${ahead}].after`, asked, head: durable };
    }
    const streams = proposed.expectations
      .map((expectation) => ({ ...expectation, actualVersion: this.version(expectation.stream) }))
      .filter(({ expected, actualVersion }) =>
        expected.kind === "version"
          ? expected.version !== actualVersion
          : (expected.kind === "exists") !== actualVersion > 0,
      );
    const failed = conditions.flatMap(({ query, after }, index) => {
      const found = this.events.find((event) => event.position > after && matches(query, event));
      return found === undefined ? [] : [{ index, position: found.position, after }];
    });
    if (streams.length > 0 || failed.length > 0) {
      return { kind: "conflict", streams, conditions: failed };
    }
    return this.accept(proposed.events, now);
  }

  /** Any event that matches may be named: that this one does is all that is promised. */
  lies(proposed: Append | undefined, outcome: Outcome): boolean {
    if (outcome.kind !== "conflict") return false;
    return outcome.conditions.some(({ index, position, after }) => {
      const event = this.events[position - 1] as StoredEvent;
      return position <= after || !matches(proposed?.conditions[index]?.query as Query, event);
    });
  }

  private version(stream: string): number {
    return this.events.filter((event) => event.stream === stream).length;
  }

  private again(proposed: Append, there: { event: NewEvent; found: StoredEvent }[]): Outcome {
    const positions = there.map(({ found }) => found.position);
    const complete = there.length === proposed.events.length;
    const sorted = positions.every((position, i) => i === 0 || position > (positions[i - 1] ?? 0));
    const problems = there.map(({ event, found }) => {
      if (!sameContent(event.body, found.record)) return "other-content" as const;
      if (event.stream !== found.stream) return "other-stream" as const;
      if (!complete) return "partly-recorded" as const;
      return sorted ? undefined : ("other-order" as const);
    });
    if (complete && problems.every((problem) => problem === undefined)) {
      return answer(there.map(({ found }) => found));
    }
    const events = there.map(({ event: { id, stream }, found }, i) => {
      const { position } = found;
      const isElsewhere = stream !== found.stream;
      return { id, position, isElsewhere, problem: problems[i] ?? ("partly-recorded" as const) };
    });
    return { kind: "event-id-conflict", events };
  }

  private accept(events: readonly NewEvent[], now: number): Outcome {
    const recordedAt = Math.max(now, this.events.at(-1)?.recordedAt ?? 0);
    const versions = new Map(this.events.map(({ stream, version }) => [stream, version]));
    const head = { position: this.events.length, recordedAt };
    const placed = placeEvents(events, head, versions, recordedAt).map((each) => {
      return { ...each, recordedAt, record: recordOf(each) };
    });
    this.events.push(...placed);
    const ids = placed.every(({ idFromClient }) => idFromClient)
      ? {}
      : { ids: placed.map(({ id }) => id) };
    return { ...answer(placed), ...ids, deduplicated: false };
  }
}

function answer(events: readonly StoredEvent[]): Outcome & { kind: "appended" } {
  const names = [...new Set(events.map(({ stream }) => stream))].filter((name) => name !== "");
  const versionsIn = (name: string) =>
    events.filter(({ stream }) => stream === name).map(({ version }) => version);
  return {
    kind: "appended",
    firstPosition: events[0]?.position ?? 0,
    lastPosition: events.at(-1)?.position ?? 0,
    streams: names.map((stream) => ({
      stream,
      firstVersion: versionsIn(stream)[0] ?? 0,
      lastVersion: versionsIn(stream).at(-1) ?? 0,
    })),
    recordedAt: events.at(-1)?.recordedAt ?? 0,
    deduplicated: true,
  };
}

function recordOf(event: CommitEvent): Uint8Array {
  return [...recordsIn(event.frame)][0] as Uint8Array;
}
