"""The recorder for dynamic consistency boundaries. Its events have no stream."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import annals
from annals import ReadRequest, RecordedEvent
from eventsourcing.dcb.api import DCBAppendCondition, DCBEvent, DCBQuery, DCBReadResponse
from eventsourcing.dcb.api import DCBRecorder, DCBSequencedEvent, DCBSubscription
from eventsourcing.persistence import ProgrammingError

from eventsourcing_annals.errors import translated


def query_of(query: DCBQuery | None) -> annals.Query:
    asked = annals.Query()
    for item in query.items if query else ():
        asked.items.add(types=item.types, tags=dict.fromkeys(item.tags))
    return asked


def sequenced(recorded: RecordedEvent) -> DCBSequencedEvent:
    event = DCBEvent(recorded.type, recorded.data, list(recorded.tags))
    return DCBSequencedEvent(event, recorded.position)


class AnnalsDCBRecorder(DCBRecorder):
    def __init__(self, client: annals.Client) -> None:
        self.client = client

    def read(
        self, query: DCBQuery | None = None, *, after: int | None = None, limit: int | None = None
    ) -> DCBReadResponse:
        request = ReadRequest(query=query_of(query), from_position=(after or 0) + 1)
        request.limit = max(1, limit or 0) if limit is not None else 0
        return AnnalsReadResponse(self.client.read(request), limit)

    @translated
    def append(
        self, events: Sequence[DCBEvent], condition: DCBAppendCondition | None = None
    ) -> int:
        if not events:
            raise ProgrammingError("there is no event to append")
        request = annals.AppendRequest()
        for event in events:
            request.events.add(type=event.type, data=event.data, tags=dict.fromkeys(event.tags))
        if condition is not None:
            asked = query_of(condition.fail_if_events_match)
            request.conditions.add(query=asked, after=condition.after or 0)
        return self.client.append(request).last_position

    def subscribe(
        self, query: DCBQuery | None = None, *, after: int | None = None
    ) -> DCBSubscription[AnnalsDCBRecorder]:
        return AnnalsDCBSubscription(self, query, after)


class AnnalsReadResponse(DCBReadResponse):
    """Events as they arrive. Who asks for the head before their end waits for all of them."""

    def __init__(self, read: annals.Read, limit: int | None) -> None:
        self._read, self._limit = read, limit
        self._waiting: deque[RecordedEvent] = deque()

    @translated
    def __next__(self) -> DCBSequencedEvent:
        if self._limit == 0:
            raise StopIteration
        return sequenced(self._waiting.popleft() if self._waiting else next(self._read))

    @property
    @translated
    def head(self) -> int | None:
        """How far the read has seen: the store's end, or with a limit the last event's position."""
        if self._limit == 0:
            return None
        self._waiting.extend(self._read)
        return (self._read.end.after if self._limit is None else self._read.position) or None


class AnnalsDCBSubscription(DCBSubscription[AnnalsDCBRecorder]):
    def __init__(
        self, recorder: AnnalsDCBRecorder, query: DCBQuery | None, after: int | None
    ) -> None:
        super().__init__(recorder, query, after)
        request = annals.SubscribeRequest(query=query_of(query), after_position=after or 0)
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
