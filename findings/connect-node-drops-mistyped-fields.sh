#!/usr/bin/env bash
# A server of connect-node takes a JSON request with a member it does not know, or with an unknown name of
# an enum, without a word: a mistyped guard is no guard.
#
# Versions: @connectrpc/connect 2.1.2, @connectrpc/connect-node 2.1.2, @bufbuild/protobuf 2.17.0 (npm),
#           Node 20.20.
# Guess:    what the schema does not have is refused, as protobuf's JSON format says a parser should do by
#           default and as `fromJson` of the same runtime does.
# Seen:     the server's default is `ignoreUnknownFields: true`. A request that means "only if the version is
#           3" is executed without that condition, and an unknown name of an enum counts as not set.
#           With `jsonOptions: { ignoreUnknownFields: false }` both are refused.
# Output:   as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  @connectrpc/connect@2.1.2 @connectrpc/connect-node@2.1.2 @bufbuild/protobuf@2.17.0

cat >run.mjs <<'END'
import { once } from "node:events";
import { createServer } from "node:http";
import { createFileRegistry, fromJson } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { connectNodeAdapter } from "@connectrpc/connect-node";

const field = (name, jsonName, number, type, typeName) => ({
  name, jsonName, number, type, label: "LABEL_OPTIONAL", ...(typeName && { typeName }),
});
const registry = createFileRegistry(fromJson(FileDescriptorSetSchema, {
  file: [{
    name: "t.proto", package: "t", syntax: "proto3",
    enumType: [{ name: "Mode", value: [{ name: "NONE", number: 0 }, { name: "STRICT", number: 1 }] }],
    messageType: [
      { name: "Ask", field: [
        field("expected_version", "expectedVersion", 1, "TYPE_INT32"),
        field("mode", "mode", 2, "TYPE_ENUM", ".t.Mode"),
      ] },
      { name: "Answer", field: [field("seen", "seen", 1, "TYPE_STRING")] },
    ],
    service: [{ name: "S", method: [{ name: "Append", inputType: ".t.Ask", outputType: ".t.Answer" }] }],
  }],
}));

for (const [name, options] of [
  ["by default", {}],
  ["strict", { jsonOptions: { ignoreUnknownFields: false } }],
]) {
  const append = ({ expectedVersion, mode }) => ({ seen: `version ${expectedVersion}, mode ${mode}` });
  const routes = (router) => router.service(registry.getService("t.S"), { append });
  const server = createServer(connectNodeAdapter({ routes, ...options })).listen(0, "127.0.0.1");
  await once(server, "listening");
  for (const body of ['{"expectedVersoin":3}', '{"expectedVersion":3,"mode":"STRIKT"}']) {
    const answer = await fetch(`http://127.0.0.1:${server.address().port}/t.S/Append`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
    });
    const { seen, code } = await answer.json();
    console.log(`${name} ${body}: ${answer.status} ${seen ?? code}`);
  }
  server.closeAllConnections();
  server.close();
}
END
cat >expected <<'END'
by default {"expectedVersoin":3}: 200 version 0, mode 0
by default {"expectedVersion":3,"mode":"STRIKT"}: 200 version 3, mode 0
strict {"expectedVersoin":3}: 400 invalid_argument
strict {"expectedVersion":3,"mode":"STRIKT"}: 400 invalid_argument
END
node run.mjs >seen
diff expected seen
echo "as written"
