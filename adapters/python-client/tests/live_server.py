"""A server of its own for a test: `ANNALS_SERVE` is the command, `annals serve` by default."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import tempfile
from types import TracebackType


class LiveServer:
    def __init__(self, *flags: str) -> None:
        self.folder = tempfile.mkdtemp(prefix="annals-python-")
        self.port, self._flags = _free_port(), flags
        self.address = f"127.0.0.1:{self.port}"
        self.start()

    def start(self) -> None:
        command = shlex.split(os.environ.get("ANNALS_SERVE", "annals serve"))
        place = ["--data", os.path.join(self.folder, "data"), "--port", str(self.port)]
        log = open(os.path.join(self.folder, "log"), "ab")
        self._process = subprocess.Popen(
            [*command, *place, *self._flags], stdout=subprocess.PIPE, stderr=log
        )
        log.close()
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b" serves on " in line:
                return
        with open(os.path.join(self.folder, "log")) as said:
            raise AssertionError(f"the server did not start: {said.read()}")

    def kill(self) -> None:
        """As a crash: SIGKILL."""
        self._process.kill()
        self._ended()

    def stop(self) -> None:
        self._process.terminate()
        try:
            assert self._ended() == 0
        finally:
            shutil.rmtree(self.folder)

    def _ended(self) -> int:
        code = self._process.wait(20)
        assert self._process.stdout is not None
        self._process.stdout.close()
        return code

    def __enter__(self) -> LiveServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, *_: BaseException | TracebackType | None
    ) -> None:
        self.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
