#!/usr/bin/env bash
# A client of connect-node with a timeout of 28 hours is refused by a server of connect-node; one of 25 days
# runs out at once.
#
# Versions: @connectrpc/connect 2.1.2, @connectrpc/connect-node 2.1.2, @bufbuild/protobuf 2.17.0 (npm),
#           Node 20.20.
# Guess:    a long timeout is sent in a larger unit, as gRPC's protocol has them for (at most eight digits,
#           then seconds, minutes, hours), and as other libraries do.
# Seen:     the timeout is always sent in milliseconds: from 100,000,000 ms on it has nine digits, which the
#           same package's server refuses as INVALID_ARGUMENT (3). From 2^31 ms on a timer overflows and
#           the call fails with DEADLINE_EXCEEDED (4) before it is sent. Cap timeouts, or set none.
# Output:   27 hours: ok, 28 hours: code 3, 25 days: code 4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @connectrpc/connect@2.1.2 @connectrpc/connect-node@2.1.2 @bufbuild/protobuf@2.17.0

cat >run.mjs <<'END'
import { once } from "node:events";
import { createServer } from "node:http2";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { createClient } from "@connectrpc/connect";
import { connectNodeAdapter, createGrpcTransport } from "@connectrpc/connect-node";

const registry = createFileRegistry(fromJson(FileDescriptorSetSchema, {
  file: [{
    name: "t.proto", package: "t", syntax: "proto3", messageType: [{ name: "Nothing" }],
    service: [{ name: "S", method: [{ name: "Get", inputType: ".t.Nothing", outputType: ".t.Nothing" }] }],
  }],
}));
const service = registry.getService("t.S");
const routes = (router) => router.service(service, { get: () => ({}) });
const server = createServer(connectNodeAdapter({ routes })).listen(0, "127.0.0.1");
await once(server, "listening");
const baseUrl = `http://127.0.0.1:${server.address().port}`;
const client = createClient(service, createGrpcTransport({ baseUrl }));

const hour = 3_600_000;
for (const [name, timeoutMs] of [["27 hours", 27 * hour], ["28 hours", 28 * hour], ["25 days", 25 * 24 * hour]]) {
  const outcome = await client.get({}, { timeoutMs }).then(() => "ok", (error) => `code ${error.code}`);
  console.log(`${name}: ${outcome}`);
}
process.exit();
END
cat >expected <<'END'
27 hours: ok
28 hours: code 3
25 days: code 4
END
node --no-warnings run.mjs >seen
diff expected seen
echo "as written"
