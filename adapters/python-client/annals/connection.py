"""How both clients connect, and how they open calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import grpc

from annals.methods import Methods, Unary
from annals.progress import Progress
from annals.v1.consumer_group_service_pb2 import ConsumeRequest, ConsumeResponse

Token: TypeAlias = str | Callable[[], str] | None

_OPTIONS = [
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 10_000),
]


class Connection(Methods):
    """`target`: `HOST:PORT` or `unix:PATH`. `token`: what is shown, or what is called to get it.
    `tls`: True, or the PEM of the authority to trust. `certificate`: PEM of the own key and chain.
    `timeout`: seconds for a call with all its attempts, and for a stream to reach the server. A
    subscription or a member that has got anywhere tries again for as long as it takes."""

    _grpc: Any

    def __init__(
        self,
        target: str = "127.0.0.1:7420",
        *,
        token: Token = None,
        tls: bool | bytes = False,
        certificate: tuple[bytes, bytes] | None = None,
        timeout: float = 30.0,
    ) -> None:
        self._token, self.timeout = token, timeout
        self._asks: dict[str, Any] = {}
        if tls or certificate:
            authority = tls if isinstance(tls, bytes) else None
            credentials = grpc.ssl_channel_credentials(authority, *(certificate or ()))
            #: The channel of grpcio, for calls that this package does not make.
            self.channel = self._grpc.secure_channel(target, credentials, _OPTIONS)
        else:
            self.channel = self._grpc.insecure_channel(target, _OPTIONS)

    def _metadata(self) -> list[tuple[str, str]]:
        shown = self._token() if callable(self._token) else self._token
        return [("authorization", f"Bearer {shown}")] if shown else []

    def _ask(self, method: Unary[Any, Any], request: Any, timeout: float) -> Any:
        if method.path not in self._asks:
            serializers = method.ask.SerializeToString, method.answer.FromString
            self._asks[method.path] = self.channel.unary_unary(method.path, *serializers)
        return self._asks[method.path](request, timeout=timeout, metadata=self._metadata())

    def _open(self, stream: Progress[Any, Any]) -> Any:
        path = f"/annals.v1.EventStoreService/{stream.path}"
        serializers = type(stream.request).SerializeToString, stream.answer.FromString
        begin = self.channel.unary_stream(path, *serializers)
        return begin(stream.request, timeout=stream.call_timeout, metadata=self._metadata())

    def _consume(self, requests: Any) -> Any:
        serializers = ConsumeRequest.SerializeToString, ConsumeResponse.FromString
        begin = self.channel.stream_stream("/annals.v1.ConsumerGroupService/Consume", *serializers)
        return begin(requests, metadata=self._metadata())
