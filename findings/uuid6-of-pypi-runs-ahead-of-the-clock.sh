#!/usr/bin/env bash
# `uuid7()` of the Python package uuid6 keeps its order by moving the time on by a millisecond for each id:
# ids made faster than one a millisecond lie ahead of the clock, and stay there.
#
# Versions: uuid6 2025.0.1, uuid-utils 1.2.0 (PyPI), Python 3.11.
# Guess:    ids of one millisecond are told apart by a counter or random bits, as RFC 9562 describes; their
#           time is that of the clock.
# Seen:     100,000 ids take about a second and end some 99 seconds ahead. An import of a few million events
#           gets ids of an hour to come; what this process makes next, and only this process, goes on from
#           there, so that ids of several writers do not sort by time.
# Output:   uuid6 in order, ahead of the clock; uuid-utils in order, with the clock.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check uuid6==2025.0.1 uuid-utils==1.2.0

cat >run.py <<'END'
import time

import uuid6
import uuid_utils

for name, make in (("uuid6", uuid6.uuid7), ("uuid-utils", uuid_utils.uuid7)):
    began = time.time()
    ids = [make().int for _ in range(100_000)]
    took = time.time() - began
    ahead = (ids[-1] >> 80) / 1000 - time.time()
    # One id a millisecond would be 100 seconds of ids.
    placed = "ahead of the clock" if ahead > 90 - took else "with the clock"
    print(f"{name}: in order {ids == sorted(set(ids))}, {placed}")
END
cat >expected <<'END'
uuid6: in order True, ahead of the clock
uuid-utils: in order True, with the clock
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
