#!/usr/bin/env bash
# A process that reads the file LOCK of its own open database lets a second process open the database.
#
# Versions: classic-level 3.0.0 (npm; it embeds LevelDB 1.20), Node 20.20, Linux.
# Guess:    reading a file changes nothing; the database stays locked until it is closed.
# Seen:     LevelDB holds a POSIX record lock, and such a lock ends as soon as its process closes any
#           descriptor of the file. A program that copies or hashes its own database folder does so.
#           From then on two processes write one database.
# Output:   second process before: LEVEL_LOCKED; after LOCK was read: opened.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >second.mjs <<'END'
import { ClassicLevel } from "classic-level";
const db = new ClassicLevel("db");
try {
  await db.open();
  console.log("opened");
} catch (error) {
  console.log(error.cause.code);
}
END
cat >run.mjs <<'END'
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { ClassicLevel } from "classic-level";

const db = new ClassicLevel("db");
await db.open();
const second = () => execFileSync(process.execPath, ["second.mjs"], { encoding: "utf8" }).trim();
console.log(`second process before: ${second()}`);
readFileSync("db/LOCK");
console.log(`second process after LOCK was read: ${second()}`);
END
cat >expected <<'END'
second process before: LEVEL_LOCKED
second process after LOCK was read: opened
END
node run.mjs >seen
diff expected seen
echo "as written"
