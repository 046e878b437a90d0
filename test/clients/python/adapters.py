"""One interface for grpcio, grpcio.aio and grpclib: failures as `Failure`, streams with `next`."""

import asyncio
import queue

import grpc
import grpclib.client
import grpclib.const
import grpclib.exceptions
from google.rpc import status_pb2

SERVICE = "/annals.v1.EventStoreService/"


class Failure(Exception):
    def __init__(self, code, message, details):
        super().__init__(f"{code}: {message}")
        self.code, self.details = code, details


def call_of(method, asked, answered):
    return SERVICE + method, asked, answered


def of_grpcio(error):
    """`error` is an RpcError, or a call that is over."""
    trailers = dict(error.trailing_metadata() or ())
    details = trailers.get("grpc-status-details-bin", b"")
    return Failure(error.code().value[0], error.details(), details)


def serializers(call):
    path, asked, answered = call
    return path, asked.SerializeToString, answered.FromString


def compression(gzip):
    return grpc.Compression.Gzip if gzip else None


class Grpcio:
    """The synchronous library, whose waiting happens in threads."""

    def __init__(self, address, seconds):
        self.seconds = seconds
        self.channel = grpc.insecure_channel(address)

    @classmethod
    async def open(cls, address, seconds):
        return cls(address, seconds)

    async def close(self):
        self.channel.close()

    async def unary(self, call, asked, gzip=False, metadata=None, seconds=None):
        ask = self.channel.unary_unary(*serializers(call))
        options = {"metadata": metadata, "compression": compression(gzip)}
        try:
            return await asyncio.to_thread(ask, asked, timeout=seconds or self.seconds, **options)
        except grpc.RpcError as error:
            raise of_grpcio(error) from error

    def stream(self, call, asked, gzip=False, seconds=None):
        ask = self.channel.unary_stream(*serializers(call))
        timeout = seconds or self.seconds
        return Iterated(lambda: ask(asked, timeout=timeout, compression=compression(gzip)))

    def pipe(self, call):
        requests = queue.Queue()
        ask = self.channel.stream_stream(*serializers(call))
        return Iterated(lambda: ask(iter(requests.get, None), timeout=self.seconds), requests)


class Iterated:
    def __init__(self, begin, requests=None):
        self.begin, self.requests = begin, requests

    async def __aenter__(self):
        self.call = self.begin()
        return self

    async def __aexit__(self, *_):
        await self.end()

    async def send(self, message):
        self.requests.put(message)

    async def end(self):
        if self.requests is not None:
            self.requests.put(None)

    async def next(self):
        try:
            return await asyncio.to_thread(next, self.call, None)
        except grpc.RpcError as error:
            raise of_grpcio(error) from error

    async def cancel(self):
        self.call.cancel()
        return of_grpcio(self.call)


class Aio:
    def __init__(self, address, seconds):
        self.seconds = seconds
        self.channel = grpc.aio.insecure_channel(address)

    @classmethod
    async def open(cls, address, seconds):
        return cls(address, seconds)

    async def close(self):
        await self.channel.close()

    async def unary(self, call, asked, gzip=False, metadata=None, seconds=None):
        ask = self.channel.unary_unary(*serializers(call))
        options = {"metadata": metadata, "compression": compression(gzip)}
        try:
            return await ask(asked, timeout=seconds or self.seconds, **options)
        except grpc.aio.AioRpcError as error:
            raise of_grpcio(error) from error

    def stream(self, call, asked, gzip=False, seconds=None):
        ask = self.channel.unary_stream(*serializers(call))
        timeout = seconds or self.seconds
        return Awaited(lambda: ask(asked, timeout=timeout, compression=compression(gzip)))

    def pipe(self, call):
        ask = self.channel.stream_stream(*serializers(call))
        return Awaited(lambda: ask(timeout=self.seconds))


class Awaited:
    def __init__(self, begin):
        self.begin = begin

    async def __aenter__(self):
        self.call = self.begin()
        return self

    async def __aexit__(self, *_):
        self.call.cancel()

    async def send(self, message):
        await self.call.write(message)

    async def end(self):
        await self.call.done_writing()

    async def next(self):
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise of_grpcio(error) from error
        return None if message is grpc.aio.EOF else message

    async def cancel(self):
        self.call.cancel()
        return Failure((await self.call.code()).value[0], "", b"")


class Grpclib:
    def __init__(self, address, seconds):
        host, port = address.rsplit(":", 1)
        self.seconds = seconds
        self.channel = grpclib.client.Channel(host, int(port))

    @classmethod
    async def open(cls, address, seconds):
        return cls(address, seconds)

    async def close(self):
        self.channel.close()

    async def unary(self, call, asked, gzip=False, metadata=None, seconds=None):
        stream = self.begin(call, "UNARY_UNARY", seconds, metadata)
        try:
            async with stream:
                await stream.send_message(asked, end=True)
                return await stream.recv_message()
        except ENDS as error:
            raise of_grpclib(error) from error

    def stream(self, call, asked, gzip=False, seconds=None):
        return Requested(self.begin(call, "UNARY_STREAM", seconds), asked)

    def pipe(self, call):
        return Requested(self.begin(call, "STREAM_STREAM"))

    def begin(self, call, cardinality, seconds=None, metadata=None):
        path, asked, answered = call
        kind = grpclib.const.Cardinality[cardinality]
        timeout = seconds or self.seconds
        return self.channel.request(path, kind, asked, answered, timeout=timeout, metadata=metadata)


ENDS = (grpclib.exceptions.GRPCError, grpclib.exceptions.StreamTerminatedError, TimeoutError, OSError)


def of_grpclib(error):
    if isinstance(error, grpclib.exceptions.GRPCError):
        status = status_pb2.Status()
        for detail in error.details or ():
            status.details.add().Pack(detail)
        return Failure(error.status.value, error.message, status.SerializeToString())
    return Failure(4 if isinstance(error, TimeoutError) else 14, str(error), b"")


class Requested:
    def __init__(self, stream, asked=None):
        self.stream, self.asked, self.failure = stream, asked, None

    async def __aenter__(self):
        await self.stream.__aenter__()
        if self.asked is not None:
            await self.stream.send_message(self.asked, end=True)
        return self

    async def __aexit__(self, *how):
        try:
            await self.stream.__aexit__(*how)
        except ENDS as error:
            # Once more, where the call's end was met before.
            if self.failure is None:
                raise of_grpclib(error) from error

    async def send(self, message):
        await self.stream.send_message(message)

    async def end(self):
        await self.stream.end()

    async def next(self):
        try:
            message = await self.stream.recv_message()
            if message is None:
                await self.stream.recv_trailing_metadata()
            return message
        except ENDS as error:
            self.failure = of_grpclib(error)
            raise self.failure from error

    async def cancel(self):
        await self.stream.cancel()
        return Failure(1, "", b"")


LIBRARIES = {"grpcio": Grpcio.open, "grpcio.aio": Aio.open, "grpclib": Grpclib.open}
