#!/usr/bin/env bash
# `iterator.nextv(1000)` over 1,000 small entries answers 155 of them; memory-level answers all.
#
# Versions: classic-level 3.0.0, memory-level 3.1.0 (npm), Node 20.20.
# Guess:    a page that is shorter than asked for is the last one.
# Seen:     classic-level also ends a page at `highWaterMarkBytes` (16 KiB by default). Code that stops at
#           a short page reads a sixth of the data, and its tests on memory-level are green.
# Output:   the sizes of the pages, as below; the end is an empty page.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0 memory-level@3.1.0

cat >run.mjs <<'END'
import { ClassicLevel } from "classic-level";
import { MemoryLevel } from "memory-level";

for (const db of [new MemoryLevel(), new ClassicLevel("db")]) {
  const entry = (_, index) => ({ type: "put", key: `${100_000 + index}`, value: "v".repeat(100) });
  await db.batch(Array.from({ length: 1_000 }, entry));
  const iterator = db.iterator();
  const sizes = [];
  do sizes.push((await iterator.nextv(1_000)).length);
  while (sizes.at(-1) > 0);
  console.log(`${db.constructor.name}: ${sizes.join(" ")}`);
  await iterator.close();
  await db.close();
}
END
cat >expected <<'END'
MemoryLevel: 1000 0
ClassicLevel: 155 155 155 155 155 155 70 0
END
node run.mjs >seen
diff expected seen
echo "as written"
