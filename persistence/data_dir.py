"""The data directory of one venue: layout, the one lock, and the epoch that fences a stale process."""

from __future__ import annotations

import fcntl
import os
from os import PathLike
from pathlib import Path
from typing import Self

from persistence.errors import DataDirectoryError

_MODE = 0o700


class DataDirectory:
    """A venue's directory, open for writing by this process alone.

        lock         flock is held on it; its text is the holder's pid
        epoch        a decimal number, one higher at every opening for writing
        journal/     segments
        snapshots/   engine snapshots
        history/     the projection of events
        redis/       the embedded server's append-only files

    Everything is private to the user (0700). Use open() and close(), or a with statement; the lock goes with
    the process, however it ends. DataDirectoryError says "held by pid N" when another process has it.
    """

    def __init__(self, path: Path, lock_fd: int, epoch: int) -> None:
        self.path = path
        self.epoch = epoch
        self._lock_fd = lock_fd

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def snapshots(self) -> Path:
        return self.path / "snapshots"

    @property
    def history(self) -> Path:
        return self.path / "history"

    @property
    def redis(self) -> Path:
        return self.path / "redis"

    @classmethod
    def open(cls, path: str | PathLike[str]) -> Self:
        """Lay the directory out if it is new, take the lock, raise the epoch durably."""
        root = Path(path).absolute()
        try:
            root.mkdir(mode=_MODE, parents=True, exist_ok=True)
            root.chmod(_MODE)
            lock_fd = _take_lock(root)
            try:
                directory = cls(root, lock_fd, read_epoch(root) + 1)
                for part in (directory.journal, directory.snapshots, directory.history, directory.redis):
                    part.mkdir(mode=_MODE, exist_ok=True)
                _write_durably(root / "epoch", f"{directory.epoch}\n")
            except BaseException:
                os.close(lock_fd)
                raise
        except OSError as error:
            raise DataDirectoryError(f"cannot use {root} as a data directory: {error}") from error
        return directory

    def close(self) -> None:
        """Give the lock back. Close the journal and stop the embedded server before this."""
        if self._lock_fd >= 0:
            os.close(self._lock_fd)
            self._lock_fd = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


def read_epoch(root: str | PathLike[str]) -> int:
    """The epoch of the last opening for writing, 0 where there was none. Takes no lock."""
    path = Path(root) / "epoch"
    try:
        text = path.read_text()
    except FileNotFoundError:
        return 0
    if not (text.endswith("\n") and text.strip().isdecimal()):
        raise DataDirectoryError(f"{path} does not hold an epoch: {text!r}")
    return int(text)


def _take_lock(root: Path) -> int:
    fd = os.open(root / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(fd, 32, 0).decode(errors="replace").strip() or "unknown"
        os.close(fd)
        raise DataDirectoryError(f"{root} is held by pid {holder}") from None
    except BaseException:
        os.close(fd)
        raise
    os.ftruncate(fd, 0)
    os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
    return fd


def _write_durably(path: Path, text: str) -> None:
    """Replace a file so that after a crash it holds the old text or the new, never less."""
    temporary = path.with_name(path.name + ".tmp")
    with open(temporary, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory_fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory_fd)
    finally:
        os.close(directory_fd)
