#!/usr/bin/env bash
# A flipped bit in a key makes its entry disappear without an error, and a merge of tables then gives
# the damaged block a checksum that is right.
#
# Versions: classic-level 3.0.0 (npm; it embeds LevelDB 1.20), Node 20.20, Linux.
# Guess:    what fails its checksum is reported, at the latest when it is read to be written again.
# Seen:     `get` answers that there is no such key. Compaction reads without verifying as well: from
#           then on nothing in the file tells that it was damaged. Only a checksum over key and value
#           of one's own, and another source of which keys exist, can tell.
# Output:   the key before and after the damage, what the block's CRC-32C is, and both after the merge.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund classic-level@3.0.0

cat >run.mjs <<'END'
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { ClassicLevel } from "classic-level";

const open = () => new ClassicLevel("db", { compression: false });
const key = (i) => `key-${100 + 4 * i}`;
const tables = () => readdirSync("db").filter((name) => name.endsWith(".ldb"));

function crc32c(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return ~crc >>> 0;
}
/** Of the first block: its length is in the first entry of the index, which the footer leads to. */
function isFirstBlockRight() {
  const file = readFileSync(`db/${tables()[0]}`);
  let at = file.length - 48;
  const varint = () => {
    let value = 0;
    for (let shift = 0; ; shift += 7) {
      const byte = file[at++];
      value |= (byte & 0x7f) << shift;
      if (byte < 0x80) return value;
    }
  };
  varint(), varint();
  at = varint();
  varint();
  const keyBytes = varint();
  varint();
  at += keyBytes, varint();
  const size = varint();
  const masked = (file.readUInt32LE(size + 1) - 0xa282ead8) >>> 0;
  return crc32c(file.subarray(0, size + 1)) === ((masked >>> 17) | (masked << 15)) >>> 0;
}
async function look(when) {
  const db = open();
  const value = await db.get(key(16));
  await db.close();
  console.log(`${when}: ${value}, the checksum is ${isFirstBlockRight() ? "right" : "wrong"}`);
}

let db = open();
for (let i = 0; i < 40; i++) await db.put(key(i), `value ${i}`);
await db.compactRange("a", "z");
await db.close();
await look("as written");
const path = `db/${tables()[0]}`;
const bytes = readFileSync(path);
// Every sixteenth key is stored whole.
bytes[bytes.indexOf(key(16)) + 6] ^= 1;
writeFileSync(path, bytes);
await look("one bit later");
db = open();
await db.put("key-000", "the first");
await db.put("key-999", "the last");
await db.compactRange("a", "z");
await db.close();
await look("after a merge");
END
cat >expected <<'END'
as written: value 16, the checksum is right
one bit later: undefined, the checksum is wrong
after a merge: undefined, the checksum is right
END
node run.mjs >seen
diff expected seen
echo "as written"
