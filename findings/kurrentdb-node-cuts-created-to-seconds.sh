#!/usr/bin/env bash
# The KurrentDB client of Node reports when an event was created in whole seconds; the server sends it in
# units of 100 ns.
#
# Versions: @kurrent/kurrentdb-client 1.3.1, @grpc/grpc-js 1.14.7, protobufjs 8.8.1 (npm), Node 20.20. The
#           server is a bare gRPC server that answers three events.
# Guess:    `created` is a Date, and a Date holds milliseconds.
# Seen:     events of .001, .500 and .999 s of one second have one time. Ordering by it, latencies measured
#           with it, and "since" filters made of it are off by up to a second. Order by position.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @kurrent/kurrentdb-client@1.3.1 @grpc/grpc-js@1.14.7 protobufjs@8.8.1

cat >run.mjs <<'END'
import { Server, ServerCredentials, status } from "@grpc/grpc-js";
import { KurrentDBClient } from "@kurrent/kurrentdb-client";
import protobuf from "protobufjs";

const answers = `
  syntax = "proto3";
  message Stream { bytes stream_name = 3; }
  message Id { string string = 2; }
  message Recorded {
    Id id = 1;
    Stream stream_identifier = 2;
    uint64 stream_revision = 3;
    uint64 prepare_position = 4;
    uint64 commit_position = 5;
    map<string, string> metadata = 6;
    bytes data = 8;
  }
  message ReadEvent { Recorded event = 1; uint64 commit_position = 3; }
  message ReadResp { ReadEvent event = 1; }
`;
const ReadResp = protobuf.parse(answers, { keepCase: true }).root.lookupType("ReadResp");

function answer(created, index) {
  const ticks = BigInt(Date.parse(created)) * 10_000n;
  const event = {
    id: { string: `00000000-0000-4000-8000-00000000000${index}` },
    stream_identifier: { stream_name: Buffer.from("s") },
    stream_revision: index,
    prepare_position: index,
    commit_position: index,
    metadata: { type: "T", "content-type": "application/json", created: String(ticks) },
    data: Buffer.from("{}"),
  };
  const message = ReadResp.fromObject({ event: { event, commit_position: index } });
  return Buffer.from(ReadResp.encode(message).finish());
}

const same = (bytes) => bytes;
const method = (path, responseStream) => ({
  path,
  requestStream: false,
  responseStream,
  requestSerialize: same,
  requestDeserialize: same,
  responseSerialize: same,
  responseDeserialize: same,
});
const features = "/event_store.client.server_features.ServerFeatures/GetSupportedMethods";
const server = new Server();
server.addService(
  { features: method(features, false), read: method("/event_store.client.streams.Streams/Read", true) },
  {
    features: (call, done) => done({ code: status.UNIMPLEMENTED, details: "" }),
    read(call) {
      const times = ["05.001", "05.500", "05.999"].map((rest) => `2026-01-02T03:04:${rest}Z`);
      for (const message of times.map(answer)) call.write(message);
      call.end();
    },
  },
);
const port = await new Promise((done, failed) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? failed(error) : done(bound),
  );
});
const client = KurrentDBClient.connectionString(`kurrentdb://127.0.0.1:${port}?tls=false`);
for await (const { event } of client.readStream("s")) console.log(event.created.toISOString());
await client.dispose();
server.forceShutdown();
END
cat >expected <<'END'
2026-01-02T03:04:05.000Z
2026-01-02T03:04:05.000Z
2026-01-02T03:04:05.000Z
END
node run.mjs >seen
diff expected seen
echo "as written"
