"""The client for threads. All threads of a process may share one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from math import inf
from queue import SimpleQueue
from typing import Any

import grpc
from typing_extensions import Self

from annals.connection import Connection
from annals.errors import error_of
from annals.methods import APPEND, Unary
from annals.progress import LEAVE_SECONDS, A, Loaded, Membership, Patience, Progress, Q
from annals.progress import ReadProgress, SubscriptionProgress, cut_off, with_ids
from annals.v1.append_pb2 import AppendRequest, AppendResponse
from annals.v1.consumer_group_service_pb2 import ConsumeRequest, Delivery
from annals.v1.event_pb2 import RecordedEvent
from annals.v1.read_pb2 import ReadRequest, ReadResponse, SubscribeRequest, SubscribeResponse
from annals.v1.snapshot_pb2 import LoadRequest, LoadResponse


class Client(Connection):
    __doc__ = Connection.__doc__
    _grpc = grpc

    def append(self, request: AppendRequest, *, timeout: float | None = None) -> AppendResponse:
        """Stores the events once, however often they are sent: those without an id get one. Without
        events (a checkpoint alone) it is not sent again once it may have been stored."""
        return self.call(APPEND, with_ids(request), timeout=timeout)

    def read(self, request: ReadRequest) -> Read:
        return Read(self, request)

    def subscribe(self, request: SubscribeRequest) -> Subscription:
        return Subscription(self, request)

    def load(self, request: LoadRequest) -> Loaded:
        loading = _Loading(self, request)
        for _ in loading:
            pass
        return loading

    def join(self, group: str, *, permits: int = 1, member: str = "") -> Member:
        """Becomes a member of a consumer group, which holds at most `permits` events at a time."""
        return Member(self, ConsumeRequest.Join(group=group, permits=permits, member=member))

    def call(self, method: Unary[Q, A], request: Q, *, timeout: float | None = None) -> A:
        patience = Patience(timeout or self.timeout, method.may_repeat(request))
        while True:
            try:
                answer: A = self._ask(method, request, patience.left)
                return answer
            except grpc.RpcError as failed:
                time.sleep(patience.after(error_of(failed)))

    def close(self) -> None:
        """Ends every call that is open."""
        self.channel.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Stream(Iterator[RecordedEvent], Progress[Q, A]):
    """Events, over as many calls as it takes. Another thread may cancel it."""

    def __init__(self, client: Client, request: Q) -> None:
        self.start(request, client.timeout)
        self._client, self._cancelled = client, threading.Event()
        self._call: Any = None
        self._events = self._run()

    def __next__(self) -> RecordedEvent:
        return next(self._events)

    def cancel(self) -> None:
        """Ends the iteration, without an error."""
        self._cancelled.set()
        if self._call is not None:
            self._call.cancel()

    def _run(self) -> Iterator[RecordedEvent]:
        while not self._cancelled.is_set():
            error = cut_off()
            call = self._call = self._client._open(self)
            if self._cancelled.is_set():
                call.cancel()
            try:
                for answer in call:
                    for event in self.hear(answer):
                        self.position = event.position
                        yield event
            except grpc.RpcError as failed:
                error = error_of(failed)
            finally:
                call.cancel()
            if self.done or self._cancelled.is_set():
                return
            self._cancelled.wait(self.wait_after(error))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()


class Read(ReadProgress, _Stream[ReadRequest, ReadResponse]):
    """The events of a read. At its end, `end` says how far it has seen."""


class Subscription(SubscriptionProgress, _Stream[SubscribeRequest, SubscribeResponse]):
    """The events of a subscription, without an end. Leaving the loop ends the call; `with`, or
    `cancel()` from another thread, does as well."""


class _Loading(Loaded, _Stream[LoadRequest, LoadResponse]):
    pass


class Member(Membership, Iterator[Delivery]):
    """Deliveries to a member of a group, over as many calls as it takes, until it leaves."""

    def __init__(self, client: Client, join: ConsumeRequest.Join) -> None:
        super().__init__(join)
        self._client, self._left = client, threading.Event()
        self._deliveries = self._run()

    def __next__(self) -> Delivery:
        return next(self._deliveries)

    def run(self, handle: Callable[[Delivery], object]) -> None:
        """Acknowledges what `handle` returns from, and has delivered again what it raises for."""
        for delivery in self:
            try:
                handle(delivery)
            except Exception as error:
                self.nack(delivery, repr(error))
            else:
                self.ack(delivery)

    def leave(self) -> None:
        """Takes no more deliveries, and ends the iteration when it asks for the next one."""
        self._left.set()
        self._release()
        if self._call is not None:
            overdue = threading.Timer(LEAVE_SECONDS, self._call.cancel)
            overdue.daemon = True
            overdue.start()

    def _run(self) -> Iterator[Delivery]:
        patience = Patience(self._client.timeout)
        while not self._left.is_set():
            error = cut_off()
            self._rejoin()
            call = self._call = self._client._consume(iter(self._outbox.get, None))
            try:
                for answer in call:
                    patience = Patience(inf)
                    self._hear(answer)
                    while (delivery := self._take()) is not None:
                        self._busy = True
                        yield delivery
                        self._busy = False
                    if self._left.is_set():
                        self._say(None)
            except grpc.RpcError as failed:
                error = error_of(failed)
            finally:
                call.cancel()
                self._outbox.put(None)
            self._left.wait(0 if self._left.is_set() else patience.after(error))

    def _rejoin(self) -> None:
        super()._rejoin()
        self._outbox: SimpleQueue[ConsumeRequest | None] = SimpleQueue()
        self._say(ConsumeRequest(join=self._join))

    def _say(self, message: ConsumeRequest | None) -> None:
        self._outbox.put(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()
        for _given_back in self:
            pass
