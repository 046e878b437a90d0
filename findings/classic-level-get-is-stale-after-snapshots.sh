#!/usr/bin/env bash
# A read of an overwritten key answers an older value, although every write was acknowledged, and goes on so.
#
# Versions: classic-level 3.0.0 (npm; it embeds LevelDB 1.20), Node 20.20. Default options.
# Guess:    snapshots keep old values for those who read through them; `get` without one is the newest.
# Seen:     within some hundred overwrites of large values with snapshots held open, `get` answers a value
#           that was overwritten, while an iterator over the same key answers the newest. In most runs it
#           does so still when the snapshots are closed and the database was reopened: only a compaction of
#           the key's range mends it.
#           A compaction splits the versions of one key over two tables of a level and moves the newer
#           ones down alone: google/leveldb issue 320, mended there after 1.20.
# Output:   get answers an overwritten value: true; an iterator: false; get after compactRange: false.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >run.mjs <<'END'
import { ClassicLevel } from "classic-level";

const db = new ClassicLevel("db", { valueEncoding: "buffer" });
const newest = new Map();
const snapshots = [];
let writes = 0;

const isOld = (key, value) => value.readUInt32BE() !== newest.get(key);

async function staleKey() {
  for (const key of newest.keys()) {
    if (isOld(key, await db.get(key))) return key;
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
console.log(`get answers an overwritten value: ${key !== undefined}`);
if (key === undefined) process.exit();
const [[, value]] = await db.iterator({ gte: key, lte: key }).all();
console.log(`an iterator answers an overwritten value: ${isOld(key, value)}`);
for (const snapshot of snapshots) await snapshot.close();
await db.compactRange("a", "z");
console.log(`get after compactRange: ${isOld(key, await db.get(key))}`);
await db.close();
END
cat >expected <<'END'
get answers an overwritten value: true
an iterator answers an overwritten value: false
get after compactRange: false
END
node run.mjs >seen
diff expected seen
echo "as written"
