#!/usr/bin/env bash
# A handler of an Emmett consumer that throws once loses the rest of its batch for good, where another
# processor runs in the same consumer: not even a new start delivers it.
#
# Versions: @event-driven-io/emmett 0.42.0, emmett-postgresql 0.42.0 (npm), on PGlite 0.5.14 (PostgreSQL as
#           a library), Node 20.20.
# Guess:    a processor that failed goes on behind the last event it handled: at once, after a delay, or when
#           the consumer is started again.
# Seen:     of ten events the processor that fails on the 4th handles three. The other one handles ten, and
#           the consumer goes on. A new consumer of the same processors delivers neither the 4th to 10th nor
#           anything else until there is a new event, which the failed processor gets: 4 to 10 are skipped,
#           and no error is reported.
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
import { setTimeout as wait } from "node:timers/promises";
import { getPostgreSQLEventStore, postgreSQLEventStoreConsumer } from "@event-driven-io/emmett-postgresql";
import { startPostgres } from "./postgres.mjs";

const connectionString = await startPostgres();
const store = getPostgreSQLEventStore(connectionString);
const events = (numbers) => numbers.map((number) => ({ type: "T", data: { number } }));
await store.appendToStream("s-1", events([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]));

/** Runs both processors until nothing new came for five seconds. */
async function consume(what, failAt) {
  const handled = { failing: [], other: [] };
  let failures = 0;
  const consumer = postgreSQLEventStoreConsumer({ connectionString });
  for (const processorId of ["failing", "other"]) {
    const eachMessage = async ({ data }) => {
      if (processorId === "failing" && data.number === failAt && failures === 0) {
        failures += 1;
        throw new Error("once");
      }
      handled[processorId].push(data.number);
    };
    consumer.reactor({ processorId, eachMessage });
  }
  let ended = "goes on";
  consumer.start().catch((error) => (ended = error.message));
  let before;
  do {
    before = JSON.stringify(handled);
    await wait(5_000);
  } while (JSON.stringify(handled) !== before);
  console.log(`${what}: failing [${handled.failing}], other [${handled.other}], ${ended}`);
  await consumer.stop();
}

await consume("first start", 4);
await consume("second start");
await store.appendToStream("s-1", events([11]));
await consume("third start, a new event");
process.exit();
END
cat >expected <<'END'
first start: failing [1,2,3], other [1,2,3,4,5,6,7,8,9,10], goes on
second start: failing [], other [], goes on
third start, a new event: failing [11], other [11], goes on
END
node run.mjs >seen
diff expected seen
echo "as written"
