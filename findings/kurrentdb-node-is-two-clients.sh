#!/usr/bin/env bash
# One KurrentDB client of Node is two on the wire: appends come over one connection with a deadline and a
# connection name, reads over another with neither and without a user agent.
#
# Versions: @kurrent/kurrentdb-client 1.3.1, @grpc/grpc-js 1.14.7 (npm), Node 20.20. The server is a bare
#           gRPC server that writes down what it is asked and refuses.
# Guess:    one client has one connection, one name in the server's log, one deadline for all it does.
# Seen:     appends go by grpc-js, reads by a library in Rust with a connection of its own. What a server
#           limits, logs or traces by connection, connection name or user agent sees two strangers, and
#           the `defaultDeadline` of 10 s does not end a read.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @kurrent/kurrentdb-client@1.3.1 @grpc/grpc-js@1.14.7

cat >run.mjs <<'END'
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { jsonEvent, KurrentDBClient } from "@kurrent/kurrentdb-client";

const same = (bytes) => bytes;
const method = (path, requestStream, responseStream) => ({
  path,
  requestStream,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const peers = [];
function record(what, call) {
  if (!peers.includes(call.getPeer())) peers.push(call.getPeer());
  const has = (name) => (call.metadata.get(name).length > 0 ? "yes" : "no");
  console.log(
    `${what}: connection ${peers.indexOf(call.getPeer()) + 1}, ` +
      `deadline ${call.getDeadline() === Infinity ? "no" : "yes"}, ` +
      `connection-name ${has("connection-name")}, user-agent ${has("user-agent")}, ` +
      `requires-leader ${has("requires-leader")}`,
  );
}
const refusal = (code) => Object.assign(new Error("refused"), { code, details: "refused" });

const streams = "/event_store.client.streams.Streams/";
const features = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods";
const server = new Server();
server.addService(
  {
    features: method(features, false, false),
    append: method(`${streams}Append`, true, false),
    read: method(`${streams}Read`, false, true),
  },
  {
    features: (call, answer) => answer(refusal(status.UNIMPLEMENTED)),
    append(call, answer) {
      record("append", call);
      call.resume().on("end", () => answer(refusal(status.FAILED_PRECONDITION)));
    },
    read(call) {
      record("read", call);
      call.emit("error", refusal(status.FAILED_PRECONDITION));
    },
  },
);
const port = await new Promise((done, failed) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? failed(error) : done(bound),
  );
});
const client = KurrentDBClient.connectionString(`kurrentdb://127.0.0.1:${port}?tls=false`);
await client.appendToStream("s", jsonEvent({ type: "T", data: {} })).catch(() => {});
try {
  for await (const event of client.readStream("s")) console.log(event);
} catch {
  // The server refuses every read.
}
await client.dispose();
server.forceShutdown();
END
cat >expected <<'END'
append: connection 1, deadline yes, connection-name yes, user-agent yes, requires-leader no
read: connection 2, deadline no, connection-name no, user-agent no, requires-leader yes
END
node run.mjs >seen
diff expected seen
echo "as written"
