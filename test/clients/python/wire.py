"""The conversation of test/clients/wire-conversation.ts, by one of three libraries: see adapters.py."""

import asyncio
import json
import os
import sys

from google.rpc import error_details_pb2, status_pb2

from adapters import LIBRARIES, Failure, call_of
from annals.v1 import append_pb2, errors_pb2, event_pb2, info_pb2, read_pb2

STEP_SECONDS = 100
STREAMS, TAKEN, REFUSED = (
    int(os.environ[name]) for name in ("WIRE_STREAMS", "WIRE_FIELDS_TAKEN", "WIRE_FIELDS_REFUSED")
)

append_call = call_of("Append", append_pb2.AppendRequest, append_pb2.AppendResponse)
pipe_call = call_of("AppendPipe", append_pb2.AppendPipeRequest, append_pb2.AppendPipeResponse)
read_call = call_of("Read", read_pb2.ReadRequest, read_pb2.ReadResponse)
subscribe_call = call_of("Subscribe", read_pb2.SubscribeRequest, read_pb2.SubscribeResponse)
get_stream = call_of("GetStream", info_pb2.GetStreamRequest, info_pb2.GetStreamResponse)
get_info = call_of("GetInfo", info_pb2.GetInfoRequest, info_pb2.GetInfoResponse)
nothing = call_of("Nothing", info_pb2.GetInfoRequest, info_pb2.GetInfoResponse)


def id_of(number):
    return f"00000000-0000-4000-8000-{number:012}"


def request(stream, first, *sizes, **more):
    events = [
        event_pb2.NewEvent(id=id_of(first + index), type="T", data=b"a" * size)
        for index, size in enumerate(sizes)
    ]
    return append_pb2.AppendRequest(stream=stream, events=events, **more)


def typed(failure):
    """The code, the reason and the version of a conflict."""
    found = {"code": failure.code}
    status = status_pb2.Status.FromString(failure.details)
    info, conflict = error_details_pb2.ErrorInfo(), errors_pb2.AppendConflict()
    for detail in status.details:
        if detail.Unpack(info):
            found["reason"] = info.reason
        elif detail.Unpack(conflict):
            found["actual"] = conflict.streams[0].actual_version
    return found


class Conversation:
    def __init__(self, library):
        self.library = library

    def store(self, asked, **more):
        return self.library.unary(append_call, asked, **more)

    async def failure(self, call, asked, **more):
        try:
            await self.library.unary(call, asked, **more)
        except Failure as failure:
            return failure
        raise AssertionError("expected a failure")

    async def read(self, stream, **more):
        events = []
        async with self.library.stream(read_call, read_pb2.ReadRequest(stream=stream), **more) as answers:
            while (answer := await answers.next()) is not None:
                events += answer.batch.events
        return events

    async def conflict(self):
        answer = await self.store(request("wire-1", 1, 1, expected_version=0))
        failure = await self.failure(append_call, request("wire-1", 2, 1, expected_version=0))
        return {"position": answer.last_position, "conflict": typed(failure)}

    async def retry(self):
        answer = await self.store(request("wire-1", 1, 1, expected_version=0))
        return {"position": answer.last_position, "deduplicated": answer.deduplicated}

    async def unknown(self):
        return {"code": (await self.failure(nothing, info_pb2.GetInfoRequest())).code}

    async def gzip(self):
        answer = await self.store(request("gzip", 10, 1 << 20), gzip=True)
        events = await self.read("gzip", gzip=True)
        return {"position": answer.last_position, "bytes": len(events[0].data)}

    async def large(self):
        await self.store(request("large", 20, 3_140_000, 940_000))
        return {"lengths": [len(event.data) for event in await self.read("large")]}

    async def early(self):
        failure = await self.failure(append_call, request("early", 30, 9 << 20))
        answer = await self.store(request("early", 31, 1))
        return {"code": failure.code, "position": answer.last_position}

    async def pipe(self):
        codes = []
        async with self.library.pipe(pipe_call) as pipe:
            for index, version in enumerate([0, 0, 1]):
                asked = request("wire-2", 40 + index, 1, expected_version=version)
                await pipe.send(append_pb2.AppendPipeRequest(append=asked))
            await pipe.end()
            while (answer := await pipe.next()) is not None:
                codes.append(answer.failure.code)
        return {"codes": codes, "end": 0}

    async def turns(self):
        answers = 0
        async with self.library.pipe(pipe_call) as pipe:
            for turn in range(20):
                asked = request("wire-2", 50 + turn, 1)
                await pipe.send(append_pb2.AppendPipeRequest(append=asked))
                answers += await pipe.next() is not None
            return {"answers": answers, "end": (await pipe.cancel()).code}

    def follow(self, **more):
        seconds = more.pop("seconds", STEP_SECONDS)
        asked = read_pb2.SubscribeRequest(**more)
        return self.library.stream(subscribe_call, asked, seconds=seconds)

    async def subscribers(self, stream):
        answer = await self.library.unary(get_stream, info_pb2.GetStreamRequest(stream=stream))
        return answer.stream.subscriber_count

    async def until_forgotten(self, stream):
        while await self.subscribers(stream) != 0:
            await asyncio.sleep(0.01)
        return 0

    async def live(self):
        async with self.follow(stream="wire-3") as messages:
            await until_caught_up(messages)
            await self.store(request("wire-3", 80, 1))
            events = await next_events(messages)
            before = await self.subscribers("wire-3")
            end = await messages.cancel()
        after = await self.until_forgotten("wire-3")
        return {"live": events, "end": end.code, "subscribers": [before, after]}

    async def deadline(self):
        async with self.follow(stream="wire-4", seconds=1) as messages:
            return {"end": (await end_of(messages)).code}

    async def metadata(self):
        async def code_with(fields):
            metadata = [(f"x-{index}", "m" * 1_000) for index in range(fields)]
            try:
                await self.library.unary(get_info, info_pb2.GetInfoRequest(), metadata=metadata)
            except Failure as failure:
                print(failure, file=sys.stderr)
                return failure.code
            return 0

        return {
            "taken": await code_with(TAKEN),
            "refused": await code_with(REFUSED),
            "after": await code_with(0),
        }

    async def streams(self):
        all = [self.follow(stream="wire-5") for _ in range(STREAMS)]
        for messages in all:
            await messages.__aenter__()
        for messages in all:
            await until_caught_up(messages)
        await self.store(request("wire-5", 90, 1))
        events = sum([await next_events(messages) for messages in all])
        for messages in all:
            await messages.cancel()
            await messages.__aexit__(None, None, None)
        return {"open": len(all), "live": events, "left": await self.until_forgotten("wire-5")}

    async def restart(self):
        others = set()
        acknowledged = after = 0
        async with self.follow(from_end={}) as messages:
            await until_caught_up(messages)
            print("RESTART", flush=True)
            is_back = asyncio.create_task(asyncio.to_thread(sys.stdin.readline))
            while after < 20:
                await asyncio.sleep(0.001)
                try:
                    await self.store(request("wire-6", 1_000 + acknowledged, 1), seconds=20)
                    acknowledged += 1
                    after += is_back.done()
                except Failure as failure:
                    others.add(failure.code)
                    await asyncio.sleep(0.02)
            end = typed(await end_of(messages))
        ids = [event.id for event in await self.read("wire-6")]
        return {
            "end": end,
            "others": sorted(others - {14}),
            "isWhole": ids == [id_of(1_000 + index) for index in range(acknowledged)],
        }


async def until_caught_up(messages):
    while not (await messages.next()).HasField("caught_up"):
        pass


async def next_events(messages):
    while not (message := await messages.next()).HasField("batch"):
        pass
    return len(message.batch.events)


async def end_of(messages):
    try:
        while await messages.next() is not None:
            pass
    except Failure as failure:
        return failure
    raise AssertionError("a subscription ends only with an error")


STEPS = "conflict retry unknown gzip large early pipe turns live deadline metadata streams restart".split()


async def main(name):
    library = await LIBRARIES[name](os.environ["ANNALS_ADDRESS"], STEP_SECONDS)
    conversation = Conversation(library)
    for step in STEPS:
        facts = await getattr(conversation, step)()
        print(json.dumps({"step": step, "ok": True, **facts}), flush=True)
    await library.close()


asyncio.run(main(sys.argv[1]))
