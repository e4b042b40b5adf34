"""The core of a venue on its data directory: replay, engine, journal, sequencer; also for offline work."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np

from exchange import commands
from exchange.commands import RECORD_VERSION, SLOT_BYTES, CommandKind
from exchange.config import Config, ListingRule
from exchange.engine import LOGIC_VERSION, Engine, InvariantBroken
from exchange.ports import JournalFull
from exchange.reasons import Reason
from exchange.sequencer import Sequencer
from gateway.adaptive_replay import AdaptiveReplay
from gateway.feeds import ComposerTerms, SimParameters
from gateway.records import EventKind, decode
from persistence.data_dir import DataDirectory
from persistence.journal import Journal
from persistence.recovery import ReplayReport, replay

VENUE_FILE = "venue.json"
ADMIN_SOCKET = "admin.sock"
CURSOR_FILE = "fund.cursor"
Progress = Callable[[str], None]


class Refused(RuntimeError):
    """The engine refused a command that start-up depends on."""


class VenueError(RuntimeError):
    """The venue cannot start as asked; the message says what to do."""


class FeedRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What feeds a venue: written beside the journal at the first start, for a restart to go on with."""

    kind: str
    start_time_ns: int
    seed: int = 1
    speed: float = 1.0
    chain: str | None = None
    snapshot: str | None = None
    index: tuple[str, ...] = ()
    parameters: SimParameters | None = None
    """Of the simulation."""
    rules: tuple[ListingRule, ...] | None = None
    """Listing rules, None: the feed's own."""
    composer: ComposerTerms | None = None
    """Sources of the index, None: the feed's own alone."""


class VenueRecord(msgspec.Struct, kw_only=True):
    """The data directory's `venue.json`: nothing the engine's state depends on."""

    venue_id: str
    feed: FeedRecord
    populated: bool = False
    """Whether the first start ran to its end."""


def read_venue_record(root: Path) -> VenueRecord | None:
    """The record of a data directory, None where there is none yet."""
    try:
        return msgspec.json.decode((root / VENUE_FILE).read_bytes(), type=VenueRecord)
    except FileNotFoundError:
        return None
    except msgspec.DecodeError as error:
        raise VenueError(f"{root / VENUE_FILE} is damaged: {error}") from None


def write_venue_record(root: Path, record: VenueRecord) -> None:
    """Replace the record durably."""
    temporary = root / (VENUE_FILE + ".new")
    with open(temporary, "wb") as file:
        file.write(msgspec.json.format(msgspec.json.encode(record), indent=2) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(root / VENUE_FILE)
    descriptor = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)  # a record that fell back to "not populated" would begin the venue anew
    finally:
        os.close(descriptor)


def records_of(slots: np.ndarray) -> Iterator[memoryview]:
    """The single records of a journal batch."""
    view = memoryview(slots)
    offset = 0
    while offset < len(view):
        size = int.from_bytes(view[offset + 2 : offset + 4], "little") * SLOT_BYTES
        if size == 0:
            raise ValueError("a record without length")
        yield view[offset : offset + size]
        offset += size


def replay_into(
    engine: Engine,
    journal_directory: Path,
    progress: Progress = lambda text: None,
    on_events: Callable[[int, bytes], None] | None = None,
    events_from_seq: int = 1,
    follow: AdaptiveReplay | None = None,
) -> ReplayReport:
    """Apply a whole journal to a fresh engine; checkpoints are reproduced on the way.

    `on_events(seq, events)` sees the events of `events_from_seq` and later; `follow` the records that it wants, each
    before the next one is applied. Raises JournalError, JournalCorrupt, InvariantBroken.
    """
    applied = 0

    def apply(first_seq: int, epoch: int, slots: np.ndarray) -> None:
        nonlocal applied
        if on_events is None or first_seq + len(slots) // SLOT_BYTES <= events_from_seq:
            _apply_run(engine, slots, follow)
        else:
            engine.take_events()  # what apply_many left
            for record in records_of(slots):
                wanted = follow is not None and follow.wants(record)
                engine.apply(record)
                events = engine.take_events()
                if engine.seq >= events_from_seq:
                    on_events(engine.seq, events)
                if wanted and follow is not None:
                    follow.saw(record)
        if engine.seq - applied >= 50_000:
            applied = engine.seq
            progress(f"replaying the journal: {applied:,} commands")

    report = replay(journal_directory, apply, record_version=RECORD_VERSION, logic_version=LOGIC_VERSION)
    engine.take_events()
    return report


def _apply_run(engine: Engine, slots: np.ndarray, follow: AdaptiveReplay | None) -> None:
    """Apply a batch whose events nobody wants, in runs that end with what is to be followed."""
    start = end = 0
    if follow is not None:
        for record in records_of(slots):
            end += len(record)
            if follow.wants(record):
                engine.apply_many(slots[start:end])
                follow.saw(record)
                start = end
    if start < len(slots):
        engine.apply_many(slots[start:])


class Core:
    """A data directory held for writing, with its engine replayed and its journal open for more."""

    def __init__(
        self,
        directory: DataDirectory,
        engine: Engine,
        journal: Journal,
        clock: Callable[[], int],
        replayed: int,
    ):
        self.directory, self.engine, self.journal = directory, engine, journal
        self.sequencer = Sequencer(engine, journal, clock)
        self.replayed = replayed
        """Commands found in the journal."""

    @classmethod
    def open(
        cls,
        directory: DataDirectory,
        make_clock: Callable[[int], Callable[[], int]],
        *,
        durability: str = "fsync",
        progress: Progress = lambda text: None,
        on_events: Callable[[int, bytes], None] | None = None,
        events_from_seq: int = 1,
        engine: Engine | None = None,
        follow: AdaptiveReplay | None = None,
    ) -> Self:
        """Replay and open; `make_clock` is given the last venue time (0: none) and makes the clock.

        `engine`: a fresh one, for an `on_events` or a `follow` that asks it.
        """
        engine = engine or Engine()
        # Opening cuts a torn tail off first, so that replay and journal agree on where the venue stands.
        journal = Journal(directory.journal, RECORD_VERSION, LOGIC_VERSION, directory.epoch, durability=durability)
        try:
            report = replay_into(engine, directory.journal, progress, on_events, events_from_seq, follow)
            if report.last_seq != journal.appended_seq:
                raise VenueError(f"replay ended at seq {report.last_seq}, the journal is at {journal.appended_seq}")
            return cls(directory, engine, journal, make_clock(engine.time_ns), report.last_seq)
        except BaseException:
            journal.close()
            raise

    def submit(self, record: bytearray) -> bytes:
        """Apply a command now, waiting for the disk where the journal is full; returns its events."""
        while True:
            try:
                return self.sequencer.submit(record)
            except JournalFull:
                self.journal.sync()

    def demand(self, kind: CommandKind, payload: Any, account_id: int = 0) -> list[tuple[int, Any]]:
        """Apply a cold command that must not be refused; returns its events as (kind, fields)."""
        found = [(event, fields) for event, fields, _ in decode(self.submit(commands.cold(kind, payload, account_id)))]
        for event, fields in found:
            if event == EventKind.COMMAND_REJECTED:
                raise Refused(f"{kind.name} was refused: {Reason(fields.reason).name} ({fields.detail})")
        return found

    def genesis(self, config: Config) -> None:
        """Command 1."""
        self.demand(CommandKind.GENESIS, config)

    def close(self, checkpoint: bool = True) -> None:
        """Checkpoint, make everything durable, close the journal and give the directory back."""
        try:
            if checkpoint and self.engine.broken is None and self.engine.config is not None:
                self.sequencer.checkpoint()
        finally:
            try:
                self.journal.close()
            finally:
                self.directory.close()


__all__ = ["Core", "InvariantBroken", "Refused", "VenueError"]
