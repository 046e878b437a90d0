#!/usr/bin/env bash
# Leaving `for await` over a call of grpc-js with `break` does not cancel the call: the server goes on.
#
# Versions: @grpc/grpc-js 1.14.7 (npm), Node 20.20.
# Guess:    `break` destroys the stream, and a destroyed call is cancelled, as a fetch body or a call of
#           another client library is.
# Seen:     `call.destroyed` is true, and the server's handler has heard nothing two seconds later; it
#           will not for as long as the channel lives. `call.cancel()` ends it.
# Output:   left by break: destroyed true, cancelled at the server 0; by cancel(): 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @grpc/grpc-js@1.14.7

cat >run.mjs <<'END'
import { setTimeout as wait } from "node:timers/promises";
import { Client, credentials, Server, ServerCredentials } from "@grpc/grpc-js";

const same = (bytes) => bytes;
const watch = { path: "/t.T/Watch", requestStream: false, responseStream: true };
for (const part of ["request", "response"]) {
  watch[`${part}Serialize`] = same;
  watch[`${part}Deserialize`] = same;
}
let cancelled = 0;
const server = new Server();
server.addService({ watch }, {
  watch(call) {
    call.on("cancelled", () => (cancelled += 1));
    call.write(Buffer.from("one"));
    call.write(Buffer.from("two"));
  },
});
const port = await new Promise((done, failed) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? failed(error) : done(bound),
  );
});
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const open = () => client.makeServerStreamRequest(watch.path, same, same, Buffer.alloc(0));

const left = open();
for await (const _ of left) break;
await wait(2_000);
console.log(`left by break: destroyed ${left.destroyed}, cancelled at the server ${cancelled}`);

const ended = open();
ended.on("error", () => {});
for await (const _ of ended) {
  ended.cancel();
  break;
}
await wait(1_000);
console.log(`left by cancel(): cancelled at the server ${cancelled}`);
client.close();
server.forceShutdown();
END
cat >expected <<'END'
left by break: destroyed true, cancelled at the server 0
left by cancel(): cancelled at the server 1
END
node run.mjs >seen
diff expected seen
echo "as written"
