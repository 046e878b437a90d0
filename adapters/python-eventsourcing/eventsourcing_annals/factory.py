"""The factory that the environment variables of an application configure."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from uuid import UUID

from annals import Client
from eventsourcing.dcb.api import DCBRecorder
from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.persistence import AggregateRecorder, ApplicationRecorder
from eventsourcing.persistence import InfrastructureFactory, ProcessRecorder
from eventsourcing.utils import Environment, EnvType, resolve_topic

from eventsourcing_annals.dcb import AnnalsDCBRecorder
from eventsourcing_annals.recorders import AnnalsAggregateRecorder, AnnalsApplicationRecorder
from eventsourcing_annals.recorders import AnnalsProcessRecorder, AnnalsRecorder
from eventsourcing_annals.recorders import AnnalsSnapshotRecorder, AnnalsTrackingRecorder, Place

R = TypeVar("R", bound=AnnalsRecorder)


class AnnalsFactory(
    InfrastructureFactory[AnnalsTrackingRecorder], DCBInfrastructureFactory[AnnalsTrackingRecorder]
):
    """For applications with aggregates and for those with dynamic consistency boundaries."""

    ANNALS_ADDRESS = "ANNALS_ADDRESS"
    ANNALS_TOKEN = "ANNALS_TOKEN"
    ANNALS_TOKEN_FILE = "ANNALS_TOKEN_FILE"
    ANNALS_TLS = "ANNALS_TLS"
    ANNALS_TIMEOUT_SECONDS = "ANNALS_TIMEOUT_SECONDS"
    ANNALS_CATEGORY = "ANNALS_CATEGORY"
    ORIGINATOR_ID_TYPE = "ORIGINATOR_ID_TYPE"

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        name = self.env.get(self.ANNALS_CATEGORY, self.env.name or "stored")
        if "-" in name or name.startswith("$"):
            raise OSError(
                f"{self.ANNALS_CATEGORY} {name!r} (or the application's name) is the category of the "
                "streams: it may not contain '-' or begin with '$'"
            )
        id_types: dict[str, type[UUID] | type[str]] = {"uuid": UUID, "text": str}
        id_type = id_types.get(self.env.get(self.ORIGINATOR_ID_TYPE, "uuid").lower())
        if id_type is None:
            raise OSError(f"{self.ORIGINATOR_ID_TYPE} is neither 'uuid' nor 'text'")
        self.client = self._connect()
        self.place = Place(self.client, name, id_type, self._content_type())

    def _connect(self) -> Client:
        tls = self.env.get(self.ANNALS_TLS, "n")
        token_file = self.env.get(self.ANNALS_TOKEN_FILE)
        token = self.env.get(self.ANNALS_TOKEN)
        return Client(
            self.env.get(self.ANNALS_ADDRESS, "127.0.0.1:7420"),
            token=(lambda: Path(token_file).read_text().strip()) if token_file else token,
            tls=tls == "y" or (tls != "n" and Path(tls).read_bytes()),
            timeout=float(self.env.get(self.ANNALS_TIMEOUT_SECONDS, "30")),
        )

    def _content_type(self) -> str:
        """JSON, where the library does not say that the states are anything else."""
        keys = self.TRANSCODER_TOPIC, self.CIPHER_TOPIC, "CIPHER_KEY", self.COMPRESSOR_TOPIC
        changed = any(self.env.get(key) for key in keys)
        return "application/octet-stream" if changed else "application/json"

    def _recorder(self, default: type[R], topic: str) -> R:
        named = self.env.get(topic)
        recorder_class = resolve_topic(named) if named else default
        if not issubclass(recorder_class, default):
            raise TypeError(f"{topic}: {named} is not a {default.__name__}")
        recorder: R = recorder_class(self.place)
        return recorder

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        if purpose == "snapshots":
            return AnnalsSnapshotRecorder(self.place)
        return AnnalsAggregateRecorder(self.place)

    def application_recorder(self) -> ApplicationRecorder:
        return self._recorder(AnnalsApplicationRecorder, self.APPLICATION_RECORDER_TOPIC)

    def tracking_recorder(
        self, tracking_recorder_class: type[AnnalsTrackingRecorder] | None = None
    ) -> AnnalsTrackingRecorder:
        if tracking_recorder_class is not None:
            return tracking_recorder_class(self.place)
        return self._recorder(AnnalsTrackingRecorder, self.TRACKING_RECORDER_TOPIC)

    def process_recorder(self) -> ProcessRecorder:
        return self._recorder(AnnalsProcessRecorder, self.PROCESS_RECORDER_TOPIC)

    def dcb_recorder(self) -> DCBRecorder:
        return AnnalsDCBRecorder(self.client)

    def close(self) -> None:
        self.client.close()


Factory = AnnalsFactory
