"""The factory that the environment variables of an application configure."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar
from uuid import UUID

from annals import Client
from eventsourcing.dcb.persistence import DCBInfrastructureFactory
from eventsourcing.persistence import AggregateRecorder, InfrastructureFactory
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

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        category = self.env.get("ANNALS_CATEGORY", self.env.name or "stored")
        if "-" in category or category.startswith("$"):
            reason = "the category of streams may not contain '-' or begin with '$'"
            raise OSError(f"ANNALS_CATEGORY, or the application's name: {category!r}: {reason}")
        id_type = self.env.get("ORIGINATOR_ID_TYPE", "uuid").lower()
        if id_type not in ("uuid", "text"):
            raise OSError(f"ORIGINATOR_ID_TYPE: {id_type!r}: neither 'uuid' nor 'text'")
        # The states are JSON, where the library is not told to make anything else of them.
        other = self.TRANSCODER_TOPIC, self.CIPHER_TOPIC, "CIPHER_KEY", self.COMPRESSOR_TOPIC
        is_json = not any(self.env.get(key) for key in other)
        content_type = "application/json" if is_json else "application/octet-stream"
        self.client = self._connect()
        self.place = Place(self.client, category, UUID if id_type == "uuid" else str, content_type)

    def _connect(self) -> Client:
        tls, token_file = self.env.get("ANNALS_TLS", "n"), self.env.get("ANNALS_TOKEN_FILE", "")
        token = self.env.get("ANNALS_TOKEN")
        return Client(
            self.env.get("ANNALS_ADDRESS", "127.0.0.1:7420"),
            token=(lambda: Path(token_file).read_text().strip()) if token_file else token,
            tls=tls == "y" or (tls != "n" and Path(tls).read_bytes()),
            timeout=float(self.env.get("ANNALS_TIMEOUT_SECONDS", "30")),
        )

    def _recorder(self, default: type[R], topic: str) -> R:
        named = self.env.get(topic)
        recorder_class: type[R] = resolve_topic(named) if named else default
        if not issubclass(recorder_class, default):
            raise TypeError(f"{topic}: {named} is not a {default.__name__}")
        return recorder_class(self.place)

    def aggregate_recorder(self, purpose: str = "events") -> AggregateRecorder:
        snapshots = purpose == "snapshots"
        return (AnnalsSnapshotRecorder if snapshots else AnnalsAggregateRecorder)(self.place)

    def application_recorder(self) -> AnnalsApplicationRecorder:
        return self._recorder(AnnalsApplicationRecorder, self.APPLICATION_RECORDER_TOPIC)

    def tracking_recorder(
        self, tracking_recorder_class: type[AnnalsTrackingRecorder] | None = None
    ) -> AnnalsTrackingRecorder:
        if tracking_recorder_class is not None:
            return tracking_recorder_class(self.place)
        return self._recorder(AnnalsTrackingRecorder, self.TRACKING_RECORDER_TOPIC)

    def process_recorder(self) -> AnnalsProcessRecorder:
        return self._recorder(AnnalsProcessRecorder, self.PROCESS_RECORDER_TOPIC)

    def dcb_recorder(self) -> AnnalsDCBRecorder:
        return AnnalsDCBRecorder(self.client)

    def close(self) -> None:
        self.client.close()
