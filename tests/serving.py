"""A venue as its users start it: `margrave serve --json` as a process, spoken to over its socket."""

import base64
import contextlib
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

ROOT = Path(__file__).resolve().parents[1]
COMMAND = (sys.executable, "-m", "gateway")
READY_SECONDS = 60.0


def margrave(*words: str | Path, timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [*COMMAND, *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=timeout, check=False
    )


class Served:
    """A running `margrave serve`; `ready` is what it printed."""

    def __init__(self, data_dir: Path, *words: str | Path):
        self.data_dir = data_dir
        self._errors = open(data_dir.with_name(data_dir.name + ".stderr"), "a+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*COMMAND, "serve", "--json", "--data-dir", str(data_dir), "--port", "0", *map(str, words)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        line = self.process.stdout.readline() if self.process.stdout else ""
        if not line:
            self.process.wait(READY_SECONDS)
            raise RuntimeError(f"the venue did not start: {self.errors()}")
        self.ready: dict[str, Any] = json.loads(line)

    def errors(self) -> str:
        """What the process said on standard error."""
        self._errors.flush()
        self._errors.seek(0)
        return self._errors.read()

    def key(self, name: str) -> dict[str, str]:
        """The printed key of a house account."""
        return next(key for key in self.ready["keys"] if key["name"] == name)

    def call(self, method: str, name: str = "", **params: Any) -> Any:
        """A JSON-RPC call over HTTP, as a house account where one is named; the result."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        request = urllib.request.Request(self.ready["http"] + "/api/v2", data=body)
        request.add_header("Content-Type", "application/json")
        if name:
            key = self.key(name)
            token = base64.b64encode(f"{key['client_id']}:{key['client_secret']}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return json.load(answer)["result"]
        except urllib.error.HTTPError as refusal:
            refusal.msg = f"{method} {params}: {refusal.read().decode()}"
            raise

    @contextlib.contextmanager
    def socket(self, name: str) -> Iterator[ClientConnection]:
        """A logged-in WebSocket."""
        key = self.key(name)
        params = {
            "grant_type": "client_credentials",
            "client_id": key["client_id"],
            "client_secret": key["client_secret"],
        }
        with connect(self.ready["ws"]) as connection:
            connection.send(json.dumps({"jsonrpc": "2.0", "id": 0, "method": "public/auth", "params": params}))
            answer = json.loads(connection.recv(10))
            if "result" not in answer:
                raise RuntimeError(f"login failed: {answer}")
            yield connection

    def stop(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """(exit status, what else it printed) after a signal."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        rest, _ = self.process.communicate(timeout=30)
        return self.process.returncode, rest

    def kill(self) -> None:
        """kill -9."""
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)

    def __enter__(self) -> "Served":
        return self

    def __exit__(self, *error: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        if self.process.stdout:
            self.process.stdout.close()
        self._errors.close()


def small_config(path: Path, text: str = "") -> Path:
    """A configuration file with a small population; `text` is put before it."""
    path.write_text(text + "\n[population]\naccounts = 12\n")
    return path
