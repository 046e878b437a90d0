#!/usr/bin/env bash
# A reader of grpc-js that begins to read half a second after it made the call has no back-pressure: the
# server may send everything, and all of it waits in the client's memory.
#
# Versions: @grpc/grpc-js 1.14.7 (npm), Node 20.20.
# Guess:    a call that nobody reads holds the server back by HTTP/2's flow control.
# Seen:     a reader that takes one message at once and then pauses gets some 2 MiB (window and buffers).
#           One that makes the call, waits 500 ms, takes one message and pauses receives all 100 MiB.
#           Make the call in the turn in which the loop begins.
# Output:   read at once: the server was held back true; read after 500 ms: held back false.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @grpc/grpc-js@1.14.7

cat >run.mjs <<'END'
import { once } from "node:events";
import { setTimeout as wait } from "node:timers/promises";
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";

const same = (bytes) => bytes;
const flood = { path: "/t.T/Flood", requestStream: false, responseStream: true };
for (const part of ["request", "response"]) {
  flood[`${part}Serialize`] = same;
  flood[`${part}Deserialize`] = same;
}
const messages = 1_600;
let sent = 0;
const server = new Server();
server.addService({ flood }, {
  async flood(call) {
    const block = Buffer.alloc(64 * 1024);
    for (sent = 0; sent < messages && !call.cancelled; sent += 1) {
      if (!call.write(block)) await once(call, "drain");
    }
    call.end();
  },
});
const port = await new Promise((done, failed) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? failed(error) : done(bound),
  );
});
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());

for (const [when, delay] of [["at once", 0], ["after 500 ms", 500]]) {
  const call = client.makeServerStreamRequest(flood.path, same, same, Buffer.alloc(0));
  call.on("error", () => {});
  if (delay > 0) await wait(delay);
  await call[Symbol.asyncIterator]().next();
  let before;
  do {
    before = sent;
    await wait(1_500);
  } while (sent > before);
  console.log(`read ${when}: the server was held back ${sent < messages}`);
  call.cancel();
  await wait(200);
}
client.close();
server.forceShutdown();
END
cat >expected <<'END'
read at once: the server was held back true
read after 500 ms: the server was held back false
END
node run.mjs >seen
diff expected seen
echo "as written"
