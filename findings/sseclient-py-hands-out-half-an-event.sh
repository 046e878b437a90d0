#!/usr/bin/env bash
# sseclient-py hands out the event that a connection's end cut off, with its id; httpx-sse drops it, but
# hands out an empty event for a frame that has only an id.
#
# Versions: sseclient-py 1.9.0, httpx-sse 0.4.3, httpx 0.28.1 (PyPI), Python 3.11.
# Guess:    an event counts when its empty line has come, and a frame without data is no event, as the HTML
#           standard says.
# Seen:     with sseclient-py an event of two data lines of which one came is an event like any other, and
#           resuming behind its id loses the rest. With httpx-sse, code that parses the data of each event
#           meets "" at each checkpoint of a server.
# Output:   (id, data) as below.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

python3 -m venv venv
venv/bin/pip install --quiet --disable-pip-version-check sseclient-py==1.9.0 httpx-sse==0.4.3 httpx==0.28.1

cat >run.py <<'END'
import httpx
import httpx_sse
import sseclient


def by_sseclient(body):
    return [(event.id, event.data) for event in sseclient.SSEClient(iter([body])).events()]


def by_httpx(body):
    def answer(request):
        return httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body)

    with httpx.Client(transport=httpx.MockTransport(answer)) as client:
        with httpx_sse.connect_sse(client, "GET", "http://localhost/") as source:
            return [(event.id, event.data) for event in source.iter_sse()]


for what, body in (
    ("cut off", b"id: 1\ndata: one\n\nid: 2\ndata: half\n"),
    ("id alone", b"id: 1\ndata: one\n\nid: 2\n\n"),
):
    print(f"{what}: sseclient-py {by_sseclient(body)}")
    print(f"{what}: httpx-sse {by_httpx(body)}")
END
cat >expected <<'END'
cut off: sseclient-py [('1', 'one'), ('2', 'half')]
cut off: httpx-sse [('1', 'one')]
id alone: sseclient-py [('1', 'one')]
id alone: httpx-sse [('1', 'one'), ('2', '')]
END
venv/bin/python run.py >seen
diff expected seen
echo "as written"
