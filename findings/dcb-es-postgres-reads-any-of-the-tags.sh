#!/usr/bin/env bash
# @dcb-es's store on PostgreSQL reads the events that have any tag of a query's item. Its store in memory, and
# its own condition of an append with the same query, take only those that have all of them.
#
# Versions: @dcb-es/event-store 7.0.1 and @dcb-es/event-store-postgres 7.0.1 (npm), on PGlite 0.5.14 (PostgreSQL
#           as a library, answering int8 as text like pg does), pg 8.23.1, Node 20.20.
# Guess:    an item with two tags selects the events that have both, in both stores, read or as a condition.
# Seen:     one event has the one tag, another has the other, none has both. The store in memory reads none; the
#           one on PostgreSQL reads both events. An append that fails if this query matches is stored by either,
#           so that a decision is made from events that the check of the decision does not look at. Beside it:
#           npm cannot install the package by name (its dependency is "workspace:*"), so it is unpacked here.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @dcb-es/event-store@7.0.1 @electric-sql/pglite@0.5.14 pg@8.23.1 pg-copy-streams@7.0.0
npm pack --silent @dcb-es/event-store-postgres@7.0.1 >/dev/null
mkdir node_modules/@dcb-es/event-store-postgres
tar -xzf dcb-es-event-store-postgres-7.0.1.tgz --strip-components=1 -C node_modules/@dcb-es/event-store-postgres

cat >run.mjs <<'END'
import { PGlite } from "@electric-sql/pglite";
import { AppendConditionError, MemoryEventStore, Query, Tags } from "@dcb-es/event-store";
import { SequencePosition, streamAllEventsToArray } from "@dcb-es/event-store";
import { PostgresEventStore } from "@dcb-es/event-store-postgres";

const db = await PGlite.create({ parsers: { 20: (text) => text } });
const query = async (sql, values) =>
  values ? db.query(sql, values) : { rows: (await db.exec(sql)).at(-1)?.rows ?? [] };
const client = { query, release() {} };
const inPostgres = new PostgresEventStore({ pool: { query, connect: async () => client } });
await inPostgres.ensureInstalled();

const event = (name, ...tags) => ({ type: "Enrolled", tags: Tags.from(tags), data: { name }, metadata: {} });
const both = Query.fromItems([{ types: ["Enrolled"], tags: Tags.from(["course=1", "student=1"]) }]);
const condition = { failIfEventsMatch: both, after: SequencePosition.initial() };
const stores = { "in memory": new MemoryEventStore(), "PostgreSQL": inPostgres };
for (const [name, store] of Object.entries(stores)) {
  await store.append({ events: [event("Ann, course 2", "course=2", "student=1")] });
  await store.append({ events: [event("Ben, course 1", "course=1", "student=2")] });
  const read = await streamAllEventsToArray(store.read(both));
  const outcome = await store
    .append({ events: [event("Ann, course 1", "course=1", "student=1")], condition })
    .then(() => "stored", (error) => (error instanceof AppendConditionError ? "refused" : error.message));
  console.log(`${name}: read ${JSON.stringify(read.map((each) => each.event.data.name))}; append ${outcome}`);
}
END
cat >expected <<'END'
in memory: read []; append stored
PostgreSQL: read ["Ann, course 2","Ben, course 1"]; append stored
END
node run.mjs >seen
diff expected seen
echo "as written"
