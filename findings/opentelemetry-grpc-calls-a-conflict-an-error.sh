#!/usr/bin/env bash
# OpenTelemetry's gRPC instrumentation for Node marks a server's span as an error for any status but OK, and
# writes attributes that the conventions of the same release have replaced.
#
# Versions: @opentelemetry/instrumentation-grpc 0.223.0, @opentelemetry/sdk-trace-node 2.12.1,
#           @opentelemetry/semantic-conventions 1.45.0, @grpc/grpc-js 1.14.7 (npm), Node 20.20.
# Guess:    a server's span is an error for faults of the server (UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED,
#           INTERNAL, UNAVAILABLE, DATA_LOSS), as the conventions say; ABORTED and NOT_FOUND are answers.
# Seen:     each optimistic conflict and each missing stream raises the error rate of the service, so that
#           alarms on it fire while all is well. The status is in `rpc.grpc.status_code` with a number, where
#           the conventions' stable names are `rpc.system.name` and `rpc.status_code`.
# Output:   as below (span status 2 is an error).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund @opentelemetry/api@1.9.1 \
  @opentelemetry/instrumentation-grpc@0.223.0 @opentelemetry/sdk-trace-node@2.12.1 \
  @opentelemetry/semantic-conventions@1.45.0 @grpc/grpc-js@1.14.7

cat >run.cjs <<'END'
const { SpanKind } = require("@opentelemetry/api");
const { GrpcInstrumentation } = require("@opentelemetry/instrumentation-grpc");
const tracing = require("@opentelemetry/sdk-trace-node");
const conventions = require("@opentelemetry/semantic-conventions");

const exporter = new tracing.InMemorySpanExporter();
const spanProcessors = [new tracing.SimpleSpanProcessor(exporter)];
const provider = new tracing.NodeTracerProvider({ spanProcessors });
provider.register();
const instrumentation = new GrpcInstrumentation();
instrumentation.setTracerProvider(provider);
instrumentation.enable();
const grpc = require("@grpc/grpc-js");

const same = (bytes) => bytes;
const get = { path: "/t.T/Get", requestStream: false, responseStream: false };
for (const part of ["request", "response"]) {
  get[`${part}Serialize`] = same;
  get[`${part}Deserialize`] = same;
}
let code;
const server = new grpc.Server();
server.addService({ get }, {
  get: (call, answer) => (code === 0 ? answer(null, Buffer.alloc(0)) : answer({ code, details: "" })),
});
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), async (failed, port) => {
  if (failed) throw failed;
  const Client = grpc.makeGenericClientConstructor({ get }, "T");
  const client = new Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  for (const name of ["OK", "ABORTED", "NOT_FOUND"]) {
    code = grpc.status[name];
    exporter.reset();
    await new Promise((done) => client.get(Buffer.alloc(0), done));
    const ofServer = ({ kind }) => kind === SpanKind.SERVER;
    while (!exporter.getFinishedSpans().some(ofServer)) await new Promise((done) => setTimeout(done, 20));
    const { status, attributes } = exporter.getFinishedSpans().find(ofServer);
    const names = Object.keys(attributes).filter((key) => /status|system/.test(key));
    console.log(`${name}: span status ${status.code}, ${names.join(" ")}`);
  }
  console.log(`conventions: ${conventions.ATTR_RPC_SYSTEM_NAME} ${conventions.ATTR_RPC_STATUS_CODE}`);
  process.exit();
});
END
cat >expected <<'END'
OK: span status 0, rpc.system rpc.grpc.status_code
ABORTED: span status 2, rpc.system rpc.grpc.status_code
NOT_FOUND: span status 2, rpc.system rpc.grpc.status_code
conventions: rpc.system.name rpc.status_code
END
node run.cjs >seen
diff expected seen
echo "as written"
