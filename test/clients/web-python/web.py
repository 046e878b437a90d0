"""What Python's libraries of HTTP see: CloudEvents of the SDK, Server-Sent Events through a restart,
and OpenAPI by a validator. Prints a line of JSON for each."""

import json
import os
import sys

import httpx
from cloudevents.core.bindings import http
from cloudevents.core.v1.event import CloudEvent
from httpx_sse import connect_sse
from openapi_spec_validator import validate

base = f"http://{os.environ['ANNALS_ADDRESS']}"
client = httpx.Client(base_url=base, timeout=30)


def say(what, **facts):
    print(json.dumps({"what": what, **facts}), flush=True)


def cloud_events():
    facts = {}
    values = {
        "object": ("application/json", {"a": 1, "b": [True, None]}),
        "zero": ("application/json", 0),
        "text": ("text/plain", "h\u00e9"),
        "bytes": ("image/png", bytes([0, 255, 10])),
    }
    for name, (kind, data) in values.items():
        for mode in ("structured", "binary"):
            if name == "zero" and mode == "binary":
                continue
            attributes = {
                "id": f"py-{name}-{mode}",
                "source": "/sdk",
                "type": "t",
                "specversion": "1.0",
                "datacontenttype": kind,
                "comexample": "Euro \u20ac",
            }
            event = CloudEvent(attributes=attributes, data=data)
            to = http.to_structured_event if mode == "structured" else http.to_binary_event
            message = to(event)
            stored = client.post("/v1/events", headers=message.headers, content=message.body)
            stored.raise_for_status()
            accept = "application/cloudevents+json" if mode == "structured" else "*/*"
            position = stored.json()["lastPosition"]
            told = client.get(f"/v1/events/{position}", headers={"accept": accept})
            back = http.from_http_event(http.HTTPMessage(dict(told.headers), told.content))
            said = back.get_data()
            facts[f"{name}, {mode}"] = {
                "id": back.get_id(),
                "example": back.get_extension("comexample"),
                "data": list(said) if isinstance(said, bytes) else said,
            }
    say("cloudevents", **facts)


def append(kind):
    body = {"stream": "py-followed", "events": [{"type": kind}]}
    client.post("/annals.v1.EventStoreService/Append", json=body).raise_for_status()


def follow():
    seen = []
    last = ""
    path = "/v1/subscribe?stream=py-followed"
    append("A")
    append("B")
    with connect_sse(client, "GET", path) as source:
        for event in source.iter_sse():
            last = event.id
            if event.event == "message":
                seen.append(json.loads(event.data)["type"])
            if event.event == "caught_up":
                break
    print("RESTART", flush=True)
    sys.stdin.readline()
    append("C")
    with connect_sse(client, "GET", path, headers={"last-event-id": last}) as source:
        for event in source.iter_sse():
            if event.event == "message":
                seen.append(json.loads(event.data)["type"])
            if seen[-1] == "C":
                break
    say("httpx-sse", seen=seen)


cloud_events()
follow()
validate(client.get("/openapi.json").json())
say("openapi", valid=True)
