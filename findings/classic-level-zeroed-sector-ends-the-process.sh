#!/usr/bin/env bash
# A sector of a table that turns to zeros ends the process that reads it; no error can be caught.
#
# Versions: classic-level 3.0.0 (npm; it embeds LevelDB 1.20), Node 20.20, Linux.
# Guess:    LevelDB verifies its checksums, or answers that the block is corrupted (LEVEL_CORRUPTION).
# Seen:     blocks are not verified, and that option cannot be set from JavaScript. Zeros decode as
#           entries with empty keys, and an assertion (internal_key.size() >= 8) calls abort().
# Output:   a process that gets every key: SIGABRT, Assertion.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >read.mjs <<'END'
import { ClassicLevel } from "classic-level";
const db = new ClassicLevel("db");
await db.open();
try {
  for (let i = 0; i < 400; i++) await db.get(`key ${1_000 + i}`);
} catch (error) {
  console.log(`caught ${error.code}`);
}
END
cat >run.mjs <<'END'
import { spawnSync } from "node:child_process";
import { randomBytes } from "node:crypto";
import { closeSync, openSync, readdirSync, writeSync } from "node:fs";
import { ClassicLevel } from "classic-level";

const options = { valueEncoding: "buffer", compression: false };
const db = new ClassicLevel("db", options);
for (let i = 0; i < 400; i++) await db.put(`key ${1_000 + i}`, randomBytes(300));
await db.compactRange("", "z");
await db.close();
const table = readdirSync("db").find((name) => name.endsWith(".ldb"));
const file = openSync(`db/${table}`, "r+");
writeSync(file, Buffer.alloc(512), 0, 512, 16_384);
closeSync(file);
const { signal, stderr } = spawnSync(process.execPath, ["read.mjs"], { encoding: "utf8" });
console.log(`a process that gets every key: ${signal}, ${/Assertion/.exec(stderr)}`);
END
cat >expected <<'END'
a process that gets every key: SIGABRT, Assertion
END
node run.mjs >seen
diff expected seen
echo "as written"
