"""The errors of the client as those of the library."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

from annals import AnnalsError, CheckpointError, ConflictError, CorruptionError
from annals import EventIdConflictError, InvalidArgumentError
from eventsourcing.persistence import DataError, IntegrityError, InternalError, OperationalError

P = ParamSpec("P")
R = TypeVar("R")


def translated(call: Callable[P, R]) -> Callable[P, R]:
    """Raises an IntegrityError where somebody else was first, and where an event is there already;
    everything else that a retry does not help against is an OperationalError, or as it says."""

    @wraps(call)
    def calling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (ConflictError, EventIdConflictError, CheckpointError) as error:
            raise IntegrityError(str(error)) from error
        except InvalidArgumentError as error:
            raise DataError(str(error)) from error
        except CorruptionError as error:
            raise InternalError(str(error)) from error
        except AnnalsError as error:
            raise OperationalError(str(error)) from error

    return calling
