#!/usr/bin/env bash
# Structured CloudEvents whose data is 0, false or "" come back without data; in binary mode data that is
# a number or a boolean is written and cannot be read.
#
# Versions: cloudevents 10.0.0 (npm, the official JavaScript SDK), Node 20.20.
# Guess:    any JSON value survives `HTTP.structured` or `HTTP.binary` followed by `HTTP.toEvent`.
# Seen:     the structured message holds the value; reading it drops what is falsy. In binary mode the
#           SDK puts the bare value, not JSON text, into the body and refuses its own message.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund cloudevents@10.0.0

cat >run.mjs <<'END'
import { CloudEvent, HTTP } from "cloudevents";

for (const mode of ["structured", "binary"]) {
  for (const data of [0, false, "", 1, true, { a: 0 }]) {
    const event = new CloudEvent({ source: "/s", type: "t", datacontenttype: "application/json", data });
    let back;
    try {
      back = JSON.stringify(HTTP.toEvent(HTTP[mode](event)).data);
    } catch (error) {
      back = error.message;
    }
    console.log(`${mode} ${JSON.stringify(data)} -> ${back}`);
  }
}
END
cat >expected <<'END'
structured 0 -> undefined
structured false -> undefined
structured "" -> undefined
structured 1 -> 1
structured true -> true
structured {"a":0} -> {"a":0}
binary 0 -> 0
binary false -> false
binary "" -> ""
binary 1 -> invalid payload type, allowed are: string or object
binary true -> invalid payload type, allowed are: string or object
binary {"a":0} -> {"a":0}
END
node run.mjs >seen
diff expected seen
echo "as written"
