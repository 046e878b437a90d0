#!/usr/bin/env bash
# Go's usual library for JSON Merge Patch removes null members of objects inside arrays, which RFC 7396
# replaces as a whole, and does not take null as the document to begin with.
#
# Versions: github.com/evanphx/json-patch/v5 v5.9.11 (Go), Go 1.26.
# Guess:    a value that is not an object replaces what was there as it is, so an array keeps its nulls; the
#           first patch of a history applies to null.
# Seen:     [{"b":null}] becomes [{}]; a bare null in an array stays. A state folded from events in Go differs
#           from one folded by the RFC's own algorithm. Begin with {} rather than null.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

go mod init seen 2>/dev/null
go get github.com/evanphx/json-patch/v5@v5.9.11 2>/dev/null

cat >main.go <<'END'
package main

import (
	"fmt"

	jsonpatch "github.com/evanphx/json-patch/v5"
)

func main() {
	for _, pair := range [][2]string{
		{`{}`, `{"a":[1,null]}`},
		{`{}`, `{"a":[{"b":null}]}`},
		{`null`, `{"a":1}`},
	} {
		merged, err := jsonpatch.MergePatch([]byte(pair[0]), []byte(pair[1]))
		if err != nil {
			merged = []byte(err.Error())
		}
		fmt.Printf("%s and %s: %s\n", pair[0], pair[1], merged)
	}
}
END
cat >expected <<'END'
{} and {"a":[1,null]}: {"a":[1,null]}
{} and {"a":[{"b":null}]}: {"a":[{}]}
null and {"a":1}: Invalid JSON Document
END
go run . >seen
diff expected seen
echo "as written"
