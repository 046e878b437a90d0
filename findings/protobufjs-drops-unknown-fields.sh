#!/usr/bin/env bash
# protobufjs drops fields that its schema does not have: a relay in JavaScript that decodes and encodes a
# message of a newer version loses what is new. protobuf-es and Python's protobuf keep it.
#
# Versions: protobufjs 8.8.1, @bufbuild/protobuf 2.17.0 (npm), protobuf 7.36.2 (PyPI), Node 20.20, Python 3.11.
# Guess:    unknown fields survive, as they do in proto3's official runtimes since 3.5; a new major version of
#           2026 does as they do.
# Seen:     a message of two fields comes back with the one that is known. Hashes and signatures over it break,
#           and so does the contract that adding a field is compatible.
# Output:   field 2 after decoding and encoding with a schema that has only field 1, as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund protobufjs@8.8.1 @bufbuild/protobuf@2.17.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check protobuf==7.36.2

cat >run.mjs <<'END'
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { StringValueSchema } from "@bufbuild/protobuf/wkt";
import protobuf from "protobufjs";

// Field 1 is "a", field 2 is "b"; StringValue has a field 1 only.
const bytes = Buffer.from("0a0161120162", "hex");
const Known = protobuf.parse('syntax = "proto3"; message Known { string value = 1; }').root.lookupType("Known");
const kept = (again) => (Buffer.compare(bytes, again) === 0 ? "kept" : "dropped");
console.log(`protobufjs: ${kept(Known.encode(Known.decode(bytes)).finish())}`);
console.log(`protobuf-es: ${kept(toBinary(StringValueSchema, fromBinary(StringValueSchema, bytes)))}`);
END
cat >run.py <<'END'
from google.protobuf.wrappers_pb2 import StringValue

message = bytes.fromhex("0a0161120162")
kept = StringValue.FromString(message).SerializeToString() == message
print("python:", "kept" if kept else "dropped")
END
cat >expected <<'END'
protobufjs: dropped
protobuf-es: kept
python: kept
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
