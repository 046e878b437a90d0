#!/usr/bin/env bash
# memory-level stores the caller's own buffer and hands it out again: writing into it changes the store.
# A test that passes on it says nothing about classic-level, and the other way round.
#
# Versions: memory-level 3.1.0, classic-level 3.0.0 (npm), Node 20.20.
# Guess:    the store in memory behaves as the one on disk: values are copied in and out.
# Seen:     a buffer changed after an awaited `put`, and an answer of `get` that is changed, both change
#           what is stored; a snapshot taken before sees the change as well.
# Output:   memory: after the put zzz, after the get qqq, by the snapshot qqq; classic: aaa each time.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0 memory-level@3.1.0

cat >run.mjs <<'END'
import { ClassicLevel } from "classic-level";
import { MemoryLevel } from "memory-level";

const options = { valueEncoding: "buffer" };
for (const db of [new MemoryLevel(options), new ClassicLevel("db", options)]) {
  const value = Buffer.from("aaa");
  await db.put("key", value);
  const snapshot = db.snapshot();
  value.fill("z");
  const afterPut = String(await db.get("key"));
  (await db.get("key")).fill("q");
  const afterGet = String(await db.get("key"));
  const bySnapshot = String(await db.get("key", { snapshot }));
  console.log(`${db.constructor.name}: ${afterPut} ${afterGet} ${bySnapshot}`);
  await snapshot.close();
  await db.close();
}
END
cat >expected <<'END'
MemoryLevel: zzz qqq qqq
ClassicLevel: aaa aaa aaa
END
node run.mjs >seen
diff expected seen
echo "as written"
