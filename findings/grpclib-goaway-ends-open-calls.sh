#!/usr/bin/env bash
# A graceful stop of a server (GOAWAY, then a grace for the calls that are open) ends the open calls of a
# grpclib client at once; a grpcio client gets their answers.
#
# Versions: grpclib 0.4.9, grpcio 1.85.1 (PyPI), Python 3.11.
# Guess:    a client that is told GOAWAY opens no more calls on that connection, and takes the answers to
#           those that are open, as RFC 9113 (6.8) means it.
# Seen:     the call that is under way while the server stops with a grace of five seconds is answered to
#           grpcio after its second; grpclib has closed the connection. An append whose answer is lost in
#           this way may be stored.
# Output:   while the server stops: grpcio answered, grpclib StreamTerminatedError.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1 grpclib==0.4.9 protobuf==7.36.2

cat >run.py <<'END'
import asyncio

import grpc
import grpclib.client
from google.protobuf.empty_pb2 import Empty


class Slow(grpc.GenericRpcHandler):
    def service(self, details):
        async def handle(request, context):
            await asyncio.sleep(1)
            return Empty()

        return grpc.unary_unary_rpc_method_handler(handle, Empty.FromString, Empty.SerializeToString)


async def of_grpcio(port):
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        await channel.unary_unary("/t.T/Slow", Empty.SerializeToString, Empty.FromString)(Empty())


async def of_grpclib(port):
    channel = grpclib.client.Channel("127.0.0.1", port)
    try:
        await grpclib.client.UnaryUnaryMethod(channel, "/t.T/Slow", Empty, Empty)(Empty())
    finally:
        channel.close()


async def outcome(call):
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Slow(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    under_way = asyncio.create_task(call(port))
    await asyncio.sleep(0.5)
    stopping = asyncio.create_task(server.stop(5))
    try:
        await under_way
        return "answered"
    except Exception as error:
        return type(error).__name__
    finally:
        await stopping


async def main():
    print(f"grpcio {await outcome(of_grpcio)}, grpclib {await outcome(of_grpclib)}")


asyncio.run(main())
END

found=$(venv/bin/python run.py 2>/dev/null)
echo "while the server stops: $found"
[ "$found" = "grpcio answered, grpclib StreamTerminatedError" ]
