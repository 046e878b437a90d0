#!/usr/bin/env bash
# After a frame that has only an id, some clients of server-sent events resume behind it and some before;
# one resumes behind an event that was cut off and that it never handed out.
#
# Versions: eventsource 5.1.5, eventsource-client 1.2.0, launchdarkly-eventsource 2.2.0, event-source-plus
#           0.1.15, extended-eventsource 2.1.0 (npm), Node 20.20.
# Guess:    `id: 2` and an empty line move the last event id in every client, as the HTML standard says, so
#           that a server can send checkpoints without data; an event without its empty line counts for
#           nothing.
# Seen:     three clients move the id only with an event that has data: their next connection asks for
#           what lies behind the last data again. extended-eventsource takes the id of an event that the
#           connection's end cut off: the event is lost. Put checkpoints on frames with data, and end a
#           connection only at the end of a frame.
# Output:   the Last-Event-ID of the second connection, after `id: 1` with data followed by a frame with
#           only `id: 2`, or by an unfinished event with `id: 2`.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund eventsource@5.1.5 eventsource-client@1.2.0 \
  launchdarkly-eventsource@2.2.0 event-source-plus@0.1.15 extended-eventsource@2.1.0

cat >run.mjs <<'END'
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as wait } from "node:timers/promises";
import { EventSource } from "eventsource";
import { createEventSource } from "eventsource-client";
import { EventSourcePlus } from "event-source-plus";
import { EventSource as ExtendedEventSource } from "extended-eventsource";
import launchDarkly from "launchdarkly-eventsource";

for (const name of ["log", "warn", "error", "info", "debug"]) console[name] = () => {};
const standard = (Client, options) => (url) => {
  const source = new Client(url, options);
  source.onerror = () => {};
  return () => source.close();
};
const clients = {
  eventsource: standard(EventSource),
  "extended-eventsource": standard(ExtendedEventSource, {}),
  "launchdarkly-eventsource": standard(launchDarkly.EventSource ?? launchDarkly, {
    initialRetryDelayMillis: 100,
  }),
  "eventsource-client": (url) => {
    const source = createEventSource({ url });
    return () => source.close();
  },
  "event-source-plus": (url) => {
    const listening = new EventSourcePlus(url).listen({ onMessage() {} });
    return () => listening.abort();
  },
};
const first = "retry: 100\nid: 1\ndata: one\n\n";

for (const [what, rest] of [["id alone", "id: 2\n\n"], ["unfinished", "id: 2\ndata: two\n"]]) {
  for (const [name, start] of Object.entries(clients)) {
    const asked = [];
    const server = createServer((request, response) => {
      asked.push(request.headers["last-event-id"]);
      response.writeHead(200, { "content-type": "text/event-stream" });
      if (asked.length === 1) response.end(first + rest);
      else response.write(": open\n\n");
    }).listen(0, "127.0.0.1");
    await once(server, "listening");
    const stop = start(`http://127.0.0.1:${server.address().port}/`);
    for (let time = 0; asked.length < 2 && time < 100; time += 1) await wait(100);
    process.stdout.write(`${what}: ${name} ${asked[1]}\n`);
    stop();
    server.closeAllConnections();
    server.close();
  }
}
process.exit();
END
cat >expected <<'END'
id alone: eventsource 2
id alone: extended-eventsource 2
id alone: launchdarkly-eventsource 1
id alone: eventsource-client 1
id alone: event-source-plus 1
unfinished: eventsource 1
unfinished: extended-eventsource 2
unfinished: launchdarkly-eventsource 1
unfinished: eventsource-client 1
unfinished: event-source-plus 1
END
node run.mjs >seen
diff expected seen
echo "as written"
