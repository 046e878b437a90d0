#!/usr/bin/env bash
# The ids of the Python package uuid7 say version 7 and are of an old draft: by RFC 9562 they lie more than
# a century ahead, so they sort behind every id that another library makes.
#
# Versions: uuid7 0.1.0, uuid-utils 1.2.0 (PyPI), Python 3.11.
# Guess:    a package of that name, which sets version 7, makes the UUIDv7 of RFC 9562: 48 bits of
#           milliseconds first.
# Seen:     its first 36 bits are seconds, then come fractions of a second. Read as the RFC has it, the time
#           is 4.096 times as far from 1970. Ids of this package and of others do not sort by time
#           together, a range of ids by time misses them, and a server that checks an id's time refuses it.
# Output:   version 7; its time is more than 100 years ahead: True; sorts before an id of uuid-utils: False.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uuid7==0.1.0 uuid-utils==1.2.0

cat >run.py <<'END'
import time
from uuid import UUID

import uuid_extensions
import uuid_utils

old = uuid_extensions.uuid7()
new = UUID(str(uuid_utils.uuid7()))
years = ((old.int >> 80) / 1000 - time.time()) / (365 * 24 * 3600)
print(f"versions {old.version} {new.version}")
print(f"its time is more than 100 years ahead: {years > 100}")
print(f"sorts before the id made after it: {old < new}")
END
cat >expected <<'END'
versions 7 7
its time is more than 100 years ahead: True
sorts before the id made after it: False
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
