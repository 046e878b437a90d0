"""Accounts as aggregates, with snapshots, and a projection that counts what moves.

python bank.py                     # twice: the second time goes on where the first one ended"""

from __future__ import annotations

import os
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application, ProcessingEvent
from eventsourcing.domain import Aggregate, DomainEventProtocol, event
from eventsourcing.projection import EventSourcedProjection, EventSourcedProjectionRunner

os.environ.setdefault("PERSISTENCE_MODULE", "eventsourcing_annals")


class Account(Aggregate):
    @event("Opened")
    def __init__(self, owner: str) -> None:
        self.owner, self.balance = owner, 0

    @staticmethod
    def create_id(owner: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/accounts/{owner}")

    @event("Moved")
    def move(self, amount: int) -> None:
        if self.balance + amount < 0:
            raise ValueError(f"{self.owner} has {self.balance} only")
        self.balance += amount


class Bank(Application[UUID]):
    snapshotting_intervals = {Account: 5}

    def move(self, owner: str, amount: int) -> int:
        try:
            account: Account = self.repository.get(Account.create_id(owner))
        except AggregateNotFoundError:
            account = Account(owner)
        account.move(amount)
        return self.save(account)[-1].notification.id

    def balance(self, owner: str) -> int:
        account: Account = self.repository.get(Account.create_id(owner))
        return account.balance


class Turnover(Aggregate):
    ID = uuid5(NAMESPACE_URL, "/turnover")

    def __init__(self) -> None:
        self.total = 0

    @staticmethod
    def create_id() -> UUID:
        return Turnover.ID

    @event("Counted")
    def count(self, amount: int) -> None:
        self.total += abs(amount)


class Turnovers(EventSourcedProjection[UUID]):
    """Stores what it counts together with the position that it follows from."""

    def policy(
        self, domain_event: DomainEventProtocol[UUID], processing_event: ProcessingEvent[UUID]
    ) -> None:
        if isinstance(domain_event, Account.Moved):  # type: ignore[attr-defined]
            turnover = self.turnover()
            turnover.count(domain_event.amount)
            processing_event.collect_events(turnover)

    def turnover(self) -> Turnover:
        try:
            turnover: Turnover = self.repository.get(Turnover.ID)
            return turnover
        except AggregateNotFoundError:
            return Turnover()


def main() -> None:
    with EventSourcedProjectionRunner(
        application_class=Bank, projection_class=Turnovers, env=dict(os.environ)
    ) as runner:
        runner.app.move("ada", 100)
        last = runner.app.move("ada", -30)
        runner.wait(last, timeout=60)
        print("ada has", runner.app.balance("ada"))
        print("moved:", runner.projection.turnover().total)


if __name__ == "__main__":
    main()
