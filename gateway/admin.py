"""The administration socket: a unix socket (mode 0600), one JSON object per line, answered in order.

Request `{"id": 1, "operation": "status", "params": {...}}`, answer `{"id": 1, "result": ...}` or
`{"id": 1, "error": {"reason", "message"}}`. Answers wait for durability like everything else that leaves.
"""

import asyncio
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from gateway import admin_accounts, admin_fund, admin_governance, admin_liquidation, admin_margin, admin_market
from gateway.admin_operations import OPERATIONS, AdminError

if TYPE_CHECKING:
    from gateway.gateway import Gateway

log = logging.getLogger("gateway.admin")
SOCKET_NAME = "admin.sock"
OPERATION_MODULES = (admin_accounts, admin_fund, admin_governance, admin_liquidation, admin_margin, admin_market)
MAX_LINE_BYTES = 8 * 1024 * 1024
MAX_CONNECTIONS = 32
MAX_PATH_BYTES = 107
"""What AF_UNIX carries on Linux."""


class Request(msgspec.Struct):
    """One line in."""

    operation: str
    id: int | str | None = None
    params: msgspec.Raw = msgspec.Raw(b"{}")


def check_path(path: Path) -> Path:
    """The path itself; ValueError where it is too long for a unix socket."""
    if len(os.fsencode(path)) > MAX_PATH_BYTES:
        raise ValueError(f"{path} is too long for a unix socket ({MAX_PATH_BYTES} bytes)")
    return path


class AdminServer:
    """Serves administration requests on a unix socket."""

    def __init__(self, gateway: "Gateway", path: Path | str):
        self._gateway, self.path = gateway, check_path(Path(path))
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Listen; a socket file left by a dead process is replaced."""
        self.path.unlink(missing_ok=True)
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listener.bind(str(self.path))
        finally:
            os.umask(mask)
        self._server = await asyncio.start_unix_server(self._accept, sock=listener, limit=MAX_LINE_BYTES)

    async def stop(self) -> None:
        """Stop listening and end open connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._tasks) >= MAX_CONNECTIONS:
            writer.close()
            return
        self._tasks.add(task)
        try:
            while line := await reader.readline():
                answer = self.handle(line)
                durable = asyncio.Event()
                self._gateway.sequencer.hold(durable.set)
                await durable.wait()
                writer.write(answer + b"\n")
                await writer.drain()
        except (ConnectionError, ValueError, asyncio.LimitOverrunError):
            log.info("administration connection ended early")
        except asyncio.CancelledError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    def handle(self, line: bytes) -> bytes:
        """The answer to one request line."""
        request_id: int | str | None = None
        try:
            request = msgspec.json.decode(line, type=Request)
            request_id = request.id
            found = OPERATIONS.get(request.operation)
            if found is None:
                raise AdminError("unknown_operation", f"no operation {request.operation!r}")
            kind, handler = found
            result = handler(self._gateway, msgspec.json.decode(request.params, type=kind))
        except (msgspec.DecodeError, RecursionError) as error:
            return _error(request_id, "bad_request", str(error))
        except AdminError as error:
            return _error(request_id, error.reason, error.message)
        except self._gateway.fatal_errors as error:
            self._gateway.fail(error)
            return _error(request_id, "engine_stopped", str(error))
        except Exception:
            log.exception("administration request failed")
            return _error(request_id, "internal_error", "see the log")
        return msgspec.json.encode({"id": request_id, "result": result})


def _error(request_id: int | str | None, reason: str, message: str) -> bytes:
    return msgspec.json.encode({"id": request_id, "error": {"reason": reason, "message": message}})


class AdminClient:
    """Blocking client of the administration socket, for the command line and tests."""

    def __init__(self, path: Path | str, timeout_seconds: float = 30.0):
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_seconds)
        try:
            self._socket.connect(str(check_path(Path(path))))
        except OSError:
            self._socket.close()
            raise
        self._reader = self._socket.makefile("rb")
        self._last_id = 0

    def call(self, operation: str, **params: Any) -> Any:
        """The result; AdminError where it is refused, ConnectionError where the venue went."""
        self._last_id += 1
        request = {"id": self._last_id, "operation": operation, "params": params}
        self._socket.sendall(msgspec.json.encode(request) + b"\n")
        line = self._reader.readline()
        if not line:
            raise ConnectionError("the venue closed the administration socket")
        answer = msgspec.json.decode(line)
        if "error" in answer:
            raise AdminError(answer["error"]["reason"], answer["error"]["message"])
        return answer["result"]

    def close(self) -> None:
        """End the connection."""
        self._reader.close()
        self._socket.close()

    def __enter__(self) -> "AdminClient":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
