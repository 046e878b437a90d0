#!/usr/bin/env bash
# The JavaScript SDK sends a CloudEvent's time cut to milliseconds and moved to UTC, while the event in
# hand goes on showing the time it was given.
#
# Versions: cloudevents 10.0.0 (npm, the official JavaScript SDK), Node 20.20.
# Guess:    `time` is text of RFC 3339 and is sent as it was given; the specification lets it have any
#           number of digits and an offset.
# Seen:     a relay through this SDK changes the time of every event that another language made with
#           micro- or nanoseconds, so that a comparison or a hash over the attributes fails, and two
#           events of one millisecond lose their order.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund cloudevents@10.0.0

cat >run.mjs <<'END'
import { CloudEvent, HTTP } from "cloudevents";

const time = "2026-01-01T01:00:00.123456789+02:00";
const event = new CloudEvent({ source: "/s", type: "t", time });
console.log(`in hand    ${event.time}`);
console.log(`structured ${JSON.parse(HTTP.structured(event).body).time}`);
console.log(`binary     ${HTTP.binary(event).headers["ce-time"]}`);
END
cat >expected <<'END'
in hand    2026-01-01T01:00:00.123456789+02:00
structured 2025-12-31T23:00:00.123Z
binary     2025-12-31T23:00:00.123Z
END
node run.mjs >seen
diff expected seen
echo "as written"
