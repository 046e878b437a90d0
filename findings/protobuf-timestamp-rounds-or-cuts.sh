#!/usr/bin/env bash
# The same protobuf Timestamp is another moment in JavaScript than in Python: protobuf-es rounds to the
# nearest millisecond, upwards too, and Python cuts to microseconds.
#
# Versions: @bufbuild/protobuf 2.17.0 (npm), protobuf 7.36.2 (PyPI), Node 20.20, Python 3.11.
# Guess:    a conversion to a coarser type cuts, so that it never lies ahead of the original.
# Seen:     `timestampDate` of 1.9996 s is 2.000 s. "Everything from this time on", with the time of an
#           event that was read, leaves that very event out; and a time that was just made by a server
#           lies in the future. Floor it yourself: seconds * 1000 + floor(nanos / 1,000,000).
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @bufbuild/protobuf@2.17.0
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check protobuf==7.36.2

cat >run.mjs <<'END'
import { create } from "@bufbuild/protobuf";
import { timestampDate, timestampMs, TimestampSchema } from "@bufbuild/protobuf/wkt";

for (const nanos of [499_999, 500_000, 999_999_600]) {
  const time = create(TimestampSchema, { seconds: 1n, nanos });
  console.log(`js 1 s ${nanos} ns: ${timestampMs(time)} ms, ${timestampDate(time).toISOString().slice(17)}`);
}
END
cat >run.py <<'END'
from google.protobuf.timestamp_pb2 import Timestamp

for nanos in (499_999, 500_000, 999_999_600):
    time = Timestamp(seconds=1, nanos=nanos)
    print(f"py 1 s {nanos} ns: {time.ToMilliseconds()} ms, {time.ToDatetime().isoformat()[17:]}")
END
cat >expected <<'END'
js 1 s 499999 ns: 1000 ms, 01.000Z
js 1 s 500000 ns: 1001 ms, 01.001Z
js 1 s 999999600 ns: 2000 ms, 02.000Z
py 1 s 499999 ns: 1000 ms, 01.000499
py 1 s 500000 ns: 1000 ms, 01.000500
py 1 s 999999600 ns: 1999 ms, 01.999999
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
