"""Streams: how they end, and how they resume where a connection breaks in the middle."""

from __future__ import annotations

import asyncio
import gc
import time
import unittest
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
from google.protobuf import empty_pb2

from annals import *
from live_server import LiveServer

COUNT = 40
LARGE = bytes(30_000)


class Cutting(grpc.GenericRpcHandler):
    """Hands reads on to the server, and breaks each call behind its first batch."""

    def __init__(self, channel: Any) -> None:
        self.read, self.cuts = channel.unary_stream("/annals.v1.EventStoreService/Read"), 0

    def service(self, _: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(self.cut)

    def cut(self, request: bytes, context: Any) -> Iterator[bytes]:
        call = self.read(request)
        for answer in call:
            yield answer
            if ReadResponse.FromString(answer).HasField("batch"):
                self.cuts += 1
                call.cancel()
                context.abort(grpc.StatusCode.UNAVAILABLE, "cut")


class Streams(unittest.TestCase):
    server: LiveServer
    client: Client

    @classmethod
    def setUpClass(cls) -> None:
        cls.server = LiveServer()
        cls.client = Client(cls.server.address)
        for _ in range(COUNT):
            cls.client.append(AppendRequest(stream="many-1", events=[event("Large", LARGE)]))
        cls.cutting = Cutting(grpc.insecure_channel(cls.server.address))
        cls.proxy = grpc.server(ThreadPoolExecutor())
        cls.proxy.add_generic_rpc_handlers((cls.cutting,))
        cls.cut = Client(f"127.0.0.1:{cls.proxy.add_insecure_port('127.0.0.1:0')}")
        cls.proxy.start()

    cutting: Cutting
    proxy: Any
    cut: Client

    @classmethod
    def tearDownClass(cls) -> None:
        cls.proxy.stop(0)
        cls.client.close()
        cls.cut.close()
        cls.server.stop()

    def read_cut(self, request: ReadRequest) -> tuple[list[int], ReadEnd]:
        cuts = self.cutting.cuts
        read = self.cut.read(request)
        versions = [each.version for each in read]
        self.assertGreater(self.cutting.cuts, cuts)
        whole = self.client.read(request)
        self.assertEqual(versions, [each.version for each in whole])
        self.assertEqual(read.epoch, whole.epoch)
        return versions, read.end

    def test_a_read_resumes_behind_its_last_event(self) -> None:
        versions, end = self.read_cut(ReadRequest(stream="many-1"))
        self.assertEqual(versions, list(range(1, COUNT + 1)))
        self.assertEqual((end.after, end.stream_version, end.event_count), (COUNT, COUNT, COUNT))
        self.assertGreater(self.cutting.cuts, 5)

    def test_a_limit_counts_over_all_calls(self) -> None:
        versions, end = self.read_cut(ReadRequest(stream="many-1", limit=20))
        self.assertEqual(versions, list(range(1, 21)))
        self.assertEqual((end.after, end.stream_version, end.event_count), (20, COUNT, 20))

    def test_a_read_backwards_says_what_it_has_seen_at_first(self) -> None:
        versions, end = self.read_cut(ReadRequest(stream="many-1", direction=DIRECTION_BACKWARDS))
        self.assertEqual(versions, list(range(COUNT, 0, -1)))
        self.assertEqual((end.after, end.stream_version, end.event_count), (COUNT, COUNT, COUNT))

    def test_a_part_of_a_query_ends_where_it_was_to(self) -> None:
        asked = query(QueryItem(types=["Large"]))
        versions, end = self.read_cut(ReadRequest(query=asked, from_position=5, to_position=30))
        self.assertEqual(versions, list(range(5, 31)))
        self.assertEqual(end.after, 30)

    def subscribers(self) -> int:
        info = self.client.get_stream(GetStreamRequest(stream="many-1"))
        count: int = info.stream.subscriber_count
        return count

    def until_nobody_subscribes(self) -> None:
        ends = time.monotonic() + 60
        while self.subscribers() > 0:
            self.assertLess(time.monotonic(), ends, "a subscription stays open")
            time.sleep(0.01)

    def test_a_loop_that_is_left_ends_its_subscription(self) -> None:
        for each in self.client.subscribe(SubscribeRequest(stream="many-1")):
            self.assertGreater(self.subscribers(), 0)
            self.assertEqual(each.version, 1)
            break
        del each
        self.until_nobody_subscribes()

    def test_a_loop_of_asyncio_that_is_left_ends_its_subscription(self) -> None:
        async def leave() -> None:
            async with AsyncClient(self.server.address) as client:
                async for _ in client.subscribe(SubscribeRequest(stream="many-1")):
                    break
                gc.collect()
                await asyncio.to_thread(self.until_nobody_subscribes)
                async with client.subscribe(SubscribeRequest(stream="many-1")) as named:
                    async for _ in named:
                        break
                await asyncio.to_thread(self.until_nobody_subscribes)

        asyncio.run(leave())

    def test_a_task_that_is_cancelled_ends_its_subscription(self) -> None:
        async def cancel() -> None:
            async with AsyncClient(self.server.address) as client:

                async def follow() -> None:
                    async for _ in client.subscribe(SubscribeRequest(stream="many-1")):
                        pass

                task = asyncio.create_task(follow())
                while await asyncio.to_thread(self.subscribers) == 0:
                    await asyncio.sleep(0.01)
                task.cancel()
                with self.assertRaises(asyncio.CancelledError):
                    await task
                await asyncio.to_thread(self.until_nobody_subscribes)

        asyncio.run(cancel())

    def test_another_thread_ends_a_subscription(self) -> None:
        subscription = self.client.subscribe(SubscribeRequest(from_end=empty_pb2.Empty()))
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(list, subscription)
            while not subscription.caught_up:
                time.sleep(0.01)
            subscription.cancel()
            self.assertEqual(waiting.result(60), [])

    def test_a_subscription_goes_on_where_it_was_told_to(self) -> None:
        first = self.client.subscribe(SubscribeRequest(stream="many-1"))
        for each in first:
            if each.version == 30:
                break
        self.assertEqual(first.position, 30)
        stored = SubscribeRequest(stream="many-1", after_position=30, epoch=first.epoch)
        with self.client.subscribe(stored) as second:
            self.assertEqual(next(second).version, 31)

    def test_reads_of_asyncio(self) -> None:
        async def read() -> None:
            async with AsyncClient(self.server.address) as client:
                read = client.read(ReadRequest(stream="many-1", limit=3))
                self.assertEqual([each.version async for each in read], [1, 2, 3])
                self.assertEqual(read.condition.after, 3)
                loaded = await client.load(LoadRequest(stream="many-1"))
                self.assertEqual((len(loaded.events), loaded.end.version), (COUNT, COUNT))
                with self.assertRaises(ConflictError):
                    await client.append(
                        AppendRequest(events=[event("X")], conditions=[read.condition])
                    )
                info = await client.get_info(GetInfoRequest())
                self.assertEqual(info.epoch, read.epoch)

        asyncio.run(read())


if __name__ == "__main__":
    unittest.main()
