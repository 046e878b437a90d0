// Which events a read may see: all but those that their stream's lifecycle has removed. The
// lifecycles of the streams concerned are asked for as of the read's head, or as of now; the domain
// says what they remove.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import { firstVersion, oldestTime, type Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { lifecycleRecordOf } from "../../../domain/lifecycle/lifecycle-event.ts";
import type { JudgedEvent } from "../../storage.ts";
import type { HeadKeeper } from "../head/log-head.ts";
import { eventColumns, eventIn, type EventRow } from "../tables/rows.ts";
import type { Asker, Row } from "../sessions/session.ts";

/** A stream's lifecycle as of a head. */
export interface KnownLifecycle {
  readonly lifecycle: Lifecycle;
  /** The position of the event that says so. */
  readonly policy: number;
  /** How many events the stream had got. */
  readonly version: number;
}

/** By stream. An error where the lifecycle could not be read: what it removes is unknown. */
export type Lifecycles = ReadonlyMap<string, KnownLifecycle | AnnalsError>;

const lifecyclesAt = {
  name: "lifecycles-at",
  text: `SELECT n.name, version_at(n.name, $2), ${eventColumns}
    FROM unnest($1::text[]) n(name) CROSS JOIN LATERAL (
      SELECT * FROM event e WHERE e.stream = '$lifecycle-' || n.name
        AND e.version <= version_at('$lifecycle-' || n.name, $2) ORDER BY e.version DESC LIMIT 1
    ) e`,
};

/** As of a position. Streams without a lifecycle have none here. */
export async function lifecyclesOf(
  database: Asker,
  streams: readonly string[],
  asOf: number,
): Promise<Lifecycles> {
  if (streams.length === 0) return new Map();
  return lifecyclesAmong(await database.rows(lifecyclesAt, [streams, asOf]));
}

function lifecyclesAmong(rows: readonly Row[]): Lifecycles {
  const found = new Map<string, KnownLifecycle | AnnalsError>();
  for (const row of rows) {
    const [name, version] = row as readonly [string, number];
    try {
      const { record, position } = eventIn(row, 2);
      const { lifecycle, stream } = lifecycleRecordOf(record);
      if (stream !== name) throw corruption("a lifecycle is of another stream", { stream: name });
      found.set(name, { lifecycle, policy: position, version });
    } catch (error) {
      if (!(error instanceof AnnalsError)) throw error;
      found.set(name, error);
    }
  }
  return found;
}

/** The bounds of a stream's events that are not removed. */
export interface LeftOfStream {
  /** The first version that is not removed by its number. */
  readonly version: number;
  /** The first time that is not removed by age. 0: none are. */
  readonly time: number;
  /** The position of the lifecycle event that determines them. */
  readonly policy: number;
}

/** Says which events are removed. */
export class Removals {
  private readonly lefts = new Map<string, LeftOfStream | AnnalsError>();

  constructor(lifecycles: Lifecycles, now: number) {
    for (const [stream, known] of lifecycles) {
      if (known instanceof AnnalsError) this.lefts.set(stream, known);
      else {
        const version = firstVersion(known.lifecycle, known.version);
        const time = oldestTime(known.lifecycle, now);
        this.lefts.set(stream, { version, time, policy: known.policy });
      }
    }
  }

  /** Whether it is known that nothing is removed. */
  get areNone(): boolean {
    return this.lefts.size === 0;
  }

  isKnown(stream: string): boolean {
    return !(this.lefts.get(stream) instanceof AnnalsError);
  }

  /** Undefined: nothing is removed. Throws CORRUPTION. */
  of(stream: string): LeftOfStream | undefined {
    const left = this.lefts.get(stream);
    if (left instanceof AnnalsError) throw new AnnalsError(left.failure, left.message, left);
    return left;
  }

  removes(event: JudgedEvent): boolean {
    const left = this.lefts.size === 0 ? undefined : this.of(event.stream);
    return left !== undefined && (event.version < left.version || event.recordedAt < left.time);
  }
}

const nothing = new Removals(new Map(), 0);

/** As of now, unless a position and a time are given. */
export async function removalsOf(
  database: Asker,
  keeper: HeadKeeper,
  streams: Iterable<string>,
  as: { readonly of: number; readonly now: number } | undefined,
): Promise<Removals> {
  const asked = keeper.mayHaveLifecycle(streams);
  if (asked.length === 0) return nothing;
  const { of, now } = as ?? { of: keeper.head.position, now: keeper.time };
  return new Removals(await lifecyclesOf(database, asked, of), now);
}

/** For each event, whether it is removed by now. */
export async function removedInDatabase(
  database: Asker,
  keeper: HeadKeeper,
  events: readonly JudgedEvent[],
): Promise<boolean[]> {
  const streams = events.map(({ stream }) => stream);
  const removals = await removalsOf(database, keeper, streams, undefined);
  return events.map((event) => removals.removes(event));
}

/**
 * Refuses a removed record that a read takes for an event that is not removed. If it was removed
 * after the read's head, that is READ_OVERTAKEN; if nothing removed it, CORRUPTION.
 */
export async function assertNotEmptied(
  database: Asker,
  keeper: HeadKeeper,
  { position, stream, version, recordedAt }: EventRow,
): Promise<void> {
  const present = await removalsOf(database, keeper, [stream], undefined);
  if (present.removes({ stream, version, recordedAt })) {
    const since = "an event was removed, and its space reclaimed, since this read began";
    throw new AnnalsError({ reason: "READ_OVERTAKEN" }, since);
  }
  throw corruption("an event was emptied that nothing has removed", { first: position, stream });
}
