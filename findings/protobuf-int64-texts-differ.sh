#!/usr/bin/env bash
# Which texts are a 64-bit integer in protobuf's JSON depends on the runtime: protobuf-es takes "0x10" for
# 16 and " 5" for 5, Python takes "1_000" for 1000, Go takes none of these; "1e3" is one in Python and Go.
#
# Versions: @bufbuild/protobuf 2.17.0 (npm), protobuf 7.36.2 (PyPI), google.golang.org/protobuf v1.36.12 (Go),
#           Node 20.20, Python 3.11, Go 1.26.
# Guess:    positions and versions, which are strings in JSON, are decimal digits everywhere.
# Seen:     JavaScript reads them with BigInt(), Python with int(), each with its language's notation. The
#           same request is refused by one server and means something in another.
# Output:   as below; - is refused.
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

printf '%s\n' '"5"' '"05"' '"+5"' '" 5"' '"0x10"' '"1_000"' '"1e3"' '"1.0"' >texts
cat >run.mjs <<'END'
import { readFileSync } from "node:fs";
import { fromJsonString } from "@bufbuild/protobuf";
import { Int64ValueSchema } from "@bufbuild/protobuf/wkt";

const read = (text) => {
  try {
    return fromJsonString(Int64ValueSchema, text).value;
  } catch {
    return "-";
  }
};
console.log(["js", ...readFileSync("texts", "utf8").trim().split("\n").map(read)].join(" "));
END
cat >run.py <<'END'
from google.protobuf import json_format
from google.protobuf.wrappers_pb2 import Int64Value


def read(text):
    try:
        return str(json_format.Parse(text, Int64Value()).value)
    except json_format.ParseError:
        return "-"


print("py", *map(read, open("texts", encoding="utf-8").read().splitlines()))
END
cat >main.go <<'END'
package main

import (
	"fmt"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

func main() {
	texts, _ := os.ReadFile("texts")
	line := "go"
	for _, text := range strings.Split(strings.TrimSpace(string(texts)), "\n") {
		var value wrapperspb.Int64Value
		if err := protojson.Unmarshal([]byte(text), &value); err != nil {
			line += " -"
		} else {
			line += fmt.Sprint(" ", value.Value)
		}
	}
	fmt.Println(line)
}
END
{
  echo "text $(tr '\n' ' ' <texts | sed 's/" 5"/"_5"/; s/ $//')"
  node run.mjs
  venv/bin/python run.py
  go run .
} >seen
cat >expected <<'END'
text "5" "05" "+5" "_5" "0x10" "1_000" "1e3" "1.0"
js 5 5 5 5 16 - - -
py 5 5 5 - - 1000 1000 1
go 5 - - - - - 1000 1
END
diff expected seen
echo "as written"
