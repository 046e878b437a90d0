#!/usr/bin/env bash
# The health services of Node and Python send a watcher the same status again each time it is set; Node's
# answers NOT_FOUND for the server as a whole although every service it knows is serving.
#
# Versions: grpc-health-check 2.1.0 (npm), grpcio-health-checking 1.85.1 (PyPI), Node 20.20, Python 3.11.
# Guess:    `Watch` sends a message when the status changes, as the protocol's description says, and the
#           empty service name, which load balancers ask for, exists from the start.
# Seen:     a server that sets its status in every probe floods its watchers. In Node the empty name has to
#           be put into the map; in Python it is there and SERVING before anything else is set.
# Output:   as below (5 is NOT_FOUND).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

npm init --yes >/dev/null
npm install --silent --ignore-scripts --no-audit --no-fund \
  grpc-health-check@2.1.0 @grpc/grpc-js@1.14.7 @grpc/proto-loader@0.8.1
python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1 grpcio-health-checking==1.85.1

cat >run.mjs <<'END'
import { setTimeout as wait } from "node:timers/promises";
import { credentials, loadPackageDefinition, Server, ServerCredentials } from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";
import { HealthImplementation, protoPath } from "grpc-health-check";

const health = new HealthImplementation({ a: "SERVING" });
const server = new Server();
health.addToServer(server);
const port = await new Promise((done, failed) => {
  server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
    error ? failed(error) : done(bound),
  );
});
const { Health } = loadPackageDefinition(loadSync(protoPath, { enums: String })).grpc.health.v1;
const client = new Health(`127.0.0.1:${port}`, credentials.createInsecure());
const check = (service) =>
  new Promise((done) => {
    client.check({ service }, (error, answer) => done(error ? error.code : answer.status));
  });
console.log(`node: a ${await check("a")}, the server as a whole ${await check("")}`);
const seen = [];
const watch = client.watch({ service: "a" });
watch.on("data", ({ status }) => seen.push(status)).on("error", () => {});
while (seen.length === 0) await wait(50);
for (let time = 0; time < 2; time += 1) health.setStatus("a", "SERVING");
await wait(1_000);
console.log(`node: watched ${seen.join(" ")}`);
watch.cancel();
server.forceShutdown();
END
cat >run.py <<'END'
import threading
import time
from concurrent import futures

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

status = health_pb2.HealthCheckResponse.ServingStatus
servicer = health.HealthServicer()
servicer.set("a", status.SERVING)
server = grpc.server(futures.ThreadPoolExecutor(4))
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
port = server.add_insecure_port("127.0.0.1:0")
server.start()
with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
    client = health_pb2_grpc.HealthStub(channel)
    whole = client.Check(health_pb2.HealthCheckRequest()).status
    print(f"python: the server as a whole {status.Name(whole)}")
    seen = []

    def watch():
        try:
            for answer in client.Watch(health_pb2.HealthCheckRequest(service="a")):
                seen.append(status.Name(answer.status))
        except grpc.RpcError:
            pass

    threading.Thread(target=watch, daemon=True).start()
    while not seen:
        time.sleep(0.05)
    for _ in range(2):
        servicer.set("a", status.SERVING)
    time.sleep(1)
    print(f"python: watched {' '.join(seen)}")
server.stop(0)
END
cat >expected <<'END'
node: a SERVING, the server as a whole 5
node: watched SERVING SERVING SERVING
python: the server as a whole SERVING
python: watched SERVING SERVING SERVING
END
node run.mjs >seen
venv/bin/python run.py >>seen
diff expected seen
echo "as written"
