// The facts of a decision: versions, events by id, lifecycles and matches of conditions, all as of
// one head. They are asked for together, in one trip: in a transaction that holds the lock of the
// head, or in one that sees a single moment.

import { AnnalsError, corruption } from "../../../domain/errors.ts";
import { type StoredEvent, positionInId } from "../../../domain/event.ts";
import type { Lifecycle } from "../../../domain/lifecycle/lifecycle.ts";
import { storedEventOf } from "../../removed-record.ts";
import type { Facts, FactsRequest } from "../../storage.ts";
import { headOf, type HeadKeeper, type LogHead } from "../head/log-head.ts";
import { lifecyclesOf, type Lifecycles } from "../reads/removals.ts";
import { eventColumns, eventIn } from "../tables/rows.ts";
import type { Asker } from "../sessions/session.ts";
import { matchesOf, mayMatch } from "./conditions.ts";

const versionsNow = {
  name: "versions-now",
  text: "SELECT name, version FROM stream WHERE name = ANY ($1::text[])",
};

const eventsById = {
  name: "events-by-id",
  text: `SELECT ${eventColumns}, e.id_from_client FROM event e
      WHERE e.id_from_client AND e.id = ANY ($1::uuid[])
    UNION ALL SELECT ${eventColumns}, e.id_from_client FROM event e
      WHERE NOT e.id_from_client AND e.position = ANY ($2::bigint[]) AND e.id = ANY ($1::uuid[])`,
};

const everything = Number.MAX_SAFE_INTEGER;

export interface FoundFacts {
  readonly facts: Facts;
  /** The row of the head, of which the facts are. */
  readonly head: LogHead;
}

/**
 * `headThen` is sent first, with what it needs before it. Everything is sent before the first
 * answer comes, but for what a condition still needs then.
 */
export async function factsInSession(
  session: Asker,
  keeper: HeadKeeper,
  request: FactsRequest,
  headThen: () => Promise<LogHead>,
): Promise<FoundFacts> {
  const streams = [...new Set(request.streams)];
  const ids = [...new Set(request.ids)];
  const known = keeper.head;
  const asked = keeper.mayHaveLifecycle(streams);
  const first = {
    head: headThen(),
    versions: versionsOf(session, streams),
    events: foundById(session, ids),
    lifecycles: lifecyclesOf(session, asked, everything),
    areOpen: mayMatch(session, request.conditions),
  };
  // All have ended before anything else is sent, or the session is given up.
  await Promise.allSettled(Object.values(first));
  const head = await first.head;
  const [versions, events] = [await first.versions, await first.events];
  const isNewer = head.lifecycle > known.lifecycle;
  const lifecycles = isNewer
    ? await lifecyclesOf(session, streams, everything)
    : await first.lifecycles;
  const judging = { session, keeper, isNewer, head: head.position };
  const matches = await matchesOf(judging, request.conditions, await first.areOpen);
  const found = lifecyclesIn(lifecycles, request.replaced);
  return { head, facts: { head: headOf(head), versions, lifecycles: found, events, matches } };
}

async function versionsOf(
  session: Asker,
  streams: readonly string[],
): Promise<Map<string, number>> {
  const versions = new Map(streams.map((stream) => [stream, 0]));
  if (streams.length === 0) return versions;
  const rows = await session.rows<[string, number]>(versionsNow, [streams]);
  for (const [stream, version] of rows) versions.set(stream, version);
  return versions;
}

async function foundById(
  session: Asker,
  ids: readonly string[],
): Promise<Map<string, StoredEvent>> {
  const found = new Map<string, StoredEvent>();
  if (ids.length === 0) return found;
  const positions = ids.map(positionInId).filter((position) => position > 0);
  for (const row of await session.rows(eventsById, [ids, positions])) {
    const { id, record, position } = eventIn(row);
    const isFromClient = row.at(-1) as boolean;
    // Of an event whose id no client chose, the id tells the position.
    if (!isFromClient && positionInId(id) !== position) continue;
    const stored = storedEventOf(record, isFromClient);
    if (stored.id !== id) throw corruption("an event has another id", { first: position });
    found.set(id, stored);
  }
  return found;
}

function lifecyclesIn(
  known: Lifecycles,
  replaced: ReadonlySet<string> | undefined,
): Map<string, Lifecycle> {
  const lifecycles = new Map<string, Lifecycle>();
  for (const [stream, each] of known) {
    if (!(each instanceof AnnalsError)) lifecycles.set(stream, each.lifecycle);
    else if (replaced?.has(stream) !== true)
      throw new AnnalsError(each.failure, each.message, each);
  }
  return lifecycles;
}
