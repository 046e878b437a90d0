#!/usr/bin/env bash
# One `append_events` of the Python client reaches a failing server up to eight times.
#
# Versions: kurrentdbclient 1.3.5, grpcio 1.85.1 (PyPI), Python 3.11. The server is a bare gRPC server that
#           counts and refuses.
# Guess:    an append is sent once, and a refusal that no retry can mend is reported at once.
# Seen:     two decorators nest: statuses that the client has no class of its own for (INVALID_ARGUMENT and
#           RESOURCE_EXHAUSTED among them), a deadline that ran out, CANCELLED and INTERNAL are sent twice
#           for one event and four times for several; UNAVAILABLE two and eight times. FAILED_PRECONDITION,
#           ABORTED and UNKNOWN are sent once. A server's counters of refusals are that much too high, and
#           what is not idempotent happens again.
# Output:   calls of Append (one event) and BatchAppend (two events) by status, as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check kurrentdbclient==1.3.5 grpcio==1.85.1

cat >run.py <<'END'
from concurrent import futures

import grpc
from kurrentdbclient import KurrentDBClient, NewEvent, StreamState

calls = []
code = None


class Refuse(grpc.GenericRpcHandler):
    def service(self, details):
        def handle(requests, context):
            calls.append(details.method.rsplit("/", 1)[1])
            context.abort(code, "refused")

        return grpc.stream_stream_rpc_method_handler(handle, bytes, bytes)


server = grpc.server(futures.ThreadPoolExecutor(8))
server.add_generic_rpc_handlers((Refuse(),))
port = server.add_insecure_port("127.0.0.1:0")
server.start()
client = KurrentDBClient(f"kurrentdb://127.0.0.1:{port}?tls=false")


def sent(method, append):
    calls.clear()
    try:
        append()
    except Exception:
        return calls.count(method)
    return "no error"


def event():
    return NewEvent(type="T", data=b"{}")


for code in (
    grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
    grpc.StatusCode.DEADLINE_EXCEEDED,
    grpc.StatusCode.INTERNAL,
    grpc.StatusCode.UNAVAILABLE,
):
    state = StreamState.ANY
    one = sent("Append", lambda: client.append_event("s", event=event(), current_version=state))
    two = sent(
        "BatchAppend",
        lambda: client.append_events("s", events=[event(), event()], current_version=state),
    )
    print(f"{code.name}: Append {one}, BatchAppend {two}")
client.close()
server.stop(0)
END
cat >expected <<'END'
FAILED_PRECONDITION: Append 1, BatchAppend 1
ABORTED: Append 1, BatchAppend 1
INVALID_ARGUMENT: Append 2, BatchAppend 4
RESOURCE_EXHAUSTED: Append 2, BatchAppend 4
DEADLINE_EXCEEDED: Append 2, BatchAppend 4
INTERNAL: Append 2, BatchAppend 4
UNAVAILABLE: Append 2, BatchAppend 8
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
