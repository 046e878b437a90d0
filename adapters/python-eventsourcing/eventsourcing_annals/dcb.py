"""The recorder for dynamic consistency boundaries. Its events have no stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from annals import AppendCondition, AppendRequest, Client, Query, QueryItem, Read, ReadRequest
from annals import RecordedEvent, SubscribeRequest, event
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBReadResponse
from eventsourcing.dcb.api import DCBRecorder, DCBSequencedEvent, DCBSubscription
from eventsourcing.persistence import ProgrammingError

from eventsourcing_annals.errors import translated


class AnnalsDCBRecorder(DCBRecorder):
    def __init__(self, client: Client) -> None:
        self.client = client

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        request = ReadRequest(query=query_of(query), from_position=(after or 0) + 1)
        if limit is not None:
            request.limit = max(1, limit)
        return AnnalsReadResponse(self.client.read(request), limit)

    @translated
    def append(
        self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None
    ) -> int:
        if not events:
            raise ProgrammingError("there is no event to append")
        request = AppendRequest(
            events=[event(e.type, e.data, tags=dict.fromkeys(e.tags)) for e in events]
        )
        if condition is not None:
            asked = query_of(condition.fail_if_events_match)
            request.conditions.append(AppendCondition(query=asked, after=condition.after or 0))
        return self.client.append(request).last_position

    def subscribe(
        self, query: DCBQuery | None = None, *, after: int | None = None
    ) -> DCBSubscription[AnnalsDCBRecorder]:
        return AnnalsDCBSubscription(self, query, after)


def query_of(query: DCBQuery | None) -> Query:
    items = query.items if query else ()
    return Query(
        items=[QueryItem(types=item.types, tags=dict.fromkeys(item.tags)) for item in items]
    )


def sequenced(recorded: RecordedEvent) -> DCBSequencedEvent:
    dcb_event = DCBEvent(recorded.type, recorded.data, list(recorded.tags))
    return DCBSequencedEvent(dcb_event, recorded.position)


class AnnalsReadResponse(DCBReadResponse):
    """Events as they arrive. Asking for the head first waits for all of them."""

    def __init__(self, read: Read, limit: int | None) -> None:
        self._read, self._limit = read, limit
        self._waiting: deque[RecordedEvent] = deque()
        self._last: int | None = None

    @translated
    def __next__(self) -> DCBSequencedEvent:
        if self._limit == 0:
            raise StopIteration
        recorded = self._waiting.popleft() if self._waiting else next(self._read)
        self._last = recorded.position
        return sequenced(recorded)

    @property
    @translated
    def head(self) -> int | None:
        """How far the read has seen: with a limit, its last event; otherwise the end of the store."""
        if self._limit == 0:
            return None
        self._waiting.extend(self._read)
        if self._limit is None:
            return self._read.end.after or None
        return self._waiting[-1].position if self._waiting else self._last


class AnnalsDCBSubscription(DCBSubscription[AnnalsDCBRecorder]):
    def __init__(
        self, recorder: AnnalsDCBRecorder, query: DCBQuery | None, after: int | None
    ) -> None:
        super().__init__(recorder, query, after)
        request = SubscribeRequest(query=query_of(query), after_position=after or 0)
        self._events = recorder.client.subscribe(request)

    def stop(self) -> None:
        super().stop()
        self._events.cancel()

    @translated
    def __next__(self) -> DCBSequencedEvent:
        recorded = next(self._events)
        if self._has_been_stopped:
            raise StopIteration
        return sequenced(recorded)
