#!/usr/bin/env bash
# A `put` made before the database has finished opening stores what the buffer holds later.
#
# Versions: classic-level 3.0.0 (npm), Node 20.20.
# Guess:    `put` copies the value when it is called, as it does on an open database.
# Seen:     an operation made while the database opens is deferred with a reference to the caller's
#           buffer. A buffer that is filled anew meanwhile (a pool, a reused encoder) is stored with its
#           new bytes. Once the database is open the value is copied at the call.
# Output:   stored before open: later; stored after open: first.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >run.mjs <<'END'
import { ClassicLevel } from "classic-level";

const db = new ClassicLevel("db", { valueEncoding: "buffer" });
for (const when of ["before open", "after open"]) {
  const value = Buffer.from("first");
  const written = db.put(when, value);
  value.write("later");
  await written;
  console.log(`stored ${when}: ${await db.get(when)}`);
}
await db.close();
END
cat >expected <<'END'
stored before open: later
stored after open: first
END
node run.mjs >seen
diff expected seen
echo "as written"
