"""Recorders of aggregates, applications, snapshots, tracking and processes.

An aggregate is a stream, `NAME-ORIGINATOR_ID`; an application is the category NAME, in the order of
the store's positions, which are its notification IDs. Another application's events between them leave
gaps in these. The version of an event in its stream is its originator version, or one more in the
streams that begin with version 0; there, the event's metadata has the originator version."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

from annals import DIRECTION_BACKWARDS, VIEW_FULL, VIEW_HEADERS
from annals import AppendConflict, AppendRequest, CheckpointUpdate, Client, ConflictError
from annals import ConsumerCheckpoint, GetCheckpointRequest, GetSnapshotRequest, NewEvent
from annals import ListSnapshotsRequest, NotFoundError, Query, QueryItem, ReadRequest, RecordedEvent
from annals import SaveSnapshotRequest, Snapshot, StreamExpectation, SubscribeRequest
from annals import UnavailableError, event, query
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder, IntegrityError
from eventsourcing.persistence import Notification, ProcessRecorder, StoredEvent, Subscription
from eventsourcing.persistence import Tracking, TrackingRecorder

from eventsourcing_annals.errors import translated

VERSION = "originator_version"
SNAPSHOT_KIND = "eventsourcing"


@dataclass(frozen=True)
class Place:
    """Where an application keeps what it records."""

    client: Client
    #: The category of its streams, and the beginning of its consumers' names.
    name: str
    id_type: type[UUID] | type[str] = UUID
    content_type: str = "application/octet-stream"

    def stream(self, originator_id: UUID | str) -> str:
        return f"{self.name}-{originator_id}"

    def stored(self, originator_id: UUID | str, recorded: RecordedEvent) -> StoredEvent:
        return StoredEvent(
            originator_id, originator_version(recorded), recorded.type, recorded.data
        )

    def notification(self, recorded: RecordedEvent) -> Notification:
        originator_id = self.id_type(recorded.stream[len(self.name) + 1 :])
        version = originator_version(recorded)
        return Notification(originator_id, version, recorded.type, recorded.data, recorded.position)

    def everything(self, topics: Sequence[str]) -> Query:
        return query(QueryItem(stream_prefixes=[f"{self.name}-"], types=topics))

    def consumer(self, application_name: str) -> str:
        return f"{self.name}:{application_name}"


def originator_version(recorded: RecordedEvent) -> int:
    return int(recorded.metadata.get(VERSION) or recorded.version)


class Batch:
    """Events to store together. Nobody else may store the next version of one of their aggregates."""

    def __init__(self, place: Place, stored_events: Sequence[StoredEvent]) -> None:
        self._place, self._stored = place, stored_events
        self._ids = [str(uuid4()) for _ in stored_events]
        #: By stream: the first originator version, and how much greater the stream's version is.
        self._first: dict[str, int] = {}
        self._shift: dict[str, int] = {}
        following: dict[str, int] = {}
        for stored in stored_events:
            stream, version = place.stream(stored.originator_id), stored.originator_version
            if following.setdefault(stream, version) != version:
                raise IntegrityError(f"versions of {stream} are not consecutive at {version}")
            following[stream] = version + 1
            self._first.setdefault(stream, version)
            self._shift.setdefault(stream, 0 if version > 0 else 1)

    def request(self, checkpoint: CheckpointUpdate | None) -> AppendRequest:
        expected = [
            StreamExpectation(stream=stream, expected_version=first + self._shift[stream] - 1)
            for stream, first in self._first.items()
        ]
        events = map(self._event, self._stored, self._ids)
        return AppendRequest(events=events, expectations=expected, checkpoint=checkpoint)

    def _event(self, stored: StoredEvent, event_id: str) -> NewEvent:
        stream = self._place.stream(stored.originator_id)
        return event(
            stored.topic,
            stored.state,
            id=event_id,
            stream=stream,
            content_type=self._place.content_type,
            metadata={VERSION: str(stored.originator_version)} if self._shift[stream] else None,
        )

    def shifted(self, conflict: AppendConflict) -> bool:
        """Whether the conflict is only that streams begin with version 0, which is said next time."""
        for found in conflict.streams:
            first = self._first[found.stream]
            backwards = ReadRequest(
                stream=found.stream, direction=DIRECTION_BACKWARDS, limit=1, view=VIEW_HEADERS
            )
            newest = next(iter(self._place.client.read(backwards)), None)
            if self._shift[found.stream] or newest is None:
                return False
            if (newest.version, originator_version(newest)) != (first, first - 1):
                return False
            self._shift[found.stream] = 1
        return not (conflict.conditions or conflict.omitted_count)


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
        self, stored_events: Sequence[StoredEvent], checkpoint: CheckpointUpdate | None = None
    ) -> Sequence[int] | None:
        if not stored_events:
            return None
        batch = Batch(self.place, stored_events)
        try:
            answer = self.client.append(batch.request(checkpoint))
        except ConflictError as error:
            if not batch.shifted(error.conflict):
                raise
            answer = self.client.append(batch.request(checkpoint))
        return range(answer.first_position, answer.last_position + 1)

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
        # A version of the stream is an originator version or one more: one too many at either end.
        request = ReadRequest(stream=self.place.stream(originator_id))
        lowest = None if gt is None else max(1, gt + 1)
        highest = None if lte is None else max(1, lte + 1)
        if desc:
            request.direction = DIRECTION_BACKWARDS
            lowest, highest = highest, lowest
        if lowest is not None:
            request.from_version = lowest
        if highest is not None:
            request.to_version = highest
        if limit is not None:
            request.limit = limit + 1
        found = (self.place.stored(originator_id, each) for each in self.client.read(request))
        return list(found_between(found, gt, lte))[:limit]


def found_between(
    found: Iterable[StoredEvent], gt: int | None, lte: int | None
) -> Iterable[StoredEvent]:
    for each in found:
        version = each.originator_version
        if (gt is None or version > gt) and (lte is None or version <= lte):
            yield each


class AnnalsSnapshotRecorder(AnnalsRecorder, AggregateRecorder):
    """Snapshots beside the aggregate's stream: they are no events, and have no position. Another one
    of the same version replaces the first."""

    @translated
    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        for stored in stored_events:
            self.client.save_snapshot(
                SaveSnapshotRequest(
                    stream=self.place.stream(stored.originator_id),
                    kind=SNAPSHOT_KIND,
                    version=max(1, stored.originator_version),
                    data=stored.state,
                    content_type=self.place.content_type,
                    metadata={"topic": stored.topic, VERSION: str(stored.originator_version)},
                )
            )
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
        snapshots = [self._newest(stream, lte)] if desc and limit == 1 else self._all(stream)
        found = (
            StoredEvent(originator_id, int(s.metadata[VERSION]), s.metadata["topic"], s.data)
            for s in snapshots
            if s is not None
        )
        between = list(found_between(found, gt, lte))
        return (between if desc else between[::-1])[:limit]

    def _newest(self, stream: str, lte: int | None) -> Snapshot | None:
        request = GetSnapshotRequest(
            stream=stream, kind=SNAPSHOT_KIND, max_version=0 if lte is None else max(1, lte)
        )
        try:
            return self.client.get_snapshot(request).snapshot
        except NotFoundError:
            return None

    def _all(self, stream: str) -> Iterable[Snapshot]:
        request = ListSnapshotsRequest(stream=stream, kind=SNAPSHOT_KIND, view=VIEW_FULL)
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
        notification_ids = self._insert(stored_events)
        return None if notification_ids is None else list(notification_ids)

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
        first = 1 if start is None else start if inclusive_of_start else start + 1
        if limit <= 0 or (stop is not None and stop < max(1, first)):
            return []
        request = ReadRequest(
            query=self.place.everything(topics), from_position=max(1, first), limit=limit
        )
        if stop is not None:
            request.to_position = stop
        return [self.place.notification(each) for each in self.client.read(request)]

    @translated
    def max_notification_id(self) -> int | None:
        request = ReadRequest(
            query=self.place.everything(()),
            direction=DIRECTION_BACKWARDS,
            limit=1,
            view=VIEW_HEADERS,
        )
        newest = next(iter(self.client.read(request)), None)
        return None if newest is None else newest.position

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        return AnnalsSubscription(self, gt, topics)


class AnnalsSubscription(Subscription[AnnalsApplicationRecorder]):
    """One cursor from the past to what is recorded next; it goes on after a restart of the server."""

    def __init__(
        self, recorder: AnnalsApplicationRecorder, gt: int | None, topics: Sequence[str]
    ) -> None:
        super().__init__(recorder, gt, topics)
        query = recorder.place.everything(topics)
        request = SubscribeRequest(query=query, after_position=gt or 0)
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
    """Keeps a checkpoint for each upstream application. A view that extends it may keep some text
    beside it, as `metadata`, which is stored together with the position or not at all."""

    @translated
    def insert_tracking(self, tracking: Tracking, metadata: dict[str, str] | None = None) -> None:
        update = self._update(tracking, metadata)
        while True:
            try:
                self.client.append(AppendRequest(checkpoint=update))
                return
            except UnavailableError as error:
                # It has no events by which a repetition would be recognised: look whether it is there.
                if not error.may_have_been_stored:
                    raise
            saved = self._saved(tracking.application_name)
            if saved is not None and saved.metadata["saved_by"] == update.metadata["saved_by"]:
                return

    def _update(
        self, tracking: Tracking, metadata: dict[str, str] | None = None
    ) -> CheckpointUpdate:
        return CheckpointUpdate(
            consumer=self.place.consumer(tracking.application_name),
            position=tracking.notification_id,
            source=tracking.application_name,
            metadata={**(metadata or {}), "saved_by": str(uuid4())},
        )

    def _saved(self, application_name: str) -> ConsumerCheckpoint | None:
        request = GetCheckpointRequest(consumer=self.place.consumer(application_name))
        try:
            return self.client.get_checkpoint(request).checkpoint
        except NotFoundError:
            return None

    @translated
    def max_tracking_id(self, application_name: str) -> int | None:
        saved = self._saved(application_name)
        return None if saved is None else saved.position

    @translated
    def tracking_metadata(self, application_name: str) -> dict[str, str]:
        saved = self._saved(application_name)
        return {} if saved is None else dict(saved.metadata)


class AnnalsProcessRecorder(AnnalsTrackingRecorder, AnnalsApplicationRecorder, ProcessRecorder):
    """Events and the position that they follow from become durable together, or not at all."""

    def insert_events(
        self, stored_events: Sequence[StoredEvent], **kwargs: Any
    ) -> Sequence[int] | None:
        tracking: Tracking | None = kwargs.get("tracking")
        if tracking is None:
            return super().insert_events(stored_events, **kwargs)
        if not stored_events:
            self.insert_tracking(tracking)
            return None
        return list(self._insert(stored_events, self._update(tracking)) or ())
