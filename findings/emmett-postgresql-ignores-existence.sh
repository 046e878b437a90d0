#!/usr/bin/env bash
# Emmett's PostgreSQL store ignores STREAM_EXISTS and STREAM_DOES_NOT_EXIST: of two that create one stream
# both succeed. Its store in memory, on which the tests run, refuses.
#
# Versions: @event-driven-io/emmett 0.42.0, emmett-postgresql 0.42.0 (npm), on PGlite 0.5.14 (PostgreSQL as
#           a library), Node 20.20.
# Guess:    the two stores of one interface keep the same expectations.
# Seen:     with PostgreSQL only a number is compared. An append that expects no stream is stored behind
#           three events and answered with `createdNewStream: true`; one that expects a stream creates it.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @event-driven-io/emmett@0.42.0 @event-driven-io/emmett-postgresql@0.42.0 \
  @electric-sql/pglite@0.5.14 @electric-sql/pglite-socket@0.2.17

cat >postgres.mjs <<'END'
import { once } from "node:events";
import { createServer } from "node:net";
import { PGlite } from "@electric-sql/pglite";
import { PGLiteSocketServer } from "@electric-sql/pglite-socket";

/** A PostgreSQL of this process, on a free port of the loopback. */
export async function startPostgres() {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  await once(probe, "close");
  const db = await PGlite.create();
  const server = new PGLiteSocketServer({ db, host: "127.0.0.1", port, maxConnections: 20 });
  await server.start();
  return `postgresql://postgres:postgres@127.0.0.1:${port}/postgres?sslmode=disable`;
}
END

cat >run.mjs <<'END'
import { getInMemoryEventStore, STREAM_DOES_NOT_EXIST, STREAM_EXISTS } from "@event-driven-io/emmett";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
import { startPostgres } from "./postgres.mjs";

const stores = {
  memory: getInMemoryEventStore(),
  postgresql: getPostgreSQLEventStore(await startPostgres()),
};
const event = { type: "T", data: {} };
for (const [name, store] of Object.entries(stores)) {
  await store.appendToStream("there-1", [event, event, event]);
  for (const [stream, expectedStreamVersion] of [
    ["there-1", STREAM_DOES_NOT_EXIST],
    ["absent-1", STREAM_EXISTS],
    ["there-1", 1n],
  ]) {
    const answer = await store.appendToStream(stream, [event], { expectedStreamVersion }).then(
      ({ nextExpectedStreamVersion: version, createdNewStream }) =>
        `stored, version ${version}, createdNewStream ${createdNewStream}`,
      () => "refused",
    );
    console.log(`${name} ${stream} expecting ${expectedStreamVersion}: ${answer}`);
  }
}
process.exit();
END
cat >expected <<'END'
memory there-1 expecting STREAM_DOES_NOT_EXIST: refused
memory absent-1 expecting STREAM_EXISTS: refused
memory there-1 expecting 1: refused
postgresql there-1 expecting STREAM_DOES_NOT_EXIST: stored, version 4, createdNewStream true
postgresql absent-1 expecting STREAM_EXISTS: stored, version 1, createdNewStream true
postgresql there-1 expecting 1: refused
END
node run.mjs >seen
diff expected seen
echo "as written"
