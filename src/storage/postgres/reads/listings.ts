// Information about streams and event types: from their tables, the lifecycles, and the first and
// last event of a stream that are not removed.

import { AnnalsError } from "../../../domain/errors.ts";
import type { EventTypeFacts, NamePage, StreamFacts } from "../../storage.ts";
import type { HeadKeeper } from "../head/log-head.ts";
import { lifecyclesOf, Removals, type KnownLifecycle } from "./removals.ts";
import { afterPrefix } from "./side-values.ts";
import type { Asker } from "../sessions/session.ts";

const streamsByName = {
  name: "streams-by-name",
  text: `SELECT n.name, CASE WHEN s.first_position <= $2 THEN version_at(s.name, $2) ELSE 0 END
    FROM unnest($1::text[]) n(name) LEFT JOIN stream s ON s.name = n.name`,
};

const names = (table: string): string => `SELECT t.name FROM ${table} t
  WHERE t.name >= $1 AND ($2 = '' OR t.name < $2) AND t.name > $3
    AND ($1 <> '' OR t.name NOT LIKE '$%') AND t.first_position <= $5 ORDER BY t.name LIMIT $4`;

const streamNames = { name: "stream-names", text: names("stream") };

const types = {
  name: "types",
  text: `SELECT t.name, t.count, t.first_position, t.last_position FROM type t
    JOIN (${names("type")}) n USING (name) ORDER BY t.name`,
};

/** Where a stream's events are, from a version on or from a time on. */
const ends = {
  name: "stream-ends",
  text: `SELECT n.name, l.low, f.position, f.recorded_at, e.position, e.recorded_at
    FROM unnest($1::text[], $2::bigint[], $3::bigint[], $4::bigint[]) n(name, low, time, high)
    CROSS JOIN LATERAL (SELECT greatest(n.low, CASE WHEN n.time = 0 THEN 0 ELSE
      version_at(n.name, position_at(n.time, $5) - 1) + 1 END) AS low OFFSET 0) l
    JOIN event f ON f.stream = n.name AND f.version = l.low
    JOIN event e ON e.stream = n.name AND e.version = n.high
    WHERE l.low <= n.high`,
};

export async function streamFactsOf(
  database: Asker,
  keeper: HeadKeeper,
  name: string,
): Promise<StreamFacts | undefined> {
  const [facts] = await factsOf(database, keeper, [name]);
  return facts === undefined || (facts.version === 0 && facts.lifecycle === undefined)
    ? undefined
    : facts;
}

export async function streamsListed(
  database: Asker,
  keeper: HeadKeeper,
  { prefix, after, limit }: NamePage,
): Promise<StreamFacts[]> {
  const values = [prefix, afterPrefix(prefix), after, limit, keeper.head.position];
  const rows = await database.rows<[string]>(streamNames, values);
  return factsOf(
    database,
    keeper,
    rows.map(([name]) => name),
  );
}

export async function typesListed(
  database: Asker,
  keeper: HeadKeeper,
  { prefix, after, limit }: NamePage,
): Promise<EventTypeFacts[]> {
  const values = [prefix, afterPrefix(prefix), after, limit, keeper.head.position];
  const rows = await database.rows<[string, number, number, number]>(types, values);
  return rows.map(([type, recordedCount, firstPosition, lastPosition]) => {
    return { type, recordedCount, firstPosition, lastPosition };
  });
}

const nothingLeft = {
  eventCount: 0,
  firstVersion: 0,
  firstPosition: 0,
  lastPosition: 0,
  firstRecordedAt: 0,
  lastRecordedAt: 0,
};

/** The facts of streams in their order, as of the head. */
async function factsOf(
  database: Asker,
  keeper: HeadKeeper,
  streams: readonly string[],
): Promise<StreamFacts[]> {
  const { head, time } = keeper;
  const known = await database.rows<[string, number]>(streamsByName, [streams, head.position]);
  const versions = new Map(known);
  const asked = keeper.mayHaveLifecycle(streams);
  const lifecycles = await lifecyclesOf(database, asked, head.position);
  const removals = new Removals(lifecycles, time);
  const bounds = streams.map((stream) => {
    const { version: low = 1, time: oldest = 0 } = removals.of(stream) ?? {};
    return { stream, low, oldest, high: versions.get(stream) ?? 0 };
  });
  const values = [
    streams,
    bounds.map(({ low }) => low),
    bounds.map(({ oldest }) => oldest),
    bounds.map(({ high }) => high),
    head.position,
  ];
  const found = await database.rows<[string, number, number, number, number, number]>(ends, values);
  const left = new Map(found.map((row) => [row[0], row]));
  return bounds.map(({ stream, high: version }) => {
    const lifecycle = lifecycleIn(lifecycles.get(stream));
    const row = left.get(stream);
    if (row === undefined) return { ...nothingLeft, stream, version, lifecycle };
    const [, firstVersion, firstPosition, firstRecordedAt, lastPosition, lastRecordedAt] = row;
    const eventCount = version - firstVersion + 1;
    const first = { firstVersion, firstPosition, firstRecordedAt };
    return { stream, version, eventCount, ...first, lastPosition, lastRecordedAt, lifecycle };
  });
}

function lifecycleIn(known: KnownLifecycle | AnnalsError | undefined) {
  return known instanceof AnnalsError ? undefined : known?.lifecycle;
}
