"""Appenders, a subscriber, a reader and a member of a group, while the server is killed: nothing is
lost, nothing is doubled, nothing comes twice where the contract says once."""

from __future__ import annotations

import asyncio
import threading
import unittest
from collections.abc import Awaitable
from concurrent.futures import ThreadPoolExecutor

from annals import *
from live_server import LiveServer

WRITERS, APPENDS = 4, 60
TOTAL = WRITERS * APPENDS


class Crashes(unittest.TestCase):
    server: LiveServer

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = LiveServer()

    @classmethod
    def tearDownClass(cls) -> None:
        cls.server.stop()

    def setUp(self) -> None:
        self.client = Client(self.server.address, timeout=240)
        self.addCleanup(self.client.close)
        #: Of this test: the stream's beginning, the group, and the events.
        self.name = self.id().split("_")[-3]
        self.counted = query(QueryItem(types=[self.name]))
        settings = GroupSettings(query=self.counted)
        self.client.create_group(CreateGroupRequest(name=self.name, settings=settings))
        self.seen: list[RecordedEvent] = []
        self.handled: list[str] = []

    def request(self, writer: int, number: int) -> AppendRequest:
        one = event(self.name, b"%d" % number)
        stream = f"{self.name}-{writer}"
        return AppendRequest(stream=stream, expected_version=number, events=[one])

    def kill_in_the_middle(self) -> None:
        while len(self.seen) < TOTAL // 3:
            threading.Event().wait(0.002)
        self.server.kill()
        self.server.start()

    def check(self) -> None:
        for writer in range(WRITERS):
            events = list(self.client.read(ReadRequest(stream=f"{self.name}-{writer}")))
            self.assertEqual([e.version for e in events], list(range(1, APPENDS + 1)))
            self.assertEqual([e.data for e in events], [b"%d" % n for n in range(APPENDS)])
        everything = list(self.client.read(ReadRequest(query=self.counted)))
        self.assertEqual(len(everything), TOTAL)
        self.assertEqual([e.id for e in self.seen], [e.id for e in everything])
        self.assertEqual(set(self.handled), {e.id for e in everything})
        group = self.client.get_group(GetGroupRequest(name=self.name)).group
        self.assertEqual((group.lag_events, group.parked_count), (0, 0))

    def test_threads_go_on(self) -> None:
        subscription = self.client.subscribe(SubscribeRequest(query=self.counted))
        member = self.client.join(self.name, permits=20)

        def write(writer: int) -> None:
            for number in range(APPENDS):
                self.client.append(self.request(writer, number))

        def follow() -> None:
            for each in subscription:
                self.seen.append(each)
                if len(self.seen) == TOTAL:
                    break

        def work() -> None:
            with member:
                for delivery in member:
                    self.handled.append(delivery.event.id)
                    member.ack(delivery)
                    if len(set(self.handled)) == TOTAL:
                        break

        with ThreadPoolExecutor() as pool:
            writers = [pool.submit(write, writer) for writer in range(WRITERS)]
            others = [pool.submit(follow), pool.submit(work)]
            self.kill_in_the_middle()
            for done in (*writers, *others):
                done.result(240)
        self.check()

    def test_tasks_go_on(self) -> None:
        async def write(client: AsyncClient, writer: int) -> None:
            for number in range(APPENDS):
                await client.append(self.request(writer, number))

        async def follow(client: AsyncClient) -> None:
            async for each in client.subscribe(SubscribeRequest(query=self.counted)):
                self.seen.append(each)
                if len(self.seen) == TOTAL:
                    break

        async def work(client: AsyncClient) -> None:
            async with client.join(self.name, permits=20) as member:
                async for delivery in member:
                    self.handled.append(delivery.event.id)
                    member.ack(delivery)
                    if len(set(self.handled)) == TOTAL:
                        break

        async def everybody() -> None:
            async with AsyncClient(self.server.address, timeout=240) as client:
                tasks: list[Awaitable[None]] = [write(client, n) for n in range(WRITERS)]
                killed = asyncio.to_thread(self.kill_in_the_middle)
                await asyncio.gather(*tasks, follow(client), work(client), killed)

        asyncio.run(asyncio.wait_for(everybody(), 240))
        self.check()


if __name__ == "__main__":
    unittest.main()
