#!/usr/bin/env bash
# Binary data of a structured CloudEvent (`data_base64`) comes back as a Uint32Array, one element a byte.
#
# Versions: cloudevents 10.0.0 (npm, the official JavaScript SDK), Node 20.20.
# Guess:    `event.data` is a Buffer or a Uint8Array that holds the bytes.
# Seen:     the three bytes 01 02 ff are a Uint32Array of three elements, so that its memory is twelve bytes:
#           code that hands `data.buffer` on, writes or hashes it gets other bytes, and
#           `instanceof Uint8Array` is false. `Buffer.from(event.data)` is right.
# Output:   Uint32Array, bytes in memory 0100000002000000ff000000, element by element 0102ff.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund cloudevents@10.0.0

cat >run.mjs <<'END'
import { HTTP } from "cloudevents";

const body = { specversion: "1.0", id: "1", source: "/s", type: "t", data_base64: "AQL/" };
const headers = { "content-type": "application/cloudevents+json" };
const { data } = HTTP.toEvent({ headers, body: JSON.stringify(body) });
console.log(data.constructor.name);
console.log(`in memory ${Buffer.from(data.buffer).toString("hex")}`);
console.log(`element by element ${Buffer.from(data).toString("hex")}`);
END
cat >expected <<'END'
Uint32Array
in memory 0100000002000000ff000000
element by element 0102ff
END
node run.mjs >seen
diff expected seen
echo "as written"
