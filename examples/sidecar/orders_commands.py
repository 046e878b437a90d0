"""The commands on an order: load its events, decide, append at the version that was read."""

import json
import uuid

import grpc
from annals.v1 import append_pb2, event_pb2, event_store_service_pb2_grpc, snapshot_pb2

# Any constant UUID. Event ids are derived from it, the order and the command, so that a command that is
# sent again (by a person, a proxy, a retry) makes the same event, which is stored once.
NAMESPACE = uuid.UUID("3e0c6a52-6d2c-4d4e-9e55-6f3a0c1d9b7e")
CALL_SECONDS = 5
TRIES_MAX = 5


class Refused(Exception):
    """The order's state does not allow the command."""


class Orders:
    def __init__(self, channel):
        self.store = event_store_service_pb2_grpc.EventStoreServiceStub(channel)

    def place(self, order_id, command):
        payload = {"customer": str(command["customer"]), "total": int(command["total"])}
        placed = event(order_id, "OrderPlaced", payload, [f"customer:{payload['customer']}"])
        return self.append(order_id, placed, expected_version=0)

    def pay(self, order_id):
        # Another process appended first. Its event may change the decision.
        for _ in range(TRIES_MAX):
            events, version = self.load(order_id)
            if not events:
                raise Refused("there is no such order")
            order = json.loads(events[0].data)
            paid = event(order_id, "OrderPaid", order, [f"customer:{order['customer']}"])
            try:
                return self.append(order_id, paid, expected_version=version)
            except Conflict:
                continue
        raise Refused("too many conflicts")

    def append(self, order_id, new_event, expected_version):
        request = append_pb2.AppendRequest(
            stream=f"order-{order_id}", expected_version=expected_version, events=[new_event]
        )
        try:
            return self.store.Append(request, timeout=CALL_SECONDS).last_position
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.ALREADY_EXISTS:
                raise Refused("this was done already, differently") from error
            if error.code() == grpc.StatusCode.ABORTED:
                raise Conflict from error
            raise

    def load(self, order_id):
        events = []
        request = snapshot_pb2.LoadRequest(stream=f"order-{order_id}")
        for part in self.store.Load(request, timeout=CALL_SECONDS):
            events.extend(part.batch.events)
            if part.HasField("end"):
                return events, part.end.version
        raise RuntimeError("a load without its end was cut off")


class Conflict(Refused):
    """The order is not at the expected version."""

    def __str__(self):
        return "the order is in another state by now"


def event(order_id, type, payload, tags):
    return event_pb2.NewEvent(
        id=str(uuid.uuid5(NAMESPACE, f"{order_id}/{type}")),
        type=type,
        tags=tags,
        content_type="application/json",
        data=json.dumps(payload, sort_keys=True).encode(),
    )
