"""Recorders of aggregates, applications, snapshots, tracking and processes.

An aggregate is a stream, `CATEGORY-ORIGINATOR_ID`; an application is a category, in the order of
the store's positions, which are its notification IDs. The version of an event in its stream is its
originator version, or one more in a stream that begins with 0; there, its metadata says so."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Any
from uuid import UUID, uuid4

import annals
from annals import DIRECTION_BACKWARDS, VIEW_FULL, VIEW_HEADERS, ReadRequest, RecordedEvent
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder, IntegrityError
from eventsourcing.persistence import Notification, ProcessRecorder, StoredEvent, Subscription
from eventsourcing.persistence import Tracking, TrackingRecorder, WaitInterruptedError

from eventsourcing_annals.errors import translated

VERSION, SNAPSHOT_KIND = "originator_version", "eventsourcing"


@dataclass(frozen=True)
class Place:
    """Where an application keeps what it records."""

    client: annals.Client
    category: str
    id_type: type[UUID] | type[str]
    content_type: str

    def stream(self, originator_id: UUID | str) -> str:
        return f"{self.category}-{originator_id}"

    def notification(self, recorded: RecordedEvent) -> Notification:
        originator_id = self.id_type(recorded.stream[len(self.category) + 1 :])
        version = originator_version(recorded)
        return Notification(originator_id, version, recorded.type, recorded.data, recorded.position)

    def everything(self, topics: Sequence[str] = ()) -> annals.Query:
        return annals.query(annals.QueryItem(stream_prefixes=[f"{self.category}-"], types=topics))


def originator_version(recorded: RecordedEvent) -> int:
    return int(recorded.metadata.get(VERSION) or recorded.version)


class Batch:
    """Events to store together, if nobody else has stored these versions of their aggregates."""

    def __init__(self, place: Place, stored_events: Sequence[StoredEvent]) -> None:
        self._place = place
        self._stored = [(str(uuid4()), place.stream(s.originator_id), s) for s in stored_events]
        #: By stream: the first originator version, and by how much the stream's version is greater.
        self._first: dict[str, int] = {}
        self._shift: dict[str, int] = {}
        following: dict[str, int] = {}
        for _, stream, stored in self._stored:
            version = stored.originator_version
            if following.setdefault(stream, version) != version:
                raise IntegrityError(f"versions of {stream} are not consecutive at {version}")
            following[stream] = version + 1
            self._first.setdefault(stream, version)
            self._shift.setdefault(stream, 0 if version > 0 else 1)

    def request(self, checkpoint: annals.CheckpointUpdate | None) -> annals.AppendRequest:
        request = annals.AppendRequest(checkpoint=checkpoint)
        for stream, first in self._first.items():
            request.expectations.add(
                stream=stream, expected_version=first + self._shift[stream] - 1
            )
        for event_id, stream, stored in self._stored:
            shifted = {VERSION: str(stored.originator_version)} if self._shift[stream] else None
            one = request.events.add(
                id=event_id, stream=stream, type=stored.topic, metadata=shifted
            )
            one.data, one.content_type = stored.state, self._place.content_type
        return request

    def is_shifted(self, conflict: annals.AppendConflict) -> bool:
        """Whether it conflicts only because streams begin with 0, as is known from now on."""
        for found in conflict.streams:
            expected = self._first[found.stream], self._first[found.stream] - 1
            newest = self._place.client.read(
                ReadRequest(stream=found.stream, direction=DIRECTION_BACKWARDS, limit=1)
            )
            if expected not in [(each.version, originator_version(each)) for each in newest]:
                return False
            self._shift[found.stream] += 1
        return not conflict.omitted_count


class AnnalsRecorder:
    def __init__(self, place: Place) -> None:
        self.place, self.client = place, place.client


class AnnalsAggregateRecorder(AnnalsRecorder, AggregateRecorder):
    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        self._insert(stored_events)
        return None

    @translated
    def _insert(
        self, stored_events: Sequence[StoredEvent], update: annals.CheckpointUpdate | None = None
    ) -> Sequence[int] | None:
        if not stored_events:
            return None
        batch = Batch(self.place, stored_events)
        try:
            answer = self.client.append(batch.request(update))
        except annals.ConflictError as error:
            if not batch.is_shifted(error.conflict):
                raise
            answer = self.client.append(batch.request(update))
        return list(range(answer.first_position, answer.last_position + 1))

    @translated
    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        # A version of the stream may be one more: so one event too many is read at the upper end.
        request = ReadRequest(stream=self.place.stream(originator_id))
        bounds = [None if gt is None else max(1, gt + 1), None if lte is None else max(1, lte + 1)]
        if desc:
            request.direction = DIRECTION_BACKWARDS
            bounds.reverse()
        for name, bound in zip(("from_version", "to_version"), bounds):
            if bound is not None:
                setattr(request, name, bound)
        request.limit = 0 if limit is None else limit + 1
        found = [
            StoredEvent(originator_id, originator_version(each), each.type, each.data)
            for each in self.client.read(request)
        ]
        return between(found, gt, lte)[:limit]


def between(found: Iterable[StoredEvent], gt: int | None, lte: int | None) -> list[StoredEvent]:
    return [
        each
        for each in found
        if (gt is None or each.originator_version > gt)
        and (lte is None or each.originator_version <= lte)
    ]


class AnnalsSnapshotRecorder(AnnalsRecorder, AggregateRecorder):
    """Snapshots are no events: they lie beside the aggregate's stream and have no position."""

    @translated
    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        for stored in stored_events:
            version = stored.originator_version
            request = annals.SaveSnapshotRequest(
                stream=self.place.stream(stored.originator_id),
                kind=SNAPSHOT_KIND,
                version=max(1, version),
                data=stored.state,
                content_type=self.place.content_type,
                metadata={"topic": stored.topic, VERSION: str(version)},
            )
            self.client.save_snapshot(request)
        return None

    @translated
    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        stream = self.place.stream(originator_id)
        newest_alone = desc and limit == 1
        found = [
            StoredEvent(originator_id, int(s.metadata[VERSION]), s.metadata["topic"], s.data)
            for s in (self._newest(stream, lte) if newest_alone else self._all(stream))
        ]
        return between(found if desc else reversed(found), gt, lte)[:limit]

    def _newest(self, stream: str, lte: int | None) -> Iterable[annals.Snapshot]:
        request = annals.GetSnapshotRequest(stream=stream, kind=SNAPSHOT_KIND)
        request.max_version = 0 if lte is None else max(1, lte)
        try:
            yield self.client.get_snapshot(request).snapshot
        except annals.NotFoundError:
            return

    def _all(self, stream: str) -> Iterable[annals.Snapshot]:
        request = annals.ListSnapshotsRequest(stream=stream, kind=SNAPSHOT_KIND, view=VIEW_FULL)
        while True:
            page = self.client.list_snapshots(request)
            yield from page.snapshots
            request.page_token = page.next_page_token
            if not page.next_page_token:
                return


class AnnalsApplicationRecorder(AnnalsAggregateRecorder, ApplicationRecorder):
    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        return self._insert(stored_events)

    @translated
    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        first = max(1, (start or 0) + (0 if inclusive_of_start else 1))
        if limit < 1 or (stop is not None and stop < first):
            return []
        request = ReadRequest(query=self.place.everything(topics), from_position=first, limit=limit)
        if stop is not None:
            request.to_position = stop
        return [self.place.notification(each) for each in self.client.read(request)]

    @translated
    def max_notification_id(self) -> int | None:
        request = ReadRequest(query=self.place.everything(), limit=1, view=VIEW_HEADERS)
        request.direction = DIRECTION_BACKWARDS
        return next((newest.position for newest in self.client.read(request)), None)

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        return AnnalsSubscription(self, gt, topics)


class AnnalsSubscription(Subscription[AnnalsApplicationRecorder]):
    """One cursor from the past to what is recorded next. It survives a restart of the server."""

    def __init__(
        self, recorder: AnnalsApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        super().__init__(recorder, gt, topics)
        asked = recorder.place.everything(topics)
        request = annals.SubscribeRequest(query=asked, after_position=gt or 0)
        self._events = recorder.client.subscribe(request)

    def stop(self) -> None:
        super().stop()
        self._events.cancel()

    @translated
    def __next__(self) -> Notification:
        recorded = next(self._events)
        if self._has_been_stopped:
            raise StopIteration
        return self._recorder.place.notification(recorded)


class AnnalsTrackingRecorder(AnnalsRecorder, TrackingRecorder):
    """A checkpoint for each upstream application. A view that extends it may keep a few texts
    beside the position, as `metadata`: both are stored together, or neither."""

    @translated
    def insert_tracking(self, tracking: Tracking, metadata: dict[str, str] | None = None) -> None:
        update = self._update(tracking, metadata)
        while True:
            try:
                self.client.append(annals.AppendRequest(checkpoint=update))
                return
            except annals.UnavailableError as error:
                # It has no event by which the store would know it again: look whether it is there.
                if not error.may_have_been_stored:
                    raise
            if self.tracking_metadata(tracking.application_name) == dict(update.metadata):
                return

    def _update(
        self, tracking: Tracking, metadata: dict[str, str] | None = None
    ) -> annals.CheckpointUpdate:
        return annals.CheckpointUpdate(
            consumer=self._consumer(tracking.application_name),
            position=tracking.notification_id,
            source=tracking.application_name,
            metadata={**(metadata or {}), "saved_by": str(uuid4())},
        )

    def _consumer(self, application_name: str) -> str:
        return f"{self.place.category}:{application_name}"

    def _saved(self, application_name: str) -> annals.ConsumerCheckpoint:
        request = annals.GetCheckpointRequest(consumer=self._consumer(application_name))
        try:
            return self.client.get_checkpoint(request).checkpoint
        except annals.NotFoundError:
            return annals.ConsumerCheckpoint()

    @translated
    def max_tracking_id(self, application_name: str) -> int | None:
        return self._saved(application_name).position or None

    @translated
    def wait(
        self,
        application_name: str,
        notification_id: int | None,
        timeout: float = 1.0,
        interrupt: Event | None = None,
    ) -> None:
        """Waits at the server, which answers as soon as the position is stored."""
        if notification_id is None:
            return
        ends = monotonic() + timeout
        request = annals.WaitForRequest(consumer=self._consumer(application_name))
        request.position = notification_id
        while interrupt is None or not interrupt.is_set():
            left = max(0.001, ends - monotonic())
            request.timeout.FromMilliseconds(1 + int(1000 * min(left, 0.2 if interrupt else left)))
            try:
                self.client.wait_for(request, timeout=left + 1)
                return
            except annals.TimedOutError:
                if monotonic() >= ends:
                    raise TimeoutError(f"{application_name}: {notification_id}") from None
        raise WaitInterruptedError

    @translated
    def tracking_metadata(self, application_name: str) -> dict[str, str]:
        return dict(self._saved(application_name).metadata)


class AnnalsProcessRecorder(AnnalsTrackingRecorder, AnnalsApplicationRecorder, ProcessRecorder):
    """Events and the position that they follow from become durable together, or neither does."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        tracking: Tracking | None = kwargs.get("tracking")
        if tracking is not None and not stored_events:
            return self.insert_tracking(tracking)
        return self._insert(stored_events, None if tracking is None else self._update(tracking))
