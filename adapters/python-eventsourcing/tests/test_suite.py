"""The cases that `eventsourcing` ships for persistence modules, against servers on disk. Those that
count notification IDs from 1 get a new store each; the others share one, in categories of their
own."""

from __future__ import annotations

import os
import unittest
from threading import Event
from typing import ClassVar
from unittest.mock import patch
from uuid import uuid4

from eventsourcing.dcb.tests import DCBRecorderTestCase
from eventsourcing.persistence import AggregateRecorder, Tracking, TrackingRecorder
from eventsourcing.tests.application import ApplicationTestCase, ExampleApplicationTestCase
from eventsourcing.tests.persistence import (
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
)
from eventsourcing.tests.projection import (
    AggregateEventCountersProjectionTestCase,
    EventCountersView,
    EventCountersViewTestCase,
    EventSourcedProjectionTestCase,
    TaggedDecisionCountersProjectionTestCase,
)
from eventsourcing.utils import Environment, get_topic
from live_server import LiveServer

from eventsourcing_annals import (
    AnnalsAggregateRecorder,
    AnnalsApplicationRecorder,
    AnnalsDCBRecorder,
    AnnalsFactory,
    AnnalsProcessRecorder,
    AnnalsTrackingRecorder,
)

shared: LiveServer


def setUpModule() -> None:
    global shared
    shared = LiveServer()


def tearDownModule() -> None:
    shared.stop()


class OnAnnals(unittest.TestCase):
    """Sets the environment that an application reads, and restores it."""

    fresh: ClassVar[frozenset[str]] = frozenset()

    def setUp(self) -> None:
        server = shared
        if self.id().rsplit(".", 1)[1] in self.fresh:
            server = LiveServer()
            self.addCleanup(server.stop)
        environment = patch.dict(os.environ)
        environment.start()
        self.addCleanup(environment.stop)
        os.environ["PERSISTENCE_MODULE"] = "eventsourcing_annals"
        os.environ["ANNALS_ADDRESS"] = server.address
        # Applications have their own names, but those of two cases are the same.
        os.environ["ANNALS_CATEGORY"] = f"case{uuid4().hex}"
        super().setUp()

    def made(self) -> AnnalsFactory:
        made = AnnalsFactory(Environment(env=dict(os.environ)))
        self.addCleanup(made.close)
        return made


class TestAggregateRecorder(OnAnnals, AggregateRecorderTestCase):
    def create_recorder(self) -> AggregateRecorder:
        return self.made().aggregate_recorder()


class TestApplicationRecorder(OnAnnals, ApplicationRecorderTestCase[AnnalsApplicationRecorder]):
    fresh = frozenset({"test_insert_select", "test_insert_subscribe"})

    def create_recorder(self) -> AnnalsApplicationRecorder:
        recorder = self.made().application_recorder()
        assert isinstance(recorder, AnnalsApplicationRecorder)
        return recorder

    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestApplicationRecorderWithTextIDs(TestApplicationRecorder):
    def setUp(self) -> None:
        super().setUp()
        os.environ["ORIGINATOR_ID_TYPE"] = "text"

    def new_originator_id(self) -> str:
        return f"thing-{uuid4()}"


class TestTrackingRecorder(OnAnnals, TrackingRecorderTestCase):
    def create_recorder(self) -> TrackingRecorder:
        return self.made().tracking_recorder()


class TestProcessRecorder(OnAnnals, ProcessRecorderTestCase):
    def create_recorder(self) -> AnnalsProcessRecorder:
        recorder = self.made().process_recorder()
        assert isinstance(recorder, AnnalsProcessRecorder)
        return recorder


class TestNonInterleaving(OnAnnals, NonInterleavingNotificationIDsBaseCase):
    create_recorder = TestApplicationRecorder.create_recorder


class TestFactory(OnAnnals, InfrastructureFactoryTestCase[AnnalsFactory]):
    class SpecialTrackingRecorder(AnnalsTrackingRecorder):
        pass

    def setUp(self) -> None:
        self.env = Environment(env={"PERSISTENCE_MODULE": "eventsourcing_annals"})
        super().setUp()

    def expected_factory_class(self) -> type[AnnalsFactory]:
        return AnnalsFactory

    def expected_aggregate_recorder_class(self) -> type[AggregateRecorder]:
        return AnnalsAggregateRecorder

    def expected_application_recorder_class(self) -> type[AnnalsApplicationRecorder]:
        return AnnalsApplicationRecorder

    def expected_tracking_recorder_class(self) -> type[TrackingRecorder]:
        return AnnalsTrackingRecorder

    def tracking_recorder_subclass(self) -> type[TrackingRecorder]:
        return self.SpecialTrackingRecorder

    def expected_process_recorder_class(self) -> type[AnnalsProcessRecorder]:
        return AnnalsProcessRecorder


class TestDCBRecorder(OnAnnals, DCBRecorderTestCase):
    fresh = frozenset({"test_append_read", "test_append_subscribe"})

    def create_recorder(self) -> AnnalsDCBRecorder:
        recorder = self.made().dcb_recorder()
        assert isinstance(recorder, AnnalsDCBRecorder)
        return recorder

    def test_append_read(self) -> None:
        self._test_append_read(self.create_recorder())

    def test_append_subscribe(self) -> None:
        self._test_append_subscribe(self.create_recorder())


class TestExampleApplication(OnAnnals, ExampleApplicationTestCase):
    fresh = frozenset({"test_example_application"})
    expected_factory_topic = "eventsourcing_annals.factory:AnnalsFactory"


class TestApplication(OnAnnals, ApplicationTestCase):
    fresh = frozenset({"test_save_returns_recording_event"})


class Patient(AnnalsTrackingRecorder):
    """The cases wait for one second, which a busy machine may need for less."""

    def wait(
        self,
        application_name: str,
        notification_id: int | None,
        timeout: float = 1.0,
        interrupt: Event | None = None,
    ) -> None:
        super().wait(application_name, notification_id, max(5.0, timeout), interrupt)


class PatientProcessRecorder(Patient, AnnalsProcessRecorder):
    pass


class CountersInAnnals(Patient, EventCountersView):
    """Keeps its counters beside the position."""

    UPSTREAMS = ("upstream", "Application", "DCBApplication")

    def _count(self, name: str) -> int:
        return sum(int(self.tracking_metadata(up).get(name, 0)) for up in self.UPSTREAMS)

    def _count_one(self, name: str, tracking: Tracking) -> None:
        kept = self.tracking_metadata(tracking.application_name)
        self.insert_tracking(tracking, {**kept, name: str(int(kept.get(name, 0)) + 1)})

    def get_created_event_counter(self) -> int:
        return self._count("created")

    def get_subsequent_event_counter(self) -> int:
        return self._count("subsequent")

    def incr_created_event_counter(self, tracking: Tracking) -> None:
        self._count_one("created", tracking)

    def incr_subsequent_event_counter(self, tracking: Tracking) -> None:
        self._count_one("subsequent", tracking)


class TestView(OnAnnals, EventCountersViewTestCase):
    def construct_event_counters_view(self) -> EventCountersView:
        view = self.made().tracking_recorder(CountersInAnnals)
        assert isinstance(view, CountersInAnnals)
        return view


class TestAggregateProjection(OnAnnals, AggregateEventCountersProjectionTestCase):
    view_class = CountersInAnnals


class TestDCBProjection(OnAnnals, TaggedDecisionCountersProjectionTestCase):
    # Another case's decisions are in the log of the same store.
    fresh = frozenset(
        {"test_event_counters_projection", "test_run_forever_raises_projection_error"}
    )
    view_class = CountersInAnnals
    env: ClassVar[dict[str, str]] = {"MAPPER_TOPIC": "eventsourcing.dcb.msgpack:MessagePackMapper"}


class TestEventSourcedProjection(OnAnnals, EventSourcedProjectionTestCase):
    def setUp(self) -> None:
        super().setUp()
        # The projection is an application of its own: each has the category of its name.
        category = os.environ.pop("ANNALS_CATEGORY")
        os.environ["APPLICATION_ANNALS_CATEGORY"] = category
        os.environ["COUNTERS_ANNALS_CATEGORY"] = f"{category}_counters"
        os.environ["PROCESS_RECORDER_TOPIC"] = get_topic(PatientProcessRecorder)


# The library's own classes are no cases of their own here.
del (
    DCBRecorderTestCase,
    ApplicationTestCase,
    ExampleApplicationTestCase,
    AggregateRecorderTestCase,
    ApplicationRecorderTestCase,
    InfrastructureFactoryTestCase,
    NonInterleavingNotificationIDsBaseCase,
    ProcessRecorderTestCase,
    TrackingRecorderTestCase,
    AggregateEventCountersProjectionTestCase,
    EventCountersViewTestCase,
    EventSourcedProjectionTestCase,
    TaggedDecisionCountersProjectionTestCase,
    OnAnnals,
)


if __name__ == "__main__":
    unittest.main()
