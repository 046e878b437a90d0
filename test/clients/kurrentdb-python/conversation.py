# The official Python client of KurrentDB walks through the streams and persistent subscriptions of a
# server. Each step prints one line of JSON.

import json
import os
import sys
import time
import traceback
from uuid import uuid4

from kurrentdbclient import KurrentDBClient, NewEvent, StreamState
from kurrentdbclient.exceptions import (
    AlreadyExistsError,
    FailedPreconditionError,
    GrpcError,
    NotFoundError,
    ServiceUnavailableError,
    StreamIsDeletedError,
    WrongCurrentVersionError,
)

address = os.environ["ANNALS_ADDRESS"]
uri = f"kurrentdb://{address}?tls=false"
steps = []


def step(does):
    steps.append(does)
    return does


def restart():
    print("RESTART", flush=True)
    assert sys.stdin.readline() == "restarted\n"


def event(type="Placed", **fields):
    return NewEvent(type=type, data=fields.pop("data", b'{"x":1}'), **fields)


def name():
    return f"orders-{uuid4()}"


def fails(error, act):
    try:
        act()
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was not raised")


client = KurrentDBClient(uri)


@step
def connect():
    assert client.get_commit_position() >= 0


@step
def discover():
    found = KurrentDBClient(f"kurrentdb+discover://{address}?tls=false&NodePreference=leader")
    assert found.get_commit_position() >= 0
    found.close()


@step
def append_and_read():
    stream = name()
    first = event(metadata=b'{"$correlationId":"c"}')
    second = event("Shipped", data=bytes(range(256)), content_type="application/octet-stream")
    position = client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[first, second])
    third = client.append_to_stream(stream, current_version=1, events=event("Paid"))
    assert third > position
    recorded = client.get_stream(stream)
    assert [e.stream_position for e in recorded] == [0, 1, 2]
    assert [e.id for e in recorded[:2]] == [first.id, second.id]
    assert recorded[0].metadata == first.metadata and recorded[0].content_type == "application/json"
    assert recorded[1].data == second.data and recorded[1].content_type == "application/octet-stream"
    assert recorded[0].recorded_at is not None
    assert [e.type for e in client.get_stream(stream, backwards=True, limit=2)] == ["Paid", "Shipped"]
    assert [e.type for e in client.get_stream(stream, stream_position=1)] == ["Shipped", "Paid"]
    assert client.get_current_version(stream) == 2


@step
def conflict():
    stream = name()
    client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event()])
    for expected in (StreamState.NO_STREAM, 5):
        fails(WrongCurrentVersionError, lambda: client.append_to_stream(stream, current_version=expected, events=[event()]))
        fails(WrongCurrentVersionError, lambda: client.append_event(stream, current_version=expected, event=event()))
    fails(WrongCurrentVersionError, lambda: client.append_to_stream(name(), current_version=StreamState.EXISTS, events=[event()]))


@step
def retry():
    stream = name()
    events = [event(), event()]
    for version in (StreamState.ANY, StreamState.NO_STREAM):
        first = client.append_to_stream(stream, current_version=version, events=events)
        assert client.append_to_stream(stream, current_version=version, events=events) == first
    third = event()
    at = client.append_to_stream(stream, current_version=1, events=[third])
    client.append_to_stream(stream, current_version=2, events=[event()])
    assert client.append_to_stream(stream, current_version=1, events=[third]) == at
    # The id may be used again in another stream.
    client.append_to_stream(name(), current_version=StreamState.ANY, events=events)
    assert len(client.get_stream(stream)) == 4


@step
def many():
    stream = name()
    events = [event(data=b"{}" * 50) for _ in range(4_000)]
    client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=events)
    assert [e.id for e in client.read_stream(stream)] == [e.id for e in events]


@step
def read_all():
    a, b = name(), name()
    before = client.get_commit_position()
    client.append_to_stream(a, current_version=StreamState.ANY, events=[event("A")])
    client.append_to_stream(b, current_version=StreamState.ANY, events=[event("B")])
    after = [e for e in client.read_all(commit_position=before) if e.stream_name in (a, b)]
    assert [e.type for e in after] == ["A", "B"]
    last = client.read_all(backwards=True, limit=1)
    assert [e.type for e in last] == ["B"]
    by_stream = client.read_all(filter_include=[b], filter_by_stream_name=True)
    assert [e.type for e in by_stream] == ["B"]
    by_type = client.read_all(filter_include=["A", "B"], commit_position=before)
    assert [e.type for e in by_type] == ["A", "B"]
    excluded = client.read_all(filter_exclude=["A", r"\$.+"], commit_position=before + 1)
    assert [e.type for e in excluded] == ["B"]


@step
def subscribe_through_a_restart():
    stream = name()
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event("E0"), event("E1")])
    subscription = client.subscribe_to_stream(stream)
    seen = [next(subscription).type, next(subscription).type]
    restart()
    fails(ServiceUnavailableError, lambda: next(subscription))
    deadline = time.monotonic() + 30
    while True:
        try:
            client.append_to_stream(stream, current_version=1, events=[event("E2")])
            break
        except GrpcError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
    with client.subscribe_to_stream(stream, stream_position=1) as rest:
        seen.append(next(rest).type)
    assert seen == ["E0", "E1", "E2"], seen


@step
def subscribe_with_checkpoints():
    stream = name()
    before = client.get_commit_position()
    subscription = client.subscribe_to_all(
        commit_position=before, filter_include=[stream], filter_by_stream_name=True,
        include_checkpoints=True, window_size=1, checkpoint_interval_multiplier=2, include_caught_up=True,
    )
    client.append_to_stream(name(), current_version=StreamState.ANY, events=[event() for _ in range(10)])
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event("Mine")])
    kinds = []
    for found in subscription:
        kinds.append(type(found).__name__)
        if getattr(found, "type", "") == "Mine":
            break
    assert "Checkpoint" in kinds and "CaughtUp" in kinds, kinds
    subscription.stop()


@step
def persistent_subscription():
    stream, group = name(), "workers"
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event(f"E{i}") for i in range(5)])
    client.create_subscription_to_stream(group, stream, max_retry_count=2)
    fails(AlreadyExistsError, lambda: client.create_subscription_to_stream(group, stream))
    consumer = client.read_subscription_to_stream(group, stream)
    types = []
    for found in consumer:
        types.append((found.type, found.retry_count))
        if found.type == "E1" and found.retry_count == 0:
            consumer.nack(found, action="retry")
        elif found.type == "E2":
            consumer.nack(found, action="park")
        elif found.type == "E3":
            consumer.nack(found, action="skip")
        else:
            consumer.ack(found)
        if len(types) == 6:
            consumer.stop()
    assert ("E1", 1) in types, types
    deadline = time.monotonic() + 30
    while (info := client.get_subscription_info(group, stream)).parked_message_count != 1:
        assert time.monotonic() < deadline, info
        time.sleep(0.1)
    assert info.event_source == stream and info.group_name == group and info.max_retry_count == 2
    client.replay_parked_events(group, stream)
    again = client.read_subscription_to_stream(group, stream)
    parked = next(again)
    again.ack(parked)
    again.stop()
    assert parked.type == "E2"
    client.update_subscription_to_stream(group, stream, max_retry_count=7)
    assert client.get_subscription_info(group, stream).max_retry_count == 7
    assert [s.group_name for s in client.list_subscriptions_to_stream(stream)] == [group]
    assert any(s.event_source == stream for s in client.list_subscriptions())
    client.delete_subscription(group, stream)
    fails(NotFoundError, lambda: client.get_subscription_info(group, stream))
    fails(NotFoundError, lambda: client.delete_subscription(group, stream))


@step
def persistent_subscription_to_all():
    stream, group = name(), f"all-{uuid4()}"
    before = client.get_commit_position()
    for strategy in ("DispatchToSingle", "RoundRobin", "Pinned", "PinnedByCorrelation"):
        client.create_subscription_to_all(
            group, commit_position=before, filter_include=[stream], filter_by_stream_name=True,
            consumer_strategy=strategy,
        )
        client.append_to_stream(stream, current_version=StreamState.ANY, events=[event(strategy)])
        consumer = client.read_subscription_to_all(group)
        for found in consumer:
            consumer.ack(found)
            if found.type == strategy:
                consumer.stop()
        assert client.get_subscription_info(group).consumer_strategy == strategy
        client.delete_subscription(group)


@step
def a_dropped_consumer():
    stream, group = name(), "dropped"
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event("E0")])
    client.create_subscription_to_stream(group, stream)
    other = KurrentDBClient(uri)
    lost = other.read_subscription_to_stream(group, stream)
    assert next(lost).type == "E0"
    other.close()
    consumer = client.read_subscription_to_stream(group, stream)
    found = next(consumer)
    assert found.type == "E0"
    consumer.ack(found)
    consumer.stop()


@step
def links():
    stream = f"linked{uuid4().hex}-1"
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event("A"), event("B")])
    category = f"$ce-{stream.split('-')[0]}"
    found = client.get_stream(category, resolve_links=True)
    assert [(e.type, e.stream_name, e.is_link_event) for e in found] == [("A", stream, False), ("B", stream, False)]
    assert found[0].link is not None and found[0].link.type == "$>"


@step
def metadata():
    stream = name()
    client.append_to_stream(stream, current_version=StreamState.ANY, events=[event() for _ in range(3)])
    assert client.get_stream_metadata(stream) == ({}, StreamState.NO_STREAM)
    client.set_stream_metadata(stream, metadata={"mine": [1, 2], "$maxCount": 2}, current_version=StreamState.NO_STREAM)
    assert client.get_stream_metadata(stream) == ({"mine": [1, 2], "$maxCount": 2}, 0)
    assert [e.stream_position for e in client.get_stream(stream)] == [1, 2]
    fails(WrongCurrentVersionError, lambda: client.set_stream_metadata(stream, metadata={}, current_version=9))


@step
def delete():
    stream = name()
    fails(NotFoundError, lambda: client.get_stream(stream))
    # This client takes a conflict with a stream that never was for one that is not found.
    fails(NotFoundError, lambda: client.delete_stream(stream, current_version=StreamState.ANY))
    client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event(), event()])
    fails(WrongCurrentVersionError, lambda: client.delete_stream(stream, current_version=0))
    client.delete_stream(stream, current_version=1)
    fails(NotFoundError, lambda: client.get_stream(stream))
    client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event("Again")])
    assert [(e.type, e.stream_position) for e in client.get_stream(stream)] == [("Again", 2)]


@step
def tombstone():
    stream = name()
    client.append_to_stream(stream, current_version=StreamState.NO_STREAM, events=[event()])
    client.tombstone_stream(stream, current_version=0)
    fails(StreamIsDeletedError, lambda: client.get_stream(stream))
    # This client has no error of its own for an append of one event.
    fails(FailedPreconditionError, lambda: client.append_event(stream, current_version=StreamState.ANY, event=event()))
    fails(StreamIsDeletedError, lambda: client.append_to_stream(stream, current_version=StreamState.ANY, events=[event()]))
    fails(StreamIsDeletedError, lambda: client.delete_stream(stream, current_version=StreamState.ANY))
    fails(StreamIsDeletedError, lambda: client.subscribe_to_stream(stream).__next__())


for each in steps:
    try:
        each()
        print(json.dumps({"step": each.__name__, "ok": True}), flush=True)
    except BaseException:
        print(json.dumps({"step": each.__name__, "ok": False, "error": traceback.format_exc()[-900:]}), flush=True)
client.close()
