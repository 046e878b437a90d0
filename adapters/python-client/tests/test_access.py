"""TLS and tokens: a server that asks who calls, with a certificate of its own authority."""

from __future__ import annotations

import os
import shlex
import subprocess
import tempfile
import unittest

from annals import *
from live_server import LiveServer


def run(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


class Access(unittest.TestCase):
    def test_tokens_and_tls(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            key, certificate, tokens = (os.path.join(folder, n) for n in ("key", "cert", "tokens"))
            request = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2"
            names = "-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
            files = "-keyout", key, "-out", certificate
            run("openssl", *request.split(), *names.split(), *files)
            serve = shlex.split(os.environ.get("ANNALS_SERVE", "annals serve"))
            create = "tokens", "create", "ada", "--role", "writer", "--tokens-file", tokens
            token = run(*serve[:-1], *create)
            with open(certificate, "rb") as pem:
                authority = pem.read()

            flags = "--tls-cert", certificate, "--tls-key", key, "--tokens-file", tokens
            with LiveServer(*flags) as server:
                self.talk(server.address, authority, token)

    def talk(self, address: str, authority: bytes, token: str) -> None:
        shown: list[str] = []

        def current() -> str:
            shown.append(token)
            return token

        with Client(address, tls=authority, token=current) as ada:
            ada.append(AppendRequest(stream="secret-1", events=[event("Placed")]))
            (placed,) = ada.read(ReadRequest(stream="secret-1"))
            self.assertEqual((placed.principal, len(shown)), ("ada", 2))
            with self.assertRaises(AccessDeniedError) as denied:
                ada.delete_stream(DeleteStreamRequest(stream="secret-1"))
            self.assertEqual(denied.exception.reason, "PERMISSION_DENIED")
            self.assertEqual(denied.exception.metadata["permission"], "manage")
        with Client(address, tls=authority) as nobody:
            with self.assertRaises(AccessDeniedError) as unknown:
                list(nobody.read(ReadRequest(stream="secret-1")))
            self.assertEqual(unknown.exception.reason, "UNAUTHENTICATED")
        with Client(address, tls=True, token=token, timeout=0.5) as distrustful:
            with self.assertRaises(UnavailableError):
                distrustful.get_info(GetInfoRequest())


if __name__ == "__main__":
    unittest.main()
