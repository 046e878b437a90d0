"""A small order service that uses Annals over a Unix socket: commands append events, a projection
applies them to SQLite, and HTTP answers from there.

    POST /orders/ID       {"customer": "ada", "total": 10}   place an order
    POST /orders/ID/pay                                      pay it
    GET  /customers?seen=POSITION                            what each customer has paid

Each POST returns the position of its event. With `seen`, a GET waits until the projection has reached
that position, so that a client reads its own writes.
"""

import json
import os
import signal
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import grpc

from orders_commands import Orders, Refused
from orders_projection import Projection

SEEN_SECONDS_MAX = 5


class Handler(BaseHTTPRequestHandler):
    orders: Orders
    projection: Projection

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        match self.path.strip("/").split("/"):
            case ["orders", order_id]:
                self.answer(lambda: self.orders.place(order_id, json.loads(body)))
            case ["orders", order_id, "pay"]:
                self.answer(lambda: self.orders.pay(order_id))
            case _:
                self.send(404, {"error": "no such thing"})

    def do_GET(self):
        url = urlsplit(self.path)
        if url.path != "/customers":
            self.send(404, {"error": "no such thing"})
            return
        seen = int(parse_qs(url.query).get("seen", ["0"])[0])
        if not self.projection.wait_for(seen, SEEN_SECONDS_MAX):
            self.send(503, {"error": f"the projection has not seen {seen} yet"})
            return
        self.send(200, self.projection.customers())

    def answer(self, command):
        try:
            self.send(200, {"position": command()})
        except Refused as refusal:
            self.send(409, {"error": str(refusal)})
        except (KeyError, TypeError, ValueError) as error:
            self.send(400, {"error": f"malformed: {error}"})
        except grpc.RpcError as error:
            self.send(503, {"error": error.details()})

    def send(self, status, body):
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        pass


def main():
    # The retry policy that comes with the contract. This service chooses the id of every event, so that
    # an append that is sent twice is stored once.
    options = [
        ("grpc.service_config", Path(os.environ["SERVICE_CONFIG"]).read_text()),
        # Annals starts at the same time. By default a channel waits for seconds between two attempts.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 500),
    ]
    channel = grpc.insecure_channel(os.environ["ANNALS_ADDRESS"], options)
    Handler.orders = Orders(channel)
    Handler.projection = Projection(channel, os.environ["READ_MODEL"])
    server = ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Handler)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: threading.Thread(target=server.shutdown).start())
    Handler.projection.start()
    print(f"orders serves on http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
    # No new requests arrive any more. Those in progress finish, then Annals may stop.
    server.server_close()
    Handler.projection.stop()
    channel.close()


main()
