#!/usr/bin/env bash
# Two JSON texts with different integers have one canonical form: 9007199254740993 becomes ...992 in three
# of four packages for canonical JSON, without an error.
#
# Versions: canonicalize 4.0.0, json-canonicalize 3.0.1 (npm), jcs 0.2.1, rfc8785 0.1.4 (PyPI), Node 20.20,
#           Python 3.11.
# Guess:    a canonical form, made to be hashed or signed, is different for different content, or refuses
#           what it cannot hold; Python's integers are exact anyway.
# Seen:     RFC 8785 makes numbers doubles. In JavaScript the digits are gone when JSON was parsed; Python's
#           jcs converts its exact integer. Only rfc8785 raises an error. A hash over this form does not tell
#           two amounts or ids apart: hash the bytes as they were received.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund canonicalize@4.0.0 json-canonicalize@3.0.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check jcs==0.2.1 rfc8785==0.1.4

cat >run.mjs <<'END'
import canonicalize from "canonicalize";
import { canonicalize as jsonCanonicalize } from "json-canonicalize";

const value = JSON.parse('{"id":9007199254740993}');
console.log(`canonicalize ${canonicalize(value)}`);
console.log(`json-canonicalize ${jsonCanonicalize(value)}`);
END
cat >run.py <<'END'
import json

import jcs
import rfc8785

value = json.loads('{"id":9007199254740993}')
print("jcs", jcs.canonicalize(value).decode())
try:
    print("rfc8785", rfc8785.dumps(value).decode())
except rfc8785.CanonicalizationError as error:
    print("rfc8785", type(error).__name__)
END
cat >expected <<'END'
canonicalize {"id":9007199254740992}
json-canonicalize {"id":9007199254740992}
jcs {"id":9007199254740992}
rfc8785 IntegerDomainError
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
