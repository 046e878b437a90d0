# The official Python client of UmaDB walks through a server. Each step prints one line of JSON. With
# REFERENCE set, it starts the server that comes with the client and walks through that one instead,
# which shows that the steps expect what clients know.

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from uuid import uuid4

from umadb import (
    AppendCondition,
    Client,
    Event,
    IntegrityError,
    Query,
    QueryItem,
    TrackingInfo,
)

steps = []
reference = None
address = os.environ["ANNALS_ADDRESS"]
if os.environ.get("REFERENCE"):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = "127.0.0.1:%d" % free.getsockname()[1]
    folder = tempfile.mkdtemp()
    serve = "import sys, umadb; umadb.run_server_from_args(sys.argv)"
    arguments = ["--listen", address, "--db-path", folder]
    reference = subprocess.Popen(
        [sys.executable, "-c", serve, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(2)


def step(does):
    steps.append(does)
    return does


def restart():
    print("RESTART", flush=True)
    assert sys.stdin.readline() == "restarted\n"


def fails(error, act):
    try:
        act()
    except error as caught:
        return caught
    raise AssertionError(f"{error.__name__} was not raised")


def event(type="Placed", tags=(), data=b"x", **fields):
    return Event(type, data, list(tags), **fields)


def tagged(*tags, types=()):
    return Query([QueryItem(types=list(types), tags=list(tags))])


def fresh():
    return f"order:{uuid4()}"


def found(client, query=None, **how):
    return [one.position for one in client.read(query=query, **how)]


client = Client(f"http://{address}")


@step
def a_new_store_is_empty():
    assert client.head() is None
    assert list(client.read()) == []
    assert client.check_health() is not None


@step
def events_come_back_as_they_were():
    tag = fresh()
    uuid = uuid4()
    sent = event("Placed", [tag, "k"], b"\x00\xff", uuid=uuid, metadata={"10": "a", "2": "b", "é": ""})
    position = client.append([sent, event("Paid", [tag])])
    [first, second] = list(client.read(query=tagged(tag)))
    assert (first.position, second.position) == (position - 1, position)
    assert (first.event.event_type, first.event.data) == ("Placed", b"\x00\xff")
    assert (first.event.tags, first.event.uuid) == ([tag, "k"], uuid)
    # The client has no order of metadata.
    assert dict(first.event.metadata) == {"10": "a", "2": "b", "é": ""}
    assert not second.event.uuid and client.head() == position


@step
def queries_select_by_types_and_tags():
    tag = fresh()
    last = client.append([event("A", [tag]), event("B", [tag, "b"]), event("C", [tag])])
    a, b, c = last - 2, last - 1, last
    assert found(client, tagged(tag)) == [a, b, c]
    assert found(client, tagged(tag, "b")) == [b]
    assert found(client, tagged(tag, types=["A", "C"])) == [a, c]
    items = [QueryItem(types=["A"], tags=[tag]), QueryItem(types=["B"], tags=[tag])]
    assert found(client, Query(items)) == [a, b]
    assert found(client, tagged(tag, types=[""])) == []
    assert found(client, tagged(tag, "")) == []
    many = [QueryItem(types=[], tags=[f"{tag}-{i}"]) for i in range(999)]
    assert found(client, Query([*many, QueryItem(types=["C"], tags=[tag])])) == [c]


@step
def reads_have_bounds_and_directions():
    tag = fresh()
    last = client.append([event(tags=[tag]) for _ in range(5)])
    first = last - 4
    query = tagged(tag)
    assert found(client, query, start=first + 1, limit=2) == [first + 1, first + 2]
    assert found(client, query, backwards=True) == list(range(last, first - 1, -1))
    assert found(client, query, backwards=True, start=first + 2) == [first + 2, first + 1, first]
    assert found(client, query, start=last + 100) == []
    assert found(client, query, backwards=True, start=last + 100, limit=1) == [last]
    assert found(client, query, backwards=True, start=0) == []
    assert found(client, query, limit=0) == []
    assert found(client, query, limit=99) == list(range(first, last + 1))


@step
def messages_have_as_many_events_as_were_asked_for():
    tag = fresh()
    last = client.append([event(tags=[tag]) for _ in range(25)])
    small = Client(f"http://{address}", batch_size=10)
    reading = small.read(query=tagged(tag))
    sizes = []
    while batch := reading.next_batch():
        sizes.append(len(batch))
    assert sizes == [10, 10, 5], sizes
    _, head = small.read(query=tagged(tag)).collect_with_head()
    assert head == client.head()
    _, head = small.read(query=tagged(tag), limit=3).collect_with_head()
    assert head == last - 22, head


@step
def a_condition_is_kept():
    tag = fresh()
    query = tagged(tag)
    condition = AppendCondition(query)
    position = client.append([event(tags=[tag])], condition=condition)
    fails(IntegrityError, lambda: client.append([event(tags=[tag])], condition=condition))
    after = AppendCondition(query, after=position)
    ahead = AppendCondition(query, after=position + 1_000_000)
    second = client.append([event(tags=[tag])], condition=after)
    client.append([event(tags=[tag])], condition=ahead)
    fails(IntegrityError, lambda: client.append([event()], condition=AppendCondition(query, after=second)))
    head = client.head()
    fails(IntegrityError, lambda: client.append([event()], condition=AppendCondition(Query([]), after=head - 1)))
    assert client.head() == head
    client.append([event()], condition=AppendCondition(Query([]), after=head))


@step
def one_of_many_claims_is_accepted():
    tag = fresh()
    outcomes = []

    def claim():
        try:
            outcomes.append(client.append([event(tags=[tag])], condition=AppendCondition(tagged(tag))))
        except IntegrityError:
            outcomes.append(None)

    claims = [threading.Thread(target=claim) for _ in range(16)]
    [one.start() for one in claims]
    [one.join() for one in claims]
    assert len([one for one in outcomes if one is not None]) == 1


@step
def a_repeat_is_told_from_a_conflict():
    tag = fresh()
    condition = AppendCondition(tagged(tag))
    x, y, z = (uuid4() for _ in range(3))
    of = lambda *uuids, **fields: [event(tags=[tag], uuid=one, **fields) for one in uuids]
    append = lambda events: client.append(events, condition=condition)
    last = append(of(x, y))
    client.append(of(z))
    assert append(of(x, y)) == last
    assert append(of(x, y, data=b"other")) == last
    assert append(of(x)) == last - 1
    for other in (of(y), of(x, z), of(y, x), of(x, y, z, z), [*of(x), event(tags=[tag])]):
        fails(IntegrityError, lambda: append(other))
    position = client.head()
    assert client.append(of(x)) == position + 1


@step
def tracking_only_increases():
    source = f"upstream-{uuid4()}"
    tag = fresh()
    assert client.get_tracking_info(source) is None
    greatest = 2**64 - 1
    track = lambda position: client.append([event(tags=[tag])], tracking_info=TrackingInfo(source, position))
    track(0)
    track(greatest - 1)
    fails(IntegrityError, lambda: track(greatest - 1))
    track(greatest)
    assert client.get_tracking_info(source) == greatest
    [first, *_] = list(client.read(query=tagged(tag)))
    assert (first.tracking_info.source, first.tracking_info.position) == (source, 0)
    other = f"{source}-alone"
    client.append([], tracking_info=TrackingInfo(other, 7))
    assert client.get_tracking_info(other) == 7
    repeated = [event(tags=[tag], uuid=uuid4())]
    condition = AppendCondition(tagged(tag), after=client.head())
    again = lambda: client.append(repeated, condition=condition, tracking_info=TrackingInfo(other, 8))
    assert again() == again()


@step
def what_cannot_be_stored_is_refused():
    head = client.head()
    fails(ValueError, lambda: client.append([event(tags=["x" * 5_000])]))
    fails(ValueError, lambda: client.append([], tracking_info=TrackingInfo("s" * 256, 1)))
    assert client.append([]) == 0 and client.head() == head


@step
def subscriptions_go_on_with_what_comes():
    tag = fresh()
    last = client.append([event(tags=[tag]) for _ in range(3)])
    following = client.subscribe(query=tagged(tag), after=last - 2)
    threading.Timer(0.2, lambda: client.append([event(tags=[tag]) for _ in range(2)])).start()
    seen = [next(following).position for _ in range(4)]
    assert seen[:2] == [last - 1, last] and seen[2] > last and seen[3] == seen[2] + 1, seen
    following.cancel()
    silent = client.subscribe(query=tagged(fresh()), after=2**63)
    silent.cancel()


@step
def large_events_fit():
    tag = fresh()
    for _ in range(2):
        client.append([event(tags=[tag], data=b"z" * 2_900_000)])
    assert [len(one.event.data) for one in client.read(query=tagged(tag))] == [2_900_000] * 2


@step
def everything_survives_a_restart():
    tag = fresh()
    uuid = uuid4()
    source = f"upstream-{uuid4()}"
    claim = lambda: client.append(
        [event(tags=[tag], uuid=uuid)],
        condition=AppendCondition(tagged(tag)),
        tracking_info=TrackingInfo(source, 3),
    )
    position = claim()
    if reference is None:
        restart()
    assert claim() == position
    assert client.get_tracking_info(source) == 3
    assert found(client, tagged(tag)) == [position]


failed = False
for does in steps:
    line = {"step": does.__name__, "ok": True}
    try:
        does()
    except BaseException:
        line = {"step": does.__name__, "ok": False, "why": traceback.format_exc()[-1_500:]}
    print(json.dumps(line), flush=True)
if reference is not None:
    reference.terminate()
