"""What the library's cases leave open: crashes, shared stores, versions from 0."""

from __future__ import annotations

import random
import threading
import unittest
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

from eventsourcing.application import AggregateNotFoundError, Application, ProcessingEvent
from eventsourcing.domain import Aggregate, DomainEventProtocol, event
from eventsourcing.persistence import (
    AggregateRecorder,
    DataError,
    IntegrityError,
    OperationalError,
    StoredEvent,
)
from eventsourcing.popo import POPOAggregateRecorder
from eventsourcing.projection import EventSourcedProjectionRunner
from eventsourcing.system import (
    MultiThreadedRunner,
    ProcessApplication,
    SingleThreadedRunner,
    System,
)
from eventsourcing.utils import Environment
from live_server import LiveServer

from eventsourcing_annals import AnnalsFactory

WRITERS, SAVES = 4, 30
TOTAL = WRITERS * SAVES

server: LiveServer


def setUpModule() -> None:
    global server
    server = LiveServer()


def tearDownModule() -> None:
    server.stop()


def env(**more: str) -> dict[str, str]:
    here = {"PERSISTENCE_MODULE": "eventsourcing_annals", "ANNALS_ADDRESS": server.address}
    return {**here, "ANNALS_TIMEOUT_SECONDS": "240", **more}


class Account(Aggregate):
    def __init__(self) -> None:
        self.balance = 0

    @event("Credited")
    def credit(self, amount: int) -> None:
        self.balance += amount


class Bank(Application[UUID]):
    snapshotting_intervals = {Account: 10}


class Ledger(Aggregate):
    ID = UUID("00000000-0000-4000-8000-000000000001")

    def __init__(self) -> None:
        self.entries: list[tuple[str, int]] = []

    @staticmethod
    def create_id() -> UUID:
        return Ledger.ID

    @event("Entered")
    def enter(self, account: str, amount: int) -> None:
        self.entries.append((account, amount))


class Ledgers(ProcessApplication[UUID]):
    """Answers events with events, each exactly once."""

    def policy(
        self, domain_event: DomainEventProtocol[UUID], processing_event: ProcessingEvent[UUID]
    ) -> None:
        if isinstance(domain_event, Account.Credited):  # type: ignore[attr-defined]
            try:
                ledger: Ledger = self.repository.get(Ledger.ID)
            except AggregateNotFoundError:
                ledger = Ledger()
            ledger.enter(str(domain_event.originator_id), domain_event.amount)
            processing_event.collect_events(ledger)


class Crash(unittest.TestCase):
    def test_nothing_is_lost_or_doubled(self) -> None:
        with EventSourcedProjectionRunner(
            application_class=Bank, projection_class=Ledgers, env=env()
        ) as runner:
            bank, saved = runner.app, threading.Semaphore(0)

            def write() -> tuple[UUID, int]:
                account = Account()
                bank.save(account)
                for number in range(SAVES):
                    again: Account = bank.repository.get(account.id)
                    again.credit(number)
                    last = bank.save(again)[-1].notification.id
                    saved.release()
                return account.id, last

            with ThreadPoolExecutor() as pool:
                writers = [pool.submit(write) for _ in range(WRITERS)]
                for _ in range(TOTAL // 2):
                    saved.acquire()
                server.kill()
                server.start()
                written = [writer.result(240) for writer in writers]
            runner.wait(max(last for _, last in written), timeout=240)

            accounts: list[Account] = [bank.repository.get(account) for account, _ in written]
            self.assertEqual([a.balance for a in accounts], [sum(range(SAVES))] * WRITERS)
            self.assertEqual([a.version for a in accounts], [SAVES + 1] * WRITERS)
            ledger: Ledger = runner.projection.repository.get(Ledger.ID)
            expected = [(str(account), n) for account, _ in written for n in range(SAVES)]
            self.assertEqual(sorted(ledger.entries), sorted(expected))


class Systems(unittest.TestCase):
    """Both applications of a system record in one store: their notification IDs have gaps."""

    def run_system(self, runner_class: Any) -> None:
        case = uuid4().hex
        here = env(BANK_ANNALS_CATEGORY=f"bank{case}", LEDGERS_ANNALS_CATEGORY=f"ledgers{case}")
        with runner_class(System(pipes=[[Bank, Ledgers]]), env=here) as runner:
            bank, ledgers = runner.get(Bank), runner.get(Ledgers)
            last = 0
            for amount in range(12):
                account = Account()
                account.credit(amount)
                last = bank.save(account)[-1].notification.id
            ledgers.recorder.wait("Bank", last, timeout=240)
            ledger: Ledger = ledgers.repository.get(Ledger.ID)
            self.assertEqual([amount for _, amount in ledger.entries], list(range(12)))
            ids: list[int] = []
            section = "1,10"
            while section:
                found = bank.notification_log[section]
                ids += [item.id for item in found.items]
                section = found.next_id or ""
            self.assertEqual(len(ids), 24)
            self.assertGreater(ids[-1] - ids[0], 24)

    def test_followers_in_one_thread(self) -> None:
        self.run_system(SingleThreadedRunner)

    def test_followers_in_threads_of_their_own(self) -> None:
        self.run_system(MultiThreadedRunner)


class Recorders(unittest.TestCase):
    def recorder(self, **more: str) -> AggregateRecorder:
        factory = AnnalsFactory(Environment(f"case{uuid4().hex}", env(**more)))
        self.addCleanup(factory.close)
        return factory.aggregate_recorder()

    def test_as_the_recorder_in_memory(self) -> None:
        """Random calls, on aggregates that begin with version 0 and 1."""
        chance, ours, model = random.Random(20), self.recorder(), POPOAggregateRecorder()
        ids = [uuid4() for _ in range(4)]
        following: dict[Any, int] = {originator_id: n % 2 for n, originator_id in enumerate(ids)}
        for _ in range(60):
            batch: list[StoredEvent] = []
            for originator_id in chance.sample(ids, chance.randint(1, 2)):
                stale = chance.random() < 0.2 and following[originator_id] > 1
                first = following[originator_id] - (1 if stale else 0)
                for version in range(first, first + chance.randint(1, 3)):
                    batch.append(
                        StoredEvent(originator_id, version, f"t{version}", b"%d" % version)
                    )
            outcomes = [outcome(recorder, batch) for recorder in (ours, model)]
            self.assertEqual(outcomes[0], outcomes[1])
            if outcomes[0] == "stored":
                for stored in batch:
                    following[stored.originator_id] = stored.originator_version + 1
            asked: dict[str, Any] = {
                "gt": chance.choice([None, 0, 1, 3]),
                "lte": chance.choice([None, 1, 2, 5]),
                "desc": chance.random() < 0.5,
                "limit": chance.choice([None, 1, 2]),
            }
            one = chance.choice(ids)
            selected = [recorder.select_events(one, **asked) for recorder in (ours, model)]
            self.assertEqual(selected[0], selected[1], asked)

    def test_a_version_that_skips_one_is_refused(self) -> None:
        recorder, one = self.recorder(), uuid4()
        recorder.insert_events([StoredEvent(one, 1, "t", b"")])
        for version in (3, 1):
            with self.assertRaises(IntegrityError):
                recorder.insert_events([StoredEvent(one, version, "t", b"")])
        self.assertEqual(len(recorder.select_events(one)), 1)

    def test_errors_are_those_of_the_library(self) -> None:
        with self.assertRaises(DataError):
            self.recorder().insert_events([StoredEvent(uuid4(), 1, "", b"")])
        nobody = self.recorder(ANNALS_ADDRESS="127.0.0.1:1", ANNALS_TIMEOUT_SECONDS="0.2")
        with self.assertRaises(OperationalError):
            nobody.insert_events([StoredEvent(uuid4(), 1, "t", b"")])
        with self.assertRaisesRegex(OSError, "ANNALS_CATEGORY"):
            AnnalsFactory(Environment("shop-orders", env()))
        with self.assertRaisesRegex(OSError, "ORIGINATOR_ID_TYPE"):
            AnnalsFactory(Environment("shop", env(ORIGINATOR_ID_TYPE="number")))


def outcome(recorder: AggregateRecorder, batch: list[StoredEvent]) -> str:
    try:
        recorder.insert_events(batch)
        return "stored"
    except IntegrityError:
        return "refused"


if __name__ == "__main__":
    unittest.main()
