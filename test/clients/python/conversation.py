"""The scripted conversation of test/clients/conversation.ts, by a generated Python client."""

import json
import os
import sys
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from annals.v1 import append_pb2, errors_pb2, event_pb2, event_store_service_pb2_grpc
from annals.v1 import info_pb2, query_pb2, read_pb2, snapshot_pb2

STEP_SECONDS = 60
# The retry advice that ships with the contract.
SERVICE_CONFIG = Path("proto/annals/v1/annals_grpc_service_config.json")


class Conversation:
    def __init__(self, channel):
        self.client = event_store_service_pb2_grpc.EventStoreServiceStub(channel)

    def append(self):
        return appended(self.client.Append(first_request(), timeout=STEP_SECONDS))

    retry = append

    def conflict(self):
        return self.refused(
            append_pb2.AppendRequest(
                stream="order-1",
                expected_version=0,
                events=[event(3, "OrderPlaced")],
                expectations=[
                    append_pb2.StreamExpectation(
                        stream="order-9", expected_state=append_pb2.STREAM_STATE_EXISTS
                    )
                ],
                conditions=[
                    append_pb2.AppendCondition(
                        query=query_pb2.Query(items=[placed_by_first_customer()])
                    )
                ],
            )
        )

    def id_conflict(self):
        other = event(1, "OrderPlaced", tags=["customer:c1"], data=b"something else")
        return self.refused(append_pb2.AppendRequest(stream="order-1", events=[other]))

    def two_streams(self):
        request = append_pb2.AppendRequest(
            stream="order-2",
            expected_state=append_pb2.STREAM_STATE_ABSENT,
            events=[
                event(4, "OrderPlaced", tags=["customer:c2"]),
                event(5, "OrderShipped", stream="order-1", tags=["customer:c1"]),
            ],
            expectations=[append_pb2.StreamExpectation(stream="order-1", expected_version=2)],
        )
        return appended(self.client.Append(request, timeout=STEP_SECONDS))

    def pipe(self):
        requests = [
            append_pb2.AppendPipeRequest(
                append=append_pb2.AppendRequest(
                    stream="pipe-1", expected_version=expected, events=[event(number, "Piped")]
                )
            )
            for number, expected in [(6, 0), (7, 0), (8, 1)]
        ]
        answers = self.client.AppendPipe(iter(requests), timeout=STEP_SECONDS)
        return {"outcomes": [outcome(answer) for answer in answers]}

    def read_forwards(self):
        events, end = self.read(read_pb2.ReadRequest(stream="order-1"))
        first = events[0]
        return {
            "versions": versions(events),
            "types": [event.type for event in events],
            "id": first.id,
            "data": first.data.decode(),
            "user": first.metadata["user"],
            "content_type": first.content_type,
            "tags": list(first.tags),
            "recorded": first.recorded_at.ToDatetime().year > 2000,
            "end": [end.head, end.after, end.event_count, end.stream_version],
        }

    def read_backwards(self):
        events, end = self.read(
            read_pb2.ReadRequest(direction=read_pb2.DIRECTION_BACKWARDS, limit=3)
        )
        return {"positions": positions(events), "head": end.head}

    def query(self):
        wanted = query_pb2.Query(
            items=[placed_by_first_customer(), query_pb2.QueryItem(streams=["order-2"])]
        )
        events, end = self.read(read_pb2.ReadRequest(query=wanted))
        return {"positions": positions(events), "after": end.after}

    def snapshot(self):
        save = snapshot_pb2.SaveSnapshotRequest(
            stream="order-1",
            version=2,
            content_type="application/json",
            data=b'{"status":"paid"}',
        )
        saved = self.client.SaveSnapshot(save, timeout=STEP_SECONDS)
        got = self.client.GetSnapshot(
            snapshot_pb2.GetSnapshotRequest(stream="order-1"), timeout=STEP_SECONDS
        ).snapshot
        save.version = 99
        missing = snapshot_pb2.GetSnapshotRequest(stream="order-2")
        return {
            "position": saved.position,
            "version": got.version,
            "data": got.data.decode(),
            "beyond": failed(lambda: self.client.SaveSnapshot(save, timeout=STEP_SECONDS)),
            "missing": failed(lambda: self.client.GetSnapshot(missing, timeout=STEP_SECONDS)),
        }

    def load(self):
        found, events = {}, []
        request = snapshot_pb2.LoadRequest(stream="order-1")
        for answer in self.client.Load(request, timeout=STEP_SECONDS):
            match answer.WhichOneof("message"):
                case "snapshot":
                    found["snapshot_version"] = answer.snapshot.version
                case "batch":
                    events.extend(answer.batch.events)
                case "end":
                    found["version"], found["head"] = answer.end.version, answer.end.head
        return {**found, "versions": versions(events)}

    def subscribe(self):
        messages = self.client.Subscribe(
            read_pb2.SubscribeRequest(stream="order-1"), timeout=STEP_SECONDS
        )
        history, caught_up = until_caught_up(messages)
        self.client.Append(
            append_pb2.AppendRequest(
                stream="order-1", expected_version=3, events=[event(9, "OrderClosed")]
            ),
            timeout=STEP_SECONDS,
        )
        live = next_events(messages)
        before = self.subscribers()
        messages.cancel()
        ended = end_of(messages)
        after = before
        while after != 0:
            after = self.subscribers()
        return {
            "history": versions(history),
            "caught_up": caught_up,
            "live": positions(live),
            "code": ended["code"],
            "subscribers": [before, after],
        }

    def deadline(self):
        messages = self.client.Subscribe(read_pb2.SubscribeRequest(stream="empty-1"), timeout=2)
        _, caught_up = until_caught_up(messages)
        return {"caught_up": caught_up, "code": end_of(messages)["code"]}

    def large(self):
        data = bytes(index % 251 for index in range(2 * 1024 * 1024))
        answer = self.client.Append(
            append_pb2.AppendRequest(stream="large-1", events=[event(10, "Scanned", data=data)]),
            timeout=STEP_SECONDS,
        )
        events, _ = self.read(read_pb2.ReadRequest(stream="large-1"))
        return {
            "position": answer.last_position,
            "bytes": len(events[0].data),
            "equal": events[0].data == data,
        }

    def restart(self):
        messages = self.follow(after=7)
        seen, position = until_caught_up(messages)
        print("RESTART", flush=True)
        ended = end_of(messages)
        sys.stdin.readline()
        # The channel reconnects by itself; what is called before it has is retried.
        retried = self.client.Append(first_request(), timeout=STEP_SECONDS)
        self.reopen(11)
        messages = self.follow(after=position)
        resumed, _ = until_caught_up(messages)
        self.reopen(12)
        live = next_events(messages)
        messages.cancel()
        return {
            "seen": positions(seen),
            "ended": ended,
            "retried": appended(retried),
            "resumed": positions(resumed + live),
        }

    def follow(self, after):
        return self.client.Subscribe(
            read_pb2.SubscribeRequest(after_position=after), timeout=STEP_SECONDS
        )

    def reopen(self, number):
        self.client.Append(
            append_pb2.AppendRequest(stream="order-2", events=[event(number, "OrderReopened")]),
            timeout=STEP_SECONDS,
        )

    def refused(self, request):
        return failed(lambda: self.client.Append(request, timeout=STEP_SECONDS))

    def read(self, request):
        events, end = [], None
        for answer in self.client.Read(request, timeout=STEP_SECONDS):
            events.extend(answer.batch.events)
            end = answer.end if answer.HasField("end") else None
        assert end is not None, "a read that ends without a ReadEnd was cut off"
        return events, end

    def subscribers(self):
        request = info_pb2.GetStreamRequest(stream="order-1")
        return self.client.GetStream(request, timeout=STEP_SECONDS).stream.subscriber_count


def event(number, type, **fields):
    return event_pb2.NewEvent(id=f"00000000-0000-4000-8000-{number:012}", type=type, **fields)


def first_request():
    placed = event(
        1,
        "OrderPlaced",
        tags=["customer:c1"],
        metadata={"user": "ada"},
        content_type="application/json",
        data=b'{"total":10}',
    )
    paid = event(
        2,
        "OrderPaid",
        tags=["customer:c1"],
        content_type="application/json",
        data=b'{"paid":true}',
    )
    return append_pb2.AppendRequest(stream="order-1", expected_version=0, events=[placed, paid])


def placed_by_first_customer():
    return query_pb2.QueryItem(types=["OrderPlaced"], tags=["customer:c1"])


def positions(events):
    return [event.position for event in events]


def versions(events):
    return [event.version for event in events]


def appended(answer):
    return {
        "positions": [answer.first_position, answer.last_position],
        "versions": {s.stream: [s.first_version, s.last_version] for s in answer.streams},
        "deduplicated": answer.deduplicated,
    }


def failed(call):
    """Runs a call that must fail, and describes the error as the contract types it."""
    try:
        call()
    except grpc.RpcError as error:
        return described(error)
    raise AssertionError("expected an error")


def described(error):
    found = {"code": error.code().value[0]}
    status = rpc_status.from_call(error)
    for detail in status.details if status else []:
        describe(found, detail)
    return found


def describe(found, detail):
    info = error_details_pb2.ErrorInfo()
    conflict = errors_pb2.AppendConflict()
    ids = errors_pb2.EventIdConflict()
    if detail.Unpack(info):
        found["domain"], found["reason"] = info.domain, info.reason
    elif detail.Unpack(conflict):
        found["actual_versions"] = {s.stream: s.actual_version for s in conflict.streams}
        if conflict.conditions:
            found["condition_position"] = conflict.conditions[0].position
    elif detail.Unpack(ids):
        found["id_positions"] = [mismatch.position for mismatch in ids.events]
        found["problem"] = errors_pb2.EventIdProblem.Name(ids.events[0].problem)


def outcome(answer):
    if answer.HasField("appended"):
        return {"sequence": answer.sequence, "position": answer.appended.last_position}
    found = {"sequence": answer.sequence, "code": answer.failure.code}
    for detail in answer.failure.details:
        describe(found, detail)
    return found


def until_caught_up(messages):
    events = []
    for message in messages:
        events.extend(message.batch.events)
        if message.HasField("caught_up"):
            return events, message.caught_up.position
    raise AssertionError("a subscription ends only with an error")


def next_events(messages):
    for message in messages:
        if message.HasField("batch"):
            return list(message.batch.events)
    raise AssertionError("a subscription ends only with an error")


def end_of(messages):
    """Reads on until the subscription ends, and says how."""
    return failed(lambda: [None for _ in messages])


STEPS = """append conflict retry id_conflict two_streams pipe read_forwards read_backwards query
snapshot load subscribe deadline large restart""".split()


def main():
    options = [("grpc.service_config", SERVICE_CONFIG.read_text())]
    with grpc.insecure_channel(os.environ["ANNALS_ADDRESS"], options) as channel:
        conversation = Conversation(channel)
        for step in STEPS:
            facts = getattr(conversation, step)()
            print(json.dumps({"step": step, "ok": True, **facts}), flush=True)


main()
