#!/usr/bin/env bash
# JSON that a protobuf runtime takes as a `google.protobuf.Value` and encodes may be more than it can decode
# again; how deep is another number in each runtime.
#
# Versions: @bufbuild/protobuf 2.17.0 (npm), protobuf 7.36.2 (PyPI), google.golang.org/protobuf v1.36.12 (Go),
#           Node 20.20, Python 3.11, Go 1.26.
# Guess:    what one runtime parsed and encoded, it can decode; the limits of the runtimes are alike.
# Seen:     the JSON parser counts levels of JSON, the decoder counts messages, of which an object takes two
#           or three. protobuf-es takes 98 nested objects as JSON and cannot read its own bytes beyond 49;
#           Python takes 49 and reads 33; Go takes thousands. A payload that an application in one language
#           stored stops readers in another for good. Send JSON as bytes.
# Output:   as below, for objects nested in one another.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @bufbuild/protobuf@2.17.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check protobuf==7.36.2
go mod init seen 2>/dev/null
go get google.golang.org/protobuf@v1.36.12 2>/dev/null

cat >run.mjs <<'END'
import { fromBinary, fromJsonString, toBinary } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";

const parse = (depth) => fromJsonString(ValueSchema, '{"a":'.repeat(depth) + "1" + "}".repeat(depth));
function deepest(works) {
  for (let depth = 1; ; depth += 1) {
    try {
      works(depth);
    } catch {
      return depth - 1;
    }
  }
}
const binary = deepest((depth) => fromBinary(ValueSchema, toBinary(ValueSchema, parse(depth))));
console.log(`js: ${deepest(parse)} as JSON, ${binary} of its own bytes`);
END
cat >run.py <<'END'
from google.protobuf import json_format
from google.protobuf.struct_pb2 import Value


def parse(depth):
    return json_format.Parse('{"a":' * depth + "1" + "}" * depth, Value())


def deepest(works):
    depth = 1
    while True:
        try:
            works(depth)
        except Exception:
            return depth - 1
        depth += 1


binary = deepest(lambda depth: Value.FromString(parse(depth).SerializeToString()))
print(f"py: {deepest(parse)} as JSON, {binary} of its own bytes")
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/structpb"
)

func main() {
	const depth = 1000
	var parsed, read structpb.Value
	text := strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
	err := protojson.Unmarshal([]byte(text), &parsed)
	bytes, _ := proto.Marshal(&parsed)
	fmt.Printf("go: %d as JSON: %v, of its own bytes: %v\n", depth, err == nil, proto.Unmarshal(bytes, &read) == nil)
}
END
cat >expected <<'END'
js: 98 as JSON, 49 of its own bytes
py: 49 as JSON, 33 of its own bytes
go: 1000 as JSON: true, of its own bytes: true
END
node run.mjs >seen
venv/bin/python run.py >>seen
go run . >>seen
diff expected seen
echo "as written"
