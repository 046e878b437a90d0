#!/usr/bin/env bash
# A 503 while a server restarts ends two clients of server-sent events for good; a 204, by which a server
# ends a client, does not end another.
#
# Versions: eventsource 5.1.5, eventsource-client 1.2.0, launchdarkly-eventsource 2.2.0, event-source-plus
#           0.1.15, extended-eventsource 2.1.0 (npm), Node 20.20.
# Guess:    clients that reconnect by themselves try again after a 503, which says "later".
# Seen:     two do what the HTML standard says: any status but 200 is the end. Three try again.
#           A connection that is broken off is tried again by all five. A server that restarts refuses or
#           breaks connections rather than answering 503.
# Output:   whether a client comes back after its second connection met this answer.
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

async function comesBack(start, second) {
  let connections = 0;
  const server = createServer((request, response) => {
    connections += 1;
    if (connections === 2) return second(response);
    response.writeHead(200, { "content-type": "text/event-stream" });
    if (connections === 1) response.end("retry: 100\nid: 1\ndata: one\n\n");
    else response.write(": open\n\n");
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const stop = start(`http://127.0.0.1:${server.address().port}/`);
  for (let time = 0; connections < 3 && time < 50; time += 1) await wait(100);
  stop();
  server.closeAllConnections();
  server.close();
  return connections >= 3;
}

for (const [name, start] of Object.entries(clients)) {
  const after503 = await comesBack(start, (response) => response.writeHead(503).end());
  const after204 = await comesBack(start, (response) => response.writeHead(204).end());
  const afterBreak = await comesBack(start, (response) => response.destroy());
  process.stdout.write(`${name}: 503 ${after503}, 204 ${after204}, broken off ${afterBreak}\n`);
}
process.exit();
END
cat >expected <<'END'
eventsource: 503 false, 204 false, broken off true
extended-eventsource: 503 false, 204 false, broken off true
launchdarkly-eventsource: 503 true, 204 false, broken off true
eventsource-client: 503 true, 204 false, broken off true
event-source-plus: 503 true, 204 true, broken off true
END
node run.mjs >seen
diff expected seen
echo "as written"
