"""A read model in SQLite: what each customer has paid. Its rows and its position change in one transaction,
so that each event counts exactly once, whenever this process ends."""

import json
import sqlite3
import threading

import grpc
from annals.v1 import event_store_service_pb2_grpc, query_pb2, read_pb2
from google.protobuf.duration_pb2 import Duration

RETRY_SECONDS = 0.5


class Projection:
    def __init__(self, channel, path):
        self.store = event_store_service_pb2_grpc.EventStoreServiceStub(channel)
        self.path = path
        self.moved = threading.Condition()
        self.stopping = threading.Event()
        self.call = None
        with sqlite3.connect(path) as database:
            database.executescript(
                """
                create table if not exists customer (name text primary key, paid integer not null);
                create table if not exists progress (id integer primary key, seen integer not null);
                insert or ignore into progress values (1, 0);
                """
            )
            (self.seen,) = database.execute("select seen from progress").fetchone()
        self.thread = threading.Thread(target=self.run)

    def start(self):
        self.thread.start()

    def stop(self):
        self.stopping.set()
        if self.call is not None:
            self.call.cancel()
        self.thread.join()

    def run(self):
        """Subscribes after the saved position, again after every end: the server may restart."""
        database = sqlite3.connect(self.path)
        while not self.stopping.is_set():
            try:
                self.follow(database)
            except grpc.RpcError as error:
                if not self.stopping.is_set():
                    print(f"projection: {error.code().name}, on from {self.seen}", flush=True)
                self.stopping.wait(RETRY_SECONDS)
        database.close()

    def follow(self, database):
        paid = query_pb2.QueryItem(types=["OrderPaid"])
        self.call = self.store.Subscribe(
            read_pb2.SubscribeRequest(
                query=query_pb2.Query(items=[paid]),
                after_position=self.seen,
                # How soon `seen` moves past events that this read model does not use.
                checkpoint_interval=Duration(seconds=1),
            )
        )
        for message in self.call:
            with database:
                for event in message.batch.events:
                    order = json.loads(event.data)
                    database.execute(
                        """insert into customer values (?, ?)
                        on conflict (name) do update set paid = paid + excluded.paid""",
                        (order["customer"], order["total"]),
                    )
                database.execute("update progress set seen = ?", (position_of(message),))
            with self.moved:
                self.seen = position_of(message)
                self.moved.notify_all()

    def wait_for(self, position, seconds):
        with self.moved:
            return self.moved.wait_for(lambda: self.seen >= position, seconds)

    def customers(self):
        database = sqlite3.connect(self.path)
        with database:
            rows = database.execute("select name, paid from customer order by name").fetchall()
        database.close()
        return {"seen": self.seen, "paid": dict(rows)}


def position_of(message):
    """Every kind of message carries the position of the subscription."""
    kind = message.WhichOneof("message")
    if kind == "batch":
        return message.batch.events[-1].position
    return getattr(message, kind).position
