#!/usr/bin/env bash
# `readStream` of Emmett answers other events from PostgreSQL than from memory for the same `from`, and with
# PostgreSQL it does not look at the version that the reader expects.
#
# Versions: @event-driven-io/emmett 0.42.0, emmett-postgresql 0.42.0 (npm), on PGlite 0.5.14 (PostgreSQL as
#           a library), Node 20.20.
# Guess:    `from: 2n` is the same event in both stores of one interface.
# Seen:     in memory `from` is an index that begins at 0, in PostgreSQL a version that begins at 1 (so 0 and
#           1 are the same there). A projection or a snapshot that resumes by it, tested in memory, folds
#           one event twice. An expectation that does not hold is an error in memory, nothing in PostgreSQL.
# Output:   as below, of a stream of the events 1 2 3.
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
import { getInMemoryEventStore } from "@event-driven-io/emmett";
import { getPostgreSQLEventStore } from "@event-driven-io/emmett-postgresql";
import { startPostgres } from "./postgres.mjs";

const stores = {
  memory: getInMemoryEventStore(),
  postgresql: getPostgreSQLEventStore(await startPostgres()),
};
for (const [name, store] of Object.entries(stores)) {
  const events = [1, 2, 3].map((number) => ({ type: "T", data: { number } }));
  await store.appendToStream("s-1", events);
  for (const from of [0n, 1n, 2n]) {
    const read = await store.readStream("s-1", { from });
    console.log(`${name} from ${from}: ${read.events.map((event) => event.data.number).join(" ")}`);
  }
  const wrong = async () => store.readStream("s-1", { expectedStreamVersion: 77n });
  const expecting = await wrong().then(
    () => "answered",
    () => "refused",
  );
  console.log(`${name} expecting version 77: ${expecting}`);
}
process.exit();
END
cat >expected <<'END'
memory from 0: 1 2 3
memory from 1: 2 3
memory from 2: 3
memory expecting version 77: refused
postgresql from 0: 1 2 3
postgresql from 1: 1 2 3
postgresql from 2: 2 3
postgresql expecting version 77: answered
END
node run.mjs >seen
diff expected seen
echo "as written"
