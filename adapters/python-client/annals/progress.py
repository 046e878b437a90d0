"""What both clients share: requests, patience, and how far a stream of answers has got."""

from __future__ import annotations

import json
import random
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any, Generic, TypeAlias, TypeVar

from google.protobuf.message import Message

from annals.errors import AnnalsError, ConflictError, EventIdConflictError, UnavailableError
from annals.v1.append_pb2 import AppendCondition, AppendRequest
from annals.v1.consumer_group_service_pb2 import ConsumeRequest, ConsumeResponse, Delivery
from annals.v1.event_pb2 import NewEvent, RecordedEvent
from annals.v1.query_pb2 import Query, QueryItem
from annals.v1.read_pb2 import DIRECTION_BACKWARDS, ReadEnd, ReadRequest, ReadResponse
from annals.v1.read_pb2 import SubscribeRequest, SubscribeResponse
from annals.v1.snapshot_pb2 import LoadEnd, LoadRequest, LoadResponse, Snapshot

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Json: TypeAlias = "Mapping[str, Any] | list[Any] | str | float | bool | None"

#: How long a member that leaves waits for the answers to what it said.
LEAVE_SECONDS = 10.0
SUBSCRIPTION_SECONDS = 60.0


def event(
    type: str,
    data: bytes | Json = b"",
    *,
    tags: Iterable[str] = (),
    stream: str = "",
    metadata: Mapping[str, str] | None = None,
    content_type: str = "",
    id: str | uuid.UUID | None = None,
) -> NewEvent:
    """An event with an id: appending it again is a retry. Data that is not bytes is JSON."""
    if not isinstance(data, bytes):
        data = json.dumps(data, allow_nan=False, ensure_ascii=False).encode()
        content_type = content_type or "application/json"
    return NewEvent(
        id=str(id or uuid.uuid4()),
        type=type,
        data=data,
        tags=tags,
        stream=stream,
        metadata=metadata,
        content_type=content_type,
    )


def query(*items: QueryItem) -> Query:
    """Matches events that match at least one item. Without items: every event."""
    return Query(items=items)


def cut_off() -> AnnalsError:
    return UnavailableError("UNAVAILABLE", "the call was cut off")


def with_ids(request: AppendRequest) -> AppendRequest:
    """A copy in which every event has an id."""
    copy = AppendRequest()
    copy.CopyFrom(request)
    for each in copy.events:
        each.id = each.id or str(uuid.uuid4())
    return copy


class Patience:
    """How long a call is worth another attempt. `repeats`: also one that may have taken effect."""

    def __init__(self, seconds: float, repeats: bool = True) -> None:
        self._ends, self._repeats = time.monotonic() + seconds, repeats
        self._failures, self._uncertain = 0, False

    @property
    def left(self) -> float:
        return max(0.001, self._ends - time.monotonic())

    def after(self, error: AnnalsError) -> float:
        """How many seconds to wait before the next attempt. Raises the error: there is none."""
        if not isinstance(error, (ConflictError, EventIdConflictError)):
            # Those two are decided after the ids were looked up: nothing was stored.
            error.may_have_been_stored |= self._uncertain
        self._uncertain = error.may_have_been_stored
        self._failures += 1
        own = min(2.0, 0.025 * float(2 ** min(self._failures, 9))) * random.uniform(0.5, 1)
        wait = max(own, min(30.0, error.retry_after or 0))
        final = self._uncertain and not self._repeats
        if final or not error.is_transient or wait >= self.left:
            raise error from None
        return wait


class Progress(Generic[Q, A]):
    """How far a stream of answers has got, and the request that resumes it there."""

    path: str
    answer: type[A]
    request: Q
    done = False
    #: Every event of the selection up to it was returned. None: not known yet.
    position: int | None = None
    #: Whether it waits for more at the head.
    endless = False

    def start(self, request: Q, timeout: float) -> None:
        self.request = type(request)()
        self.request.CopyFrom(request)
        self._timeout, self._patience = timeout, Patience(timeout)
        self._reached: int | None = None
        #: Seconds for one call, which is resumed then: so a dead one is noticed behind any proxy.
        self.call_timeout = SUBSCRIPTION_SECONDS if self.endless else timeout
        self.begin()

    def begin(self) -> None:
        raise NotImplementedError

    def hear(self, answer: A) -> Sequence[RecordedEvent]:
        raise NotImplementedError

    def resume(self) -> None:
        raise NotImplementedError

    def wait_after(self, error: AnnalsError) -> float:
        """How many seconds to wait before the call is resumed. Raises the error: it is not."""
        advanced = self.position != self._reached
        if advanced:
            self._patience = Patience(inf if self.endless else self._timeout)
            self._reached = self.position
        goes_on = error.code == "DEADLINE_EXCEEDED" and (advanced or self.endless)
        wait = 0.0 if goes_on else self._patience.after(error)
        self.resume()
        return wait


class ReadProgress(Progress[ReadRequest, ReadResponse]):
    """How far a read has got. It resumes with the last event that it has returned."""

    path, answer = "Read", ReadResponse

    def begin(self) -> None:
        self._asked = ReadRequest()
        self._asked.CopyFrom(self.request)
        #: The epoch of the positions and versions, to be sent beside them.
        self.epoch = ""
        #: How the read ended. Complete when the iteration is over.
        self.end = ReadEnd()
        self._backwards = self.request.direction == DIRECTION_BACKWARDS
        self._resumed = self._only_end_is_left = False
        self._first = self._last = RecordedEvent()

    def hear(self, answer: ReadResponse) -> Sequence[RecordedEvent]:
        self.epoch = answer.epoch or self.epoch
        if answer.HasField("end"):
            self._finish(answer.end)
        events = answer.batch.events
        if not events:
            return ()
        if self.end.event_count == 0:
            self._first = events[0]
        self._last = events[-1]
        self.end.event_count += len(events)
        return events

    def resume(self) -> None:
        count, limit = self.end.event_count, self._asked.limit
        if count == 0:
            return
        following = self._last.position + (-1 if self._backwards else 1)
        self._resumed = True
        self._only_end_is_left = count == limit or following == 0
        self.request.epoch = self.epoch
        self.request.from_position = max(following, 1)
        self.request.limit = max(limit - count, 0)
        if self._only_end_is_left:
            # A range without events, which is answered with the end alone.
            self.request.to_position = max(following, 1) + (1 if self._backwards else -1)

    def _finish(self, end: ReadEnd) -> None:
        count, self.done = self.end.event_count, True
        self.end.CopyFrom(end)
        self.end.event_count = count
        # A resumed read was told of the rest alone, as of a later head.
        if self._resumed and self._backwards:
            self.end.after = self._first.position
            if self._asked.stream:
                self.end.stream_version = self._first.version
        elif self._only_end_is_left:
            self.end.after = self._last.position

    @property
    def condition(self) -> AppendCondition:
        """For an append of what was decided on this read: nothing newer matches what it asked."""
        if not self.done:
            raise RuntimeError("the read is not over: iterate to its end first")
        asked = self._asked
        own = Query(items=[QueryItem(streams=[asked.stream])]) if asked.stream else asked.query
        return AppendCondition(query=own, after=self.end.after)


class SubscriptionProgress(Progress[SubscribeRequest, SubscribeResponse]):
    """How far a subscription has got. Store `position`, and `epoch` beside it, to resume there."""

    path, answer, endless = "Subscribe", SubscribeResponse, True

    def begin(self) -> None:
        self.epoch = ""
        #: Whether everything durable has been returned.
        self.caught_up = False

    def hear(self, answer: SubscribeResponse) -> Sequence[RecordedEvent]:
        self.epoch = answer.epoch or self.epoch
        kind = answer.WhichOneof("message")
        if kind == "batch":
            return answer.batch.events
        if kind is not None:
            self.position = getattr(answer, kind).position
            self.caught_up = kind == "caught_up" or (self.caught_up and kind == "checkpoint")
        return ()

    def resume(self) -> None:
        self.caught_up = False
        if self.position is not None:
            self.request.after_position, self.request.epoch = self.position, self.epoch


class Loaded(Progress[LoadRequest, LoadResponse]):
    """An aggregate: its newest usable snapshot, the events after it, and what to expect next."""

    path, answer = "Load", LoadResponse

    def begin(self) -> None:
        self.resume()

    def resume(self) -> None:
        self.snapshot: Snapshot | None = None
        self.events: list[RecordedEvent] = []
        #: Has `version` to expect in the next append, `after` for a condition, and `epoch`.
        self.end = LoadEnd()

    def hear(self, answer: LoadResponse) -> Sequence[RecordedEvent]:
        if answer.HasField("snapshot"):
            self.snapshot = answer.snapshot
        elif answer.HasField("end"):
            self.end, self.done = answer.end, True
        self.events.extend(answer.batch.events)
        return ()


class Membership:
    """The events that a member of a group holds, and what it says of them. Settle what was taken
    before the next is asked for, or take more with more permits; before it leaves in any case."""

    def __init__(self, join: ConsumeRequest.Join) -> None:
        self._join = join
        self._rejoin()
        self._call: Any = None
        self._busy = False

    def _say(self, message: ConsumeRequest | None) -> None:
        """None: nothing more."""
        raise NotImplementedError

    def _rejoin(self) -> None:
        # A token is good in its own call only, and may mean another event in the next one.
        self._inbox: deque[Delivery] = deque()
        self._held: dict[str, Delivery] = {}

    def _hear(self, answer: ConsumeResponse) -> None:
        for delivery in answer.deliveries.deliveries:
            self._held[delivery.token] = delivery
            self._inbox.append(delivery)
        for token in (*answer.settled.tokens, *answer.refused.tokens):
            self._held.pop(token, None)

    def _take(self) -> Delivery | None:
        try:
            return self._inbox.popleft()
        except IndexError:
            return None

    def _release(self) -> None:
        tokens = []
        while (delivery := self._take()) is not None:
            tokens.append(delivery.token)
        for start in range(0, len(tokens) or 1, 1_000):
            some = tokens[start : start + 1_000]
            self._say(ConsumeRequest(release=ConsumeRequest.Release(tokens=some)))
        if not self._busy:
            self._say(None)

    def _tokens(self, delivery: Delivery) -> list[str]:
        return [delivery.token] if self._held.get(delivery.token) is delivery else []

    def ack(self, delivery: Delivery) -> None:
        """The event is done. What is not held any more comes again, here or elsewhere."""
        if tokens := self._tokens(delivery):
            self._say(ConsumeRequest(ack=ConsumeRequest.Ack(tokens=tokens)))

    def nack(self, delivery: Delivery, reason: str = "", delay: float | None = None) -> None:
        """Deliver it again, after `delay` seconds or by the group's retry delays."""
        if tokens := self._tokens(delivery):
            nack = ConsumeRequest.Nack(tokens=tokens, reason=_short(reason))
            if delay is not None:
                nack.delay.FromMicroseconds(round(delay * 1e6))
            self._say(ConsumeRequest(nack=nack))

    def park(self, delivery: Delivery, reason: str = "") -> None:
        """Put it aside: `list_parked` shows it."""
        if tokens := self._tokens(delivery):
            self._say(
                ConsumeRequest(park=ConsumeRequest.Park(tokens=tokens, reason=_short(reason)))
            )

    def extend(self, delivery: Delivery) -> None:
        """Begin the lease anew, because the work takes longer."""
        if tokens := self._tokens(delivery):
            self._say(ConsumeRequest(extend=ConsumeRequest.Extend(tokens=tokens)))


def _short(reason: str) -> str:
    return reason.encode()[:1_000].decode(errors="ignore")
