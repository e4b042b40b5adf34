from os import PathLike
from typing import Self

from typing_extensions import Buffer

from persistence.errors import JournalCorrupt as JournalCorrupt
from persistence.errors import JournalError as JournalError
from persistence.errors import JournalFull as JournalFull
from persistence.journal_reader import read_batches as read_batches

DEFAULT_SEGMENT_BYTES: int
FIRST_SEGMENT_BYTES: int
PENDING_LIMIT_BYTES: int

class Journal:
    appended_seq: int
    durable_seq: int
    in_flight: bool
    directory: str
    def __init__(
        self,
        directory: str | PathLike[str],
        record_version: int,
        logic_version: int,
        epoch: int,
        durability: str = "fsync",
        segment_bytes: int = ...,
        *,
        first_segment_bytes: int | None = None,
        pending_limit_bytes: int = ...,
        first_seq: int = 1,
    ) -> None: ...
    @classmethod
    def open(cls, *args: object, **kwargs: object) -> Self: ...
    def append(self, records: Buffer) -> int: ...
    def kick(self) -> bool: ...
    def on_durable(self) -> int: ...
    def sync(self) -> int: ...
    def fileno(self) -> int: ...
    @property
    def pending_bytes(self) -> int: ...
    @property
    def pending_limit_bytes(self) -> int: ...
    @property
    def epoch(self) -> int: ...
    def figures(self) -> dict[str, int]: ...
    def close(self) -> None: ...
    def __enter__(self) -> Self: ...
    def __exit__(self, *exc_info: object) -> None: ...
