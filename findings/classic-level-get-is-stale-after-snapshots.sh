#!/usr/bin/env bash
# A read of an overwritten key answers an older value for good, although every write was acknowledged.
#
# Versions: classic-level 3.0.0 (npm; it embeds LevelDB 1.20), Node 20.20. Default options.
# Guess:    snapshots keep old values for those who read through them; `get` without one is the newest.
# Seen:     after 280 overwrites of large values with snapshots held open, `get` answers a value that was
#           overwritten, while an iterator over the same key answers the newest. Closing the snapshots
#           and reopening the database change nothing; a compaction of the range does.
#           A compaction splits the versions of one key over two tables of a level and moves the newer
#           ones down alone. google/leveldb mended this in 1.21 (issue 320).
# Output:   get is stale: true, iterator is stale: false; the same after closing the snapshots and after
#           reopening; after compactRange neither is.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >run.mjs <<'END'
import { ClassicLevel } from "classic-level";

const options = { valueEncoding: "buffer" };
let db = new ClassicLevel("db", options);
const newest = new Map();
const snapshots = [];
let writes = 0;

async function staleKey() {
  for (const [key, want] of newest) {
    if ((await db.get(key)).readUInt32BE() !== want) return key;
  }
}

let key;
for (let burst = 0; key === undefined && burst < 60; burst += 1) {
  const name = `k${(burst * 7) % 30}`;
  for (let time = 0; time < 40; time += 1) {
    writes += 1;
    const value = Buffer.alloc(200_000);
    // Bytes that do not compress, so that the tables are as large as the values.
    for (let at = 0; at < value.length; at += 4) {
      value.writeUInt32BE((Math.imul(writes, 2654435761) + Math.imul(at, 40503)) >>> 0, at);
    }
    value.writeUInt32BE(writes);
    await db.put(name, value);
    newest.set(name, writes);
    snapshots.push(db.snapshot());
    if (snapshots.length > 300) await snapshots.shift().close();
  }
  key = await staleKey();
}
if (key === undefined) {
  console.log(`no stale read in ${writes} writes`);
  process.exit();
}

async function report(when) {
  const got = (await db.get(key)).readUInt32BE();
  const [[, value]] = await db.iterator({ gte: key, lte: key }).all();
  const stale = (number) => number !== newest.get(key);
  console.log(`${when}: get is stale: ${stale(got)}, iterator is stale: ${stale(value.readUInt32BE())}`);
}

await report("snapshots open");
for (const snapshot of snapshots) await snapshot.close();
await report("snapshots closed");
await db.close();
db = new ClassicLevel("db", options);
await report("reopened");
await db.compactRange("a", "z");
await report("compacted");
await db.close();
END
cat >expected <<'END'
snapshots open: get is stale: true, iterator is stale: false
snapshots closed: get is stale: true, iterator is stale: false
reopened: get is stale: true, iterator is stale: false
compacted: get is stale: false, iterator is stale: false
END
node run.mjs >seen
diff expected seen
echo "as written"
