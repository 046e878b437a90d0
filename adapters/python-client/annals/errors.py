"""What a call may fail with: one class for each thing that a caller can react to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from annals.v1.errors_pb2 import AppendConflict, EventIdConflict

M = TypeVar("M", bound=Message)


class AnnalsError(Exception):
    """A call failed. Decide by the class and the reason, never by the message."""

    def __init__(self, code: str, message: str, details: bytes = b"") -> None:
        self.details = list(status_pb2.Status.FromString(details).details)
        info = self.detail(error_details_pb2.ErrorInfo)
        #: The gRPC status code: `ABORTED`, `UNAVAILABLE`, ...
        self.code = code
        #: The reason, of docs/errors.md. Empty: the error is not from a server of Annals.
        self.reason: str = info.reason if info and info.domain == "annals" else ""
        #: What belongs to the reason: `shared_through`, `leader`, `consumer`, ...
        self.metadata: Mapping[str, str] = dict(info.metadata) if info else {}
        retry = self.detail(error_details_pb2.RetryInfo)
        #: Seconds to wait before another attempt, where the server says so.
        self.retry_after: float | None = (
            retry.retry_delay.ToTimedelta().total_seconds() if retry else None
        )
        #: Whether the request may have taken effect, over all attempts.
        self.may_have_been_stored = code in _UNCERTAIN and self.reason in _UNCERTAIN_REASONS
        super().__init__(f"{message} ({self.reason or code})")

    def detail(self, kind: type[M]) -> M | None:
        """The detail of this type, for example `google.rpc.BadRequest`."""
        for detail in self.details:
            found = kind()
            if detail.Unpack(found):
                return found
        return None

    @property
    def is_transient(self) -> bool:
        """Whether the same call may succeed later."""
        if self.code == "UNAVAILABLE":
            return self.reason != "STORE_FAILED"
        broke = self.reason == "" and self.code in ("CANCELLED", "INTERNAL", "UNKNOWN")
        return broke or self.retry_after is not None


_UNCERTAIN = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED", "INTERNAL", "UNKNOWN")
_UNCERTAIN_REASONS = ("", "OUTCOME_UNKNOWN", "STORE_FAILED", "INTERNAL")


class ConflictError(AnnalsError):
    """An expectation or a condition did not hold: read again, decide again, append again."""

    @property
    def conflict(self) -> AppendConflict:
        """Each violation, with the expected and the actual version."""
        return self.detail(AppendConflict) or AppendConflict()


class EventIdConflictError(AnnalsError):
    """An id is stored already: with other content, or without the other ids of the append."""

    @property
    def conflict(self) -> EventIdConflict:
        return self.detail(EventIdConflict) or EventIdConflict()


class EpochMismatchError(AnnalsError):
    """The position or version was read in another history of the store, which was restored."""

    @property
    def shared_through(self) -> int | None:
        """The last position that both histories share. None: the store does not know the other."""
        shared = self.metadata.get("shared_through")
        return None if shared is None else int(shared)


class CheckpointError(AnnalsError):
    """The saved checkpoint is not as expected: another process runs under the consumer's name."""


class InvalidArgumentError(AnnalsError):
    """A field is missing, malformed or beyond a limit; the message names both."""


class NotFoundError(AnnalsError):
    """There is no such stream, snapshot, checkpoint or group; `reason` says which."""


class PreconditionError(AnnalsError):
    """The state of the store forbids it; `reason` says why."""


class BeyondHeadError(AnnalsError):
    """The position or version was not read from this store."""


class AccessDeniedError(AnnalsError):
    """The credential is missing or wrong, or does not grant what the request touches."""


class ExhaustedError(AnnalsError):
    """The server is overloaded, its disk is full, or a message is too large."""


class UnavailableError(AnnalsError):
    """The server cannot be reached, or is stopping or recovering."""


class TimedOutError(UnavailableError):
    """The time was over."""


class CorruptionError(AnnalsError):
    """Stored bytes failed their check and are not served."""


_BY_REASON: Mapping[str, type[AnnalsError]] = {
    "APPEND_CONFLICT": ConflictError,
    "EVENT_ID_CONFLICT": EventIdConflictError,
    "EPOCH_MISMATCH": EpochMismatchError,
    "CHECKPOINT_BACKWARDS": CheckpointError,
    "CHECKPOINT_CONFLICT": CheckpointError,
}
_BY_CODE: Mapping[str, type[AnnalsError]] = {
    "INVALID_ARGUMENT": InvalidArgumentError,
    "NOT_FOUND": NotFoundError,
    "FAILED_PRECONDITION": PreconditionError,
    "ALREADY_EXISTS": PreconditionError,
    "OUT_OF_RANGE": BeyondHeadError,
    "UNAUTHENTICATED": AccessDeniedError,
    "PERMISSION_DENIED": AccessDeniedError,
    "RESOURCE_EXHAUSTED": ExhaustedError,
    "UNAVAILABLE": UnavailableError,
    "CANCELLED": UnavailableError,
    "DEADLINE_EXCEEDED": TimedOutError,
    "DATA_LOSS": CorruptionError,
}


def error_of(failed: Any) -> AnnalsError:
    """The error of a failed call of grpcio or grpcio.aio."""
    details = dict(failed.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    code, message = failed.code().name, failed.details() or ""
    reason = AnnalsError(code, message, details).reason
    return (_BY_REASON.get(reason) or _BY_CODE.get(code) or AnnalsError)(code, message, details)
