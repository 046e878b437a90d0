#!/usr/bin/env bash
# Leaving `async for` over a call of grpc.aio does not end the call, not even when nothing refers to it
# any more; the synchronous API of the same package cancels the call when it is dropped.
#
# Versions: grpcio 1.85.1 (PyPI), Python 3.11.
# Guess:    both APIs treat a call that is left alike.
# Seen:     the server's handler of the asyncio call still runs two seconds later, after a garbage
#           collection; after `call.cancel()`, and for the synchronous call after `del`, it has ended.
# Output:   handlers still running: asyncio left 1, asyncio cancelled 0, synchronous dropped 0.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check grpcio==1.85.1

cat >run.py <<'END'
import asyncio
import gc
import time

import grpc

same = bytes
running = 0


class Watch(grpc.GenericRpcHandler):
    def service(self, details):
        async def handle(request, context):
            global running
            running += 1
            try:
                while True:
                    yield b"one"
                    await asyncio.sleep(0.05)
            finally:
                running -= 1

        return grpc.unary_stream_rpc_method_handler(handle, same, same)


async def left(channel, cancel):
    call = channel.unary_stream("/t.T/Watch", same, same)(b"")
    async for _ in call:
        break
    if cancel:
        call.cancel()


def dropped(address):
    channel = grpc.insecure_channel(address)
    call = channel.unary_stream("/t.T/Watch", same, same)(b"")
    for _ in call:
        break
    del call
    gc.collect()
    time.sleep(1)
    channel.close()


async def main():
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Watch(),))
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()

    for what, cancel in (("left", False), ("cancelled", True)):
        before = running
        async with grpc.aio.insecure_channel(address) as channel:
            await left(channel, cancel)
            gc.collect()
            await asyncio.sleep(2)
            print(f"asyncio {what}: {running - before}", flush=True)
        await asyncio.sleep(0.5)
    before = running
    await asyncio.to_thread(dropped, address)
    print(f"synchronous dropped: {running - before}")
    await server.stop(0)


asyncio.run(main())
END
cat >expected <<'END'
asyncio left: 1
asyncio cancelled: 0
synchronous dropped: 0
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
