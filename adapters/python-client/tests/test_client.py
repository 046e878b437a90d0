"""The client against a server of its own, on disk."""

from __future__ import annotations

import json
import unittest
import uuid

from annals import *
from live_server import LiveServer

SUBSCRIBED = "StudentSubscribed"


server: LiveServer


def setUpModule() -> None:
    global server
    server = LiveServer()


def tearDownModule() -> None:
    server.stop()


class OneServer(unittest.TestCase):
    def setUp(self) -> None:
        self.client = Client(server.address)
        self.addCleanup(self.client.close)

    def append(self, stream: str, *types: str) -> AppendResponse:
        return self.client.append(AppendRequest(stream=stream, events=[event(t) for t in types]))


class Appends(OneServer):
    def test_json_comes_back_as_it_was_sent(self) -> None:
        sent = event("Placed", {"total": 12, "what": "ü"}, tags=["a:1"], metadata={"user": "ada"})
        self.client.append(AppendRequest(stream="json-1", events=[sent]))
        (got,) = self.client.read(ReadRequest(stream="json-1"))
        self.assertEqual(json.loads(got.data), {"total": 12, "what": "ü"})
        self.assertEqual((got.id, got.content_type), (sent.id, "application/json"))
        self.assertEqual((list(got.tags), dict(got.metadata)), (["a:1"], {"user": "ada"}))

    def test_the_same_events_again_are_a_retry(self) -> None:
        request = AppendRequest(stream="retry-1", expected_version=0, events=[event("Placed")])
        first = self.client.append(request)
        again = self.client.append(request)
        self.assertEqual(again.first_position, first.first_position)
        self.assertEqual([first.deduplicated, again.deduplicated], [False, True])

    def test_an_event_without_an_id_gets_one(self) -> None:
        request = AppendRequest(stream="ids-1", events=[NewEvent(type="Placed")])
        self.client.append(request)
        (got,) = self.client.read(ReadRequest(stream="ids-1"))
        self.assertEqual(uuid.UUID(got.id).version, 4)
        self.assertEqual(request.events[0].id, "")

    def test_a_conflict_says_what_did_not_hold(self) -> None:
        self.append("conflict-1", "Placed", "Paid")
        with self.assertRaises(ConflictError) as caught:
            self.client.append(
                AppendRequest(stream="conflict-1", expected_version=1, events=[event("Paid")])
            )
        (violation,) = caught.exception.conflict.streams
        self.assertEqual((violation.expected_version, violation.actual_version), (1, 2))
        self.assertEqual(
            (caught.exception.code, caught.exception.reason), ("ABORTED", "APPEND_CONFLICT")
        )
        self.assertFalse(caught.exception.may_have_been_stored)

    def test_one_id_of_two_events_is_refused(self) -> None:
        self.client.append(
            AppendRequest(stream="id-1", events=[event("Placed", id=uuid.UUID(int=7))])
        )
        with self.assertRaises(EventIdConflictError) as caught:
            self.client.append(
                AppendRequest(stream="id-1", events=[event("Paid", id=uuid.UUID(int=7))])
            )
        self.assertEqual(caught.exception.conflict.events[0].id, str(uuid.UUID(int=7)))

    def test_other_errors_have_a_class_and_a_reason(self) -> None:
        with self.assertRaisesRegex(InvalidArgumentError, "type"):
            self.append("bad-1", "")
        with self.assertRaises(BeyondHeadError):
            next(self.client.subscribe(SubscribeRequest(after_position=1_000_000)))
        with self.assertRaises(EpochMismatchError) as caught:
            self.client.append(
                AppendRequest(
                    stream="e", expected_version=7, epoch="0123456789abcdef", events=[event("X")]
                )
            )
        self.assertIsNone(caught.exception.shared_through)
        with self.assertRaises(NotFoundError) as missing:
            self.client.get_snapshot(GetSnapshotRequest(stream="none-1"))
        self.assertEqual(missing.exception.reason, "SNAPSHOT_NOT_FOUND")

    def test_a_server_that_is_not_there_is_said_after_the_timeout(self) -> None:
        with Client("127.0.0.1:1", timeout=0.3) as nobody:
            with self.assertRaises(UnavailableError):
                nobody.get_info(GetInfoRequest())
            with self.assertRaises(UnavailableError):
                list(nobody.read(ReadRequest()))


class Decisions(OneServer):
    def subscribe_student(self, student: str, course: str, places: int) -> bool:
        tags = [f"course:{course}", f"student:{student}"]
        read = self.client.read(
            ReadRequest(query=query(QueryItem(types=[SUBSCRIBED], tags=tags[:1])))
        )
        if len(list(read)) >= places:
            return False
        self.client.append(
            AppendRequest(
                events=[event(SUBSCRIBED, tags=tags)], conditions=[read.condition], epoch=read.epoch
            )
        )
        return True

    def test_a_rule_over_events_without_a_stream(self) -> None:
        outcomes = [self.subscribe_student(f"s{number}", "c1", 2) for number in range(3)]
        self.assertEqual(outcomes, [True, True, False])

    def test_a_decision_on_what_is_outdated_is_refused(self) -> None:
        read = self.client.read(ReadRequest(query=query(QueryItem(tags=["course:c2"]))))
        self.assertEqual(list(read), [])
        self.assertTrue(self.subscribe_student("s1", "c2", 1))
        with self.assertRaises(ConflictError) as caught:
            self.client.append(AppendRequest(events=[event("X")], conditions=[read.condition]))
        self.assertEqual(caught.exception.conflict.conditions[0].after, read.end.after)

    def test_a_read_that_is_not_over_has_no_condition(self) -> None:
        self.append("open-1", "A", "B")
        read = self.client.read(ReadRequest(stream="open-1"))
        next(read)
        with self.assertRaises(RuntimeError):
            read.condition
        list(read)
        self.assertEqual(read.condition.query.items[0].streams, ["open-1"])


class State(OneServer):
    def test_an_aggregate_is_loaded_from_its_snapshot(self) -> None:
        self.append("load-1", "A", "B", "C")
        self.client.save_snapshot(
            SaveSnapshotRequest(stream="load-1", version=2, data=b"two", metadata={"code": "7"})
        )
        loaded = self.client.load(LoadRequest(stream="load-1"))
        assert loaded.snapshot is not None
        self.assertEqual((loaded.snapshot.data, loaded.snapshot.version), (b"two", 2))
        self.assertEqual([e.type for e in loaded.events], ["C"])
        self.assertEqual(
            (loaded.end.version, self.client.load(LoadRequest(stream="no")).end.version), (3, 0)
        )

    def test_a_checkpoint_is_saved_and_compared(self) -> None:
        position = self.append("cp-1", "A").last_position
        self.client.save_checkpoint(SaveCheckpointRequest(consumer="mail", position=position))
        saved = self.client.get_checkpoint(GetCheckpointRequest(consumer="mail")).checkpoint
        self.assertEqual(saved.position, position)
        with self.assertRaises(CheckpointError) as caught:
            self.client.save_checkpoint(
                SaveCheckpointRequest(consumer="mail", position=position, expected_absent=True)
            )
        self.assertEqual(caught.exception.metadata["position"], str(position))
        waited = self.client.wait_for(WaitForRequest(consumer="mail", position=position))
        self.assertEqual(waited.position, position)

    def test_a_wait_ends_at_its_time(self) -> None:
        waiting = WaitForRequest(consumer="nobody", position=1)
        waiting.timeout.FromMilliseconds(50)
        with self.assertRaises(TimedOutError):
            self.client.wait_for(waiting)

    def test_a_group_delivers_again_what_fails_and_parks_it(self) -> None:
        self.append("work-1", "A")
        settings = GroupSettings(query=query(QueryItem(streams=["work-1"])), attempts_max=2)
        settings.retry_delay.FromMilliseconds(1)
        self.client.create_group(CreateGroupRequest(name="work", settings=settings))
        attempts: list[int] = []
        with self.client.join("work", permits=4, member="tester") as member:

            def handle(delivery: Delivery) -> None:
                attempts.append(delivery.attempt)
                if delivery.attempt == 2:
                    member.leave()
                raise ValueError("not today")

            member.run(handle)
        self.assertEqual(attempts, [1, 2])
        (parked,) = self.client.list_parked(ListParkedRequest(group="work")).parked
        self.assertIn("not today", parked.reason)


if __name__ == "__main__":
    unittest.main()
