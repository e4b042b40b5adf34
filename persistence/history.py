"""The history store: orders, trades, candles and transactions of a venue in SQLite, off the order path.

It is a projection of the journal and never the source of truth: it says how far it goes, takes durable events only,
and is thrown away and built again where it does not fit the journal beside it.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import deque
from pathlib import Path
from typing import Self

import msgspec

from exchange.commands import RECORD_VERSION
from persistence import history_auctions, history_transfers
from persistence import history_schema as schema
from persistence.history_notes import Frame
from persistence.history_rows import Rows
from persistence.history_spill import Spill
from persistence.journal_reader import read_batches

log = logging.getLogger("persistence.history")
FILE_NAME, SPILL_NAME = "history.sqlite", "history.spill"
VERSION = schema.SCHEMA_VERSION << 16 | RECORD_VERSION
QUEUE_BYTES = 16 << 20
BATCH_BYTES = 64 << 10
"""Of events per transaction: small ones keep the work between two yields short."""
LOCK_SECONDS = 60.0
"""How long the writer waits for somebody else who writes to the file (a tool, by hand)."""
YIELD_FRAMES, YIELD_ROWS = 16, 64
SHORTEST_PAUSE, LONGEST_PAUSE = 50e-6, 5e-3
LATE_SECONDS = 200e-6


class Pace:
    """Lets the loop go first: the writer pauses often, and for longer where it sees that others want to run.

    The interpreter runs one thread at a time, so a wait that ends late means that the loop is busy. The store then
    falls behind and catches up when there is time.
    """

    def __init__(self) -> None:
        self._pause = SHORTEST_PAUSE

    def rest(self) -> None:
        """Give the interpreter away for a moment."""
        started = time.monotonic()
        time.sleep(self._pause)
        late = time.monotonic() - started - self._pause > LATE_SECONDS
        self._pause = min(LONGEST_PAUSE, self._pause * 2) if late else max(SHORTEST_PAUSE, self._pause / 2)


def connect(path: Path) -> sqlite3.Connection:
    """A connection for reading beside the writer."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA query_only = 1")
    return connection


class History:
    """The store's writer: frames in, in order of seq; a thread turns them into rows. Open with `open`."""

    def __init__(self, path: Path, connection: sqlite3.Connection, rows: Rows, queue_bytes: int):
        self.path = path
        self._connection, self._rows = connection, rows
        self._queue_bytes, self._pace = queue_bytes, Pace()
        self._spill = Spill(path.with_name(SPILL_NAME))
        self._queue: deque[list[Frame]] = deque()
        self._bytes = 0
        self._busy = self._closing = False
        self.failure: BaseException | None = None
        self._changed = threading.Condition()
        self.covered = (self._rows.seq, self._rows.trade_id)
        """(seq, trade id) up to which rows are there to be read; replaced whole after each commit."""
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)
        self._thread.start()

    @classmethod
    def open(cls, folder: Path, journal: Path | None = None, queue_bytes: int = QUEUE_BYTES) -> Self:
        """The store in a folder, emptied where it is damaged, of another version or not of this journal."""
        path = folder / FILE_NAME
        found = _open_sound(path, journal)
        if found is None:
            for old in folder.glob(FILE_NAME + "*"):
                old.unlink()
            connection = _connect_writer(path)
            tables = f"{schema.SCHEMA} {history_auctions.SCHEMA} {history_transfers.SCHEMA}"
            connection.executescript(f"BEGIN; {tables} COMMIT")
            connection.execute("INSERT INTO meta VALUES (1, ?, 0, 0, 0)", (VERSION,))
            found = connection, Rows(connection)
        return cls(path, *found, queue_bytes)

    def offer(self, frames: list[Frame], wait: bool = False) -> None:
        """Hand over durable frames. Never blocks: what the queue cannot hold goes through a file.

        `wait` blocks instead until there is room (start-up, where nothing else is to be done).
        """
        size = sum(len(events) + len(notes) for _, events, notes in frames)
        with self._changed:
            if self.failure is not None or self._closing:
                return
            if wait:
                self._changed.wait_for(lambda: self.failure is not None or self._bytes < self._queue_bytes)
            if self._spill or self._bytes + size > self._queue_bytes:
                self._spill_or_fail(frames)
            else:
                self._queue.append(frames)
                self._bytes += size
            self._changed.notify_all()

    def _spill_or_fail(self, frames: list[Frame]) -> None:
        try:
            self._spill.add(frames)
        except OSError as error:
            self._fail(error)

    @property
    def behind(self) -> bool:
        """Whether something handed over is not yet to be read."""
        with self._changed:
            return self.failure is None and bool(self._queue or self._spill or self._busy)

    def drain(self, seconds: float = 60.0) -> bool:
        """Wait until everything handed over is to be read; False where that took too long or the store failed."""
        with self._changed:
            done = self._changed.wait_for(
                lambda: self.failure is not None or not (self._queue or self._spill or self._busy), seconds
            )
            return done and self.failure is None

    def close(self) -> None:
        """Write what was handed over and stop; what remains comes with the next replay."""
        if self._closing:
            return
        self.drain(10.0)
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(10.0)
        self._spill.close()
        self._connection.close()

    # the writer's thread

    def _run(self) -> None:
        try:
            while (frames := self._next()) is not None:
                self._write(frames)
        except (sqlite3.Error, msgspec.MsgspecError, OSError, LookupError, ValueError, ArithmeticError) as error:
            log.exception("the history store has stopped; the next start builds what is missing")
            with self._changed:
                self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self.failure = error
        self._queue.clear()
        self._busy = False
        self._changed.notify_all()

    def _next(self) -> list[Frame] | None:
        """The next frames to write, None at the end."""
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._queue or self._spill or self._closing)
            if self._closing:
                return None
            self._busy = True
            found: list[Frame] = []
            size = 0
            while self._queue and size < BATCH_BYTES:
                frames = self._queue.popleft()
                size += sum(len(events) + len(notes) for _, events, notes in frames)
                found += frames
            self._bytes -= size
            return found or self._spill.take()

    def _write(self, frames: list[Frame]) -> None:
        rows = self._rows
        for number, (seq, events, notes) in enumerate(frames):
            if seq > rows.seq:
                rows.apply(seq, events, notes)
            if number % YIELD_FRAMES == 0:
                self._pace.rest()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            for sql, values in rows.take():
                for start in range(0, len(values), YIELD_ROWS):
                    connection.executemany(sql, values[start : start + YIELD_ROWS])
                    self._pace.rest()
            connection.execute("COMMIT")
        except BaseException:
            with contextlib.suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise
        self.covered = (rows.seq, rows.trade_id)


def _connect_writer(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    connection.execute("PRAGMA journal_mode = WAL")
    # After a crash the last transactions may be missing, never half there: the replay brings them back.
    connection.execute("PRAGMA synchronous = NORMAL")
    return connection


def _open_sound(path: Path, journal: Path | None) -> tuple[sqlite3.Connection, Rows] | None:
    """The existing store where it can be used, else None."""
    if not path.exists():
        return None
    connection = None
    try:
        connection = _connect_writer(path)
        version, seq, time_ns = connection.execute("SELECT version, seq, time_ns FROM meta").fetchone()
        if version == VERSION and (not seq or journal is None or _journal_has(journal, seq, time_ns)):
            return connection, Rows(connection)
        log.warning("the history store at %s does not fit the journal: it is built again", path)
    except (sqlite3.Error, msgspec.MsgspecError, TypeError, ValueError, LookupError) as error:
        log.warning("the history store at %s cannot be used (%s): it is built again", path, error)
    if connection is not None:
        connection.close()
    return None


def _journal_has(journal: Path, seq: int, time_ns: int) -> bool:
    """Whether the journal holds a record of that seq and time."""
    for first_seq, _, slots in read_batches(journal, seq):
        found = int.from_bytes(slots[16:24].tobytes(), "little", signed=True)
        return first_seq == seq and found == time_ns
    return False
