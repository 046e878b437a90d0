#!/usr/bin/env bash
# protobufjs encodes a bigint in an int64 field of a message made by `create` as 0, without an error.
#
# Versions: protobufjs 8.8.1 (npm), Node 20.20.
# Guess:    JavaScript's own 64-bit integer is taken, or refused with an error.
# Seen:     5n and 9007199254740993n are written as 0. A string of the same value is encoded exactly, and
#           `fromObject` takes the bigint as well. `verify` would have refused it; `encode` does not call it.
# Output:   create with a bigint: 0; with a string: 9007199254740993; fromObject: 9007199254740993.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund protobufjs@8.8.1

cat >run.mjs <<'END'
import protobuf from "protobufjs";

const text = 'syntax = "proto3"; message Position { int64 value = 1; }';
const Position = protobuf.parse(text).root.lookupType("Position");
const through = (message) => String(Position.decode(Position.encode(message).finish()).value);
console.log(`create with a bigint: ${through(Position.create({ value: 9007199254740993n }))}`);
console.log(`create with a string: ${through(Position.create({ value: "9007199254740993" }))}`);
console.log(`fromObject with a bigint: ${through(Position.fromObject({ value: 9007199254740993n }))}`);
END
cat >expected <<'END'
create with a bigint: 0
create with a string: 9007199254740993
fromObject with a bigint: 9007199254740993
END
node run.mjs >seen
diff expected seen
echo "as written"
