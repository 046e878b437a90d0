#!/usr/bin/env bash
# A process that only reads makes LevelDB rewrite its tables.
#
# Versions: classic-level 3.0.0 (npm), Node 20 and 24.
# Guess:    `get` writes nothing: without a `put`, the files of tables stay as they are.
# Seen:     each `get` that looks into one table in vain and finds its key in another one counts against
#           the first. After some hundred of them that table is merged with the tables below it, in the
#           background, however small it is: here 20,000 reads of a database that nobody writes to
#           replace all of its tables, and as many reads more replace none. A Bloom filter does not
#           change it.
# Output:   first 20,000 reads: none of the tables are still there;
#           second 20,000 reads: all of the tables are still there.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >run.mjs <<'END'
import { readdirSync } from "node:fs";
import { setTimeout } from "node:timers/promises";
import { ClassicLevel } from "classic-level";

const count = 50_000;
const keyOf = (n) => `key ${String(n).padStart(8, "0")}`;
const tables = () => readdirSync("db").filter((name) => name.endsWith(".ldb"));
const open = async () => {
  const db = new ClassicLevel("db");
  await db.open();
  return db;
};

let db = await open();
for (let n = 0; n < count; n += 1_000) {
  const batch = db.batch();
  for (let i = n; i < n + 1_000; i++) batch.put(keyOf(i), `${i} `.repeat(20));
  await batch.write();
}
await db.compactRange(keyOf(0), keyOf(count));
// Newer tables of a few keys each, over the same range: opening anew makes each a table.
for (let round = 0; round < 3; round++) {
  for (let i = round; i < count; i += 5_000) await db.put(keyOf(i), "newer");
  await db.close();
  db = await open();
}
await setTimeout(1_000);

for (const when of ["first", "second"]) {
  const before = tables();
  for (let i = 0; i < 20_000; i++) await db.get(keyOf((i * 7_919) % count));
  await setTimeout(2_000);
  const left = before.filter((name) => tables().includes(name));
  const kept = left.length === before.length ? "all" : left.length === 0 ? "none" : "some";
  console.log(`${when} 20,000 reads: ${kept} of the tables are still there`);
}
await db.close();
END
cat >expected <<'END'
first 20,000 reads: none of the tables are still there
second 20,000 reads: all of the tables are still there
END
node run.mjs >seen
diff expected seen
echo "as written"
