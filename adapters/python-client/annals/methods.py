"""The methods of the contract that take one message and answer one, for both clients."""

from __future__ import annotations

from collections.abc import Awaitable
from functools import partial
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar, overload

from google.protobuf.message import Message

from annals.v1 import append_pb2 as a
from annals.v1 import checkpoint_service_pb2 as c
from annals.v1 import consumer_group_service_pb2 as g
from annals.v1 import info_pb2 as i
from annals.v1 import snapshot_pb2 as s
from annals.v1 import stream_service_pb2 as t

if TYPE_CHECKING:
    from annals.aio import AsyncClient
    from annals.client import Client

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
Asked = TypeVar("Asked", contravariant=True)
Answered = TypeVar("Answered", covariant=True)


class Call(Protocol[Asked, Answered]):
    """`timeout`: seconds for all attempts, instead of the client's."""

    def __call__(self, request: Asked, *, timeout: float | None = None) -> Answered: ...


class Unary(Generic[Q, A]):
    """A method as an attribute of a client. `repeats`: a second attempt does no harm."""

    def __init__(self, service: str, ask: type[Q], answer: type[A], repeats: bool = True) -> None:
        self.path = f"/annals.v1.{service}/{ask.__name__.removesuffix('Request')}"
        self.ask, self.answer, self.repeats = ask, answer, repeats

    def may_repeat(self, request: Q) -> bool:
        if isinstance(request, a.AppendRequest):
            return len(request.events) > 0
        if isinstance(request, c.SaveCheckpointRequest):
            return not request.reset and request.WhichOneof("expected") is None
        return self.repeats

    @overload
    def __get__(self, client: AsyncClient, owner: object) -> Call[Q, Awaitable[A]]: ...
    @overload
    def __get__(self, client: Client, owner: object) -> Call[Q, A]: ...
    def __get__(self, client: Any, owner: object) -> Any:
        return partial(client.call, self)


STORE, STREAMS = "EventStoreService", "StreamService"
CHECKPOINTS, GROUPS = "CheckpointService", "ConsumerGroupService"

#: Called by `append`, which gives the events their ids.
APPEND = Unary(STORE, a.AppendRequest, a.AppendResponse)


class Methods:
    """Each takes the request of its name and may be repeated, unless it says otherwise here: then
    only after an answer that says that nothing happened."""

    save_snapshot = Unary(STORE, s.SaveSnapshotRequest, s.SaveSnapshotResponse)
    get_snapshot = Unary(STORE, s.GetSnapshotRequest, s.GetSnapshotResponse)
    list_snapshots = Unary(STORE, s.ListSnapshotsRequest, s.ListSnapshotsResponse)
    delete_snapshots = Unary(STORE, s.DeleteSnapshotsRequest, s.DeleteSnapshotsResponse, False)
    get_state = Unary(STORE, s.GetStateRequest, s.GetStateResponse)
    get_stream = Unary(STORE, i.GetStreamRequest, i.GetStreamResponse)
    list_streams = Unary(STORE, i.ListStreamsRequest, i.ListStreamsResponse)
    list_event_types = Unary(STORE, i.ListEventTypesRequest, i.ListEventTypesResponse)
    get_info = Unary(STORE, i.GetInfoRequest, i.GetInfoResponse)

    update_stream = Unary(STREAMS, t.UpdateStreamRequest, t.UpdateStreamResponse, False)
    delete_stream = Unary(STREAMS, t.DeleteStreamRequest, t.DeleteStreamResponse, False)

    #: With `reset` or an expectation, it is not repeated either.
    save_checkpoint = Unary(CHECKPOINTS, c.SaveCheckpointRequest, c.SaveCheckpointResponse)
    get_checkpoint = Unary(CHECKPOINTS, c.GetCheckpointRequest, c.GetCheckpointResponse)
    list_checkpoints = Unary(CHECKPOINTS, c.ListCheckpointsRequest, c.ListCheckpointsResponse)
    delete_checkpoint = Unary(
        CHECKPOINTS, c.DeleteCheckpointRequest, c.DeleteCheckpointResponse, False
    )
    wait_for = Unary(CHECKPOINTS, c.WaitForRequest, c.WaitForResponse)

    create_group = Unary(GROUPS, g.CreateGroupRequest, g.CreateGroupResponse)
    update_group = Unary(GROUPS, g.UpdateGroupRequest, g.UpdateGroupResponse, False)
    delete_group = Unary(GROUPS, g.DeleteGroupRequest, g.DeleteGroupResponse, False)
    get_group = Unary(GROUPS, g.GetGroupRequest, g.GetGroupResponse)
    list_groups = Unary(GROUPS, g.ListGroupsRequest, g.ListGroupsResponse)
    reset_group = Unary(GROUPS, g.ResetGroupRequest, g.ResetGroupResponse, False)
    list_parked = Unary(GROUPS, g.ListParkedRequest, g.ListParkedResponse)
    replay_parked = Unary(GROUPS, g.ReplayParkedRequest, g.ReplayParkedResponse, False)
    discard_parked = Unary(GROUPS, g.DiscardParkedRequest, g.DiscardParkedResponse, False)
