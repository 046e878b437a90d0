#!/usr/bin/env bash
# One CEL filter over one JSON event gives two answers: in JavaScript a member that is null is not in its
# object, and an integer of the event cannot be added to an integer of the filter.
#
# Versions: @bufbuild/cel 0.6.1 (npm), cel-python 0.5.0 (PyPI), Node 20.20, Python 3.11.
# Guess:    a filter language with a specification means the same in every language.
# Seen:     of {"a":null,"n":5}: `"a" in x` is false in JavaScript and true in Python (`x.a == null` is true
#           in both). JSON's numbers are doubles in JavaScript, so `x.n + 1` has no overload; in Python 5 is
#           an integer, so `x.n + 1.0` and even `x.n == 5.0` have none. Run filters in one place.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @bufbuild/cel@0.6.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check cel-python==0.5.0

cat >filters <<'END'
"a" in x
has(x.a)
x.a == null
x.n == 5.0
x.n + 1 == 6
x.n + 1.0 == 6.0
END
cat >run.mjs <<'END'
import { readFileSync } from "node:fs";
import { run } from "@bufbuild/cel";

const x = JSON.parse('{"a":null,"n":5}');
for (const filter of readFileSync("filters", "utf8").trim().split("\n")) {
  const answer = run(filter, { x });
  console.log(`js ${filter}: ${typeof answer === "boolean" ? answer : "error"}`);
}
END
cat >run.py <<'END'
import json

import celpy

x = celpy.json_to_cel(json.loads('{"a":null,"n":5}'))
environment = celpy.Environment()
for line in open("filters", encoding="utf-8").read().splitlines():
    try:
        answer = environment.program(environment.compile(line)).evaluate({"x": x})
        print(f"py {line}: {str(bool(answer)).lower()}")
    except celpy.CELEvalError:
        print(f"py {line}: error")
END
cat >expected <<'END'
js "a" in x: false
js has(x.a): false
js x.a == null: true
js x.n == 5.0: true
js x.n + 1 == 6: error
js x.n + 1.0 == 6.0: true
py "a" in x: true
py has(x.a): true
py x.a == null: true
py x.n == 5.0: error
py x.n + 1 == 6: true
py x.n + 1.0 == 6.0: error
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
