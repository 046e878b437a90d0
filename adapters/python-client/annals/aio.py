"""The client for asyncio. It belongs to the loop in which it was made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from math import inf
from typing import Any

import grpc
import grpc.aio
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


class AsyncClient(Connection):
    __doc__ = Connection.__doc__
    _grpc = grpc.aio

    async def append(
        self, request: AppendRequest, *, timeout: float | None = None
    ) -> AppendResponse:
        """Stores the events once, however often they are sent: those without an id get one. Without
        events (a checkpoint alone) it is not sent again once it may have been stored."""
        return await self.call(APPEND, with_ids(request), timeout=timeout)

    def read(self, request: ReadRequest) -> AsyncRead:
        return AsyncRead(self, request)

    def subscribe(self, request: SubscribeRequest) -> AsyncSubscription:
        return AsyncSubscription(self, request)

    async def load(self, request: LoadRequest) -> Loaded:
        loading = _AsyncLoading(self, request)
        async for _ in loading:
            pass
        return loading

    def join(self, group: str, *, permits: int = 1, member: str = "") -> AsyncMember:
        """Becomes a member of a consumer group, which holds at most `permits` events at a time."""
        return AsyncMember(self, ConsumeRequest.Join(group=group, permits=permits, member=member))

    async def call(self, method: Unary[Q, A], request: Q, *, timeout: float | None = None) -> A:
        patience = Patience(timeout or self.timeout, method.may_repeat(request))
        while True:
            try:
                answer: A = await self._ask(method, request, patience.left)
                return answer
            except grpc.RpcError as failed:
                await asyncio.sleep(patience.after(error_of(failed)))

    async def close(self) -> None:
        """Ends every call that is open."""
        await self.channel.close()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()


class _AsyncStream(AsyncIterator[RecordedEvent], Progress[Q, A]):
    """Events, over as many calls as it takes. Leaving the loop ends the call once nothing refers
    to the stream any more; `async with` ends it at once."""

    def __init__(self, client: AsyncClient, request: Q) -> None:
        self.start(request, client.timeout)
        self._client, self._cancelled = client, asyncio.Event()
        self._call: Any = None
        self._events = self._run()

    async def __anext__(self) -> RecordedEvent:
        return await self._events.__anext__()

    def cancel(self) -> None:
        """Ends the iteration, without an error."""
        self._cancelled.set()
        if self._call is not None:
            self._call.cancel()

    async def _run(self) -> AsyncGenerator[RecordedEvent, None]:
        while not self._cancelled.is_set():
            error = cut_off()
            call = self._call = self._client._open(self)
            try:
                async for answer in call:
                    for event in self.hear(answer):
                        self.position = event.position
                        yield event
            except grpc.RpcError as failed:
                error = error_of(failed)
            except asyncio.CancelledError:
                if not self._cancelled.is_set():
                    raise
            finally:
                # grpc.aio leaves a call open when nobody reads it any more.
                call.cancel()
            if self.done or self._cancelled.is_set():
                return
            await _pause(self._cancelled, self.wait_after(error))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.cancel()


class AsyncRead(ReadProgress, _AsyncStream[ReadRequest, ReadResponse]):
    """The events of a read. At its end, `end` says how far it has seen."""


class AsyncSubscription(SubscriptionProgress, _AsyncStream[SubscribeRequest, SubscribeResponse]):
    """The events of a subscription, without an end."""


class _AsyncLoading(Loaded, _AsyncStream[LoadRequest, LoadResponse]):
    pass


class AsyncMember(Membership, AsyncIterator[Delivery]):
    """Deliveries to a member of a group, over as many calls as it takes, until it leaves."""

    def __init__(self, client: AsyncClient, join: ConsumeRequest.Join) -> None:
        super().__init__(join)
        self._client, self._left = client, asyncio.Event()
        self._deliveries = self._run()

    async def __anext__(self) -> Delivery:
        return await self._deliveries.__anext__()

    async def run(self, handle: Callable[[Delivery], Awaitable[object]]) -> None:
        """Acknowledges what `handle` returns from, and has delivered again what it raises for."""
        async for delivery in self:
            try:
                await handle(delivery)
            except Exception as error:
                self.nack(delivery, repr(error))
            else:
                self.ack(delivery)

    def leave(self) -> None:
        """Takes no more deliveries, and ends the iteration when it asks for the next one."""
        self._left.set()
        self._release()
        if self._call is not None:
            asyncio.get_running_loop().call_later(LEAVE_SECONDS, self._call.cancel)

    async def _run(self) -> AsyncGenerator[Delivery, None]:
        patience = Patience(self._client.timeout)
        while not self._left.is_set():
            error = cut_off()
            self._rejoin()
            call = self._call = self._client._consume(self._outgoing(self._outbox))
            try:
                async for answer in call:
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
                self._say(None)
            if not self._left.is_set():
                await _pause(self._left, patience.after(error))

    def _rejoin(self) -> None:
        super()._rejoin()
        self._outbox: asyncio.Queue[ConsumeRequest | None] = asyncio.Queue()
        self._say(ConsumeRequest(join=self._join))

    @staticmethod
    async def _outgoing(
        outbox: asyncio.Queue[ConsumeRequest | None],
    ) -> AsyncIterator[ConsumeRequest]:
        while (message := await outbox.get()) is not None:
            yield message

    def _say(self, message: ConsumeRequest | None) -> None:
        self._outbox.put_nowait(message)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.leave()
        async for _given_back in self:
            pass


async def _pause(until: asyncio.Event, seconds: float) -> None:
    try:
        await asyncio.wait_for(until.wait(), seconds)
    except asyncio.TimeoutError:
        pass
