#!/usr/bin/env bash
# message-db accepts a message for a stream whose name has no hyphen, and then cannot read that stream: no
# reader of streams and no member of a consumer group gets the message.
#
# Versions: @eventide/message-db 1.3.1 (npm: its SQL), on PGlite 0.5.14 (PostgreSQL as a library), Node 20.20.
# Guess:    a name that cannot be read is refused when it is written; or a name without a hyphen is a stream
#           without an id.
# Seen:     it is written at position 0 like any other. Reading it as a stream is an error, it appears only in
#           its "category", and with consumer groups its hash is null, so that it belongs to no member, also
#           where there is one member only. A message that is written again with its id, as after a lost
#           answer, is an error of the unique index, not the position.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @eventide/message-db@1.3.1 @electric-sql/pglite@0.5.14

cat >run.mjs <<'END'
import { readFileSync } from "node:fs";
import { PGlite } from "@electric-sql/pglite";

const db = await PGlite.create();
const functions =
  "message-store-version hash-64 acquire-lock category is-category id cardinal-id stream-version " +
  "write-message get-stream-messages get-category-messages";
const files = ["roles/message-store", "schema/message-store", "types/message", "tables/messages"]
  .concat(functions.split(" ").map((name) => `functions/${name}`))
  .concat(["category", "id", "stream"].map((name) => `indexes/messages-${name}`));
for (const file of files) {
  await db.exec(readFileSync(`node_modules/@eventide/message-db/database/${file}.sql`, "utf8"));
  if (file.startsWith("schema")) await db.exec("SET search_path TO message_store, public");
}
const ask = (sql, values) =>
  db.query(sql, values).then(
    ({ rows }) => JSON.stringify(rows.map((row) => Object.values(row)[0])),
    (error) => error.message,
  );
const write = (id, stream) =>
  ask("SELECT write_message($1::varchar, $2::varchar, 'T'::varchar, '{}'::jsonb)", [id, stream]);

const id = (last) => `00000000-0000-4000-8000-00000000000${last}`;
console.log(`written: orders-1 ${await write(id(1), "orders-1")}, orders ${await write(id(2), "orders")}`);
for (const stream of ["orders-1", "orders"]) {
  console.log(`stream ${stream}: ${await ask(`SELECT stream_name FROM get_stream_messages('${stream}')`)}`);
}
const category = (values) => ask(`SELECT stream_name FROM get_category_messages(${values})`);
console.log(`category: ${await category("'orders'")}`);
console.log(`the only member of a group: ${await category("'orders', 1, 1000, NULL, 0, 1")}`);
console.log(`written again: ${await write(id(1), "orders-1")}`);
END
cat >expected <<'END'
written: orders-1 [0], orders [0]
stream orders-1: ["orders-1"]
stream orders: Must be a stream name: orders
category: ["orders-1","orders"]
the only member of a group: ["orders-1"]
written again: duplicate key value violates unique constraint "messages_id"
END
node run.mjs >seen
diff expected seen
echo "as written"
