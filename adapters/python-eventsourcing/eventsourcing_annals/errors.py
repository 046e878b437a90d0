"""The errors of the client as those of the library."""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import annals
from eventsourcing import persistence

P = ParamSpec("P")
R = TypeVar("R")

#: Somebody else was first, or it is there already; not accepted; damaged; and everything else.
_CLASSES: list[tuple[type[annals.AnnalsError], type[persistence.PersistenceError]]] = [
    (annals.ConflictError, persistence.IntegrityError),
    (annals.EventIdConflictError, persistence.IntegrityError),
    (annals.CheckpointError, persistence.IntegrityError),
    (annals.InvalidArgumentError, persistence.DataError),
    (annals.CorruptionError, persistence.InternalError),
    (annals.AnnalsError, persistence.OperationalError),
]


def translated(call: Callable[P, R]) -> Callable[P, R]:
    @wraps(call)
    def calling(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except annals.AnnalsError as error:
            raise next(own for kind, own in _CLASSES if isinstance(error, kind))(error) from error

    return calling
