"""What the ledger's events ask of the insurance fund: operations, in order, until each is confirmed.

An operation's id is its place in the journal, so it may be done again in any life of the venue. At most
`IN_MEMORY` of them are held; while the fund is away longer, what comes after them waits in a spool file beside the
cursor. The spool needs no sync: like the queue itself it is made anew from the journal, behind the cursor.
"""

import logging
import os
import struct
from collections import deque
from pathlib import Path
from typing import IO, Any

import msgspec

from exchange.events import BalanceCause, EventKind

log = logging.getLogger("gateway.liquidator")
IN_MEMORY = 4_096
WARN_WAITING = 10_000
SPOOL_SUFFIX = ".spool"
KINDS = ("endow", "credit", "lease", "settle")
_SPOOLED = struct.Struct("<QIBxHqQ")
_WATCHED = frozenset(map(int, (EventKind.BALANCE_CHANGED, EventKind.AUCTION_LOT_SOLD))) | frozenset(
    map(int, (EventKind.FUND_LEASE_REQUESTED, EventKind.FUND_LEASE_SETTLED))
)


class Operation(msgspec.Struct, frozen=True):
    """One thing to do with the fund. Amounts in minor units; `amount_minor` is the event's."""

    seq: int
    place: int
    """Position of the event among those of its command."""
    kind: str
    currency: int
    amount_minor: int
    lease_id: int = 0

    @property
    def operation_id(self) -> str:
        """The same in every life of the venue."""
        return f"{self.seq}-{self.place}"


def operations(seq: int, facts: list[tuple[int, Any]]) -> list[Operation]:
    """What a command's events ask of the fund."""
    found = []
    for place, (kind, fields) in enumerate(facts):
        if kind not in _WATCHED:
            continue
        if kind == EventKind.FUND_LEASE_REQUESTED:
            found.append(Operation(seq, place, "lease", fields.currency, fields.amount_minor, fields.lease_id))
        elif kind == EventKind.FUND_LEASE_SETTLED:
            found.append(Operation(seq, place, "settle", fields.currency, fields.amount_minor, fields.lease_id))
        elif kind == EventKind.AUCTION_LOT_SOLD:
            if fields.fee_minor > 0:
                found.append(Operation(seq, place, "credit", fields.currency, fields.fee_minor))
        elif fields.account_id == 0 and fields.amount_minor > 0:
            if fields.cause == BalanceCause.FUND_ENDOWMENT:
                found.append(Operation(seq, place, "endow", fields.currency, fields.amount_minor))
            elif fields.cause == BalanceCause.DUST_SWEEP:
                found.append(Operation(seq, place, "credit", fields.currency, fields.amount_minor))
    return found


def read_cursor(path: Path) -> int:
    """The seq up to which every operation is confirmed; 0 where no file says so (then all are repeated)."""
    try:
        text = path.read_text()
    except FileNotFoundError:
        return 0
    return int(text) if text.endswith("\n") and text.strip().isdecimal() else 0


class Spool:
    """Operations on disk, first in, first out. OSError where the disk cannot take or give them."""

    def __init__(self, path: Path):
        self._path = path
        self._file: IO[bytes] | None = None
        self.count = 0
        self._read_at = 0
        path.unlink(missing_ok=True)

    def add(self, found: list[Operation]) -> None:
        """Append."""
        if self._file is None:
            self._file = open(self._path, "w+b")  # noqa: SIM115
        self._file.seek(0, os.SEEK_END)
        self._file.write(b"".join(map(_packed, found)))
        self._file.flush()
        self.count += len(found)

    def peek(self, most: int) -> list[Operation]:
        """The first ones."""
        if self._file is None:
            return []
        self._file.seek(self._read_at)
        data = self._file.read(min(most, self.count) * _SPOOLED.size)
        return [_unpacked(*fields) for fields in _SPOOLED.iter_unpack(data)]

    def take(self, most: int) -> list[Operation]:
        """Remove and return the first ones; the file goes when it is used up."""
        found = self.peek(most)
        self._read_at += len(found) * _SPOOLED.size
        self.count -= len(found)
        if self.count == 0:
            self.close()
        return found

    def close(self) -> None:
        """Remove the file."""
        if self._file is not None:
            self._file.close()
            self._path.unlink(missing_ok=True)
        self._file, self.count, self._read_at = None, 0, 0


def _packed(one: Operation) -> bytes:
    return _SPOOLED.pack(one.seq, one.place, KINDS.index(one.kind), one.currency, one.amount_minor, one.lease_id)


def _unpacked(seq: int, place: int, kind: int, currency: int, amount_minor: int, lease_id: int) -> Operation:
    return Operation(seq, place, KINDS[kind], currency, amount_minor, lease_id)


class FundQueue:
    """Operations behind the cursor. The owner says what is observed, what is durable, and what is done."""

    def __init__(self, cursor_file: Path, in_memory: int = IN_MEMORY):
        self._cursor_file, self._in_memory = cursor_file, in_memory
        self._memory: deque[Operation] = deque()
        self._spool = Spool(cursor_file.with_name(cursor_file.name + SPOOL_SUFFIX))
        self.cursor = read_cursor(cursor_file)
        self.last_seq = 0
        """Of the newest operation."""

    def __len__(self) -> int:
        """Operations not confirmed yet."""
        return len(self._memory) + self._spool.count

    @property
    def in_memory(self) -> int:
        """Those that are held in memory, at most `in_memory` of the constructor."""
        return len(self._memory)

    def observe_facts(self, seq: int, facts: list[tuple[int, Any]]) -> bool:
        """Take in one command's events; whether there was something in them."""
        found = operations(seq, facts)
        if not found:
            return False
        before = len(self)
        self.last_seq = seq
        room = self._in_memory - len(self._memory) if self._spool.count == 0 else 0
        self._memory.extend(found[:room])
        if found[room:]:
            self._spool.add(found[room:])
        if len(self) // WARN_WAITING > before // WARN_WAITING:
            log.warning("%d operations of the insurance fund wait", len(self))
        return True

    def first(self, most: int = 1) -> list[Operation]:
        """The oldest ones."""
        return [self._memory[place] for place in range(min(most, len(self._memory)))]

    def waiting(self, most: int) -> list[Operation]:
        """All of them in order, those on disk too, at most so many."""
        return [*self._memory, *self._spool.peek(max(0, most - len(self._memory)))][:most]

    def done(self) -> int:
        """Remove the oldest; the seq that is done with it as a whole, 0 where more of that command follows."""
        one = self._memory.popleft()
        if self._spool.count and len(self._memory) <= self._in_memory // 2:
            self._memory.extend(self._spool.take(self._in_memory - len(self._memory)))
        return 0 if self._memory and self._memory[0].seq == one.seq else one.seq

    def confirmed(self, seq: int) -> None:
        """Everything up to `seq` is done and its answers are durable."""
        self.cursor = seq
        temporary = self._cursor_file.with_name(self._cursor_file.name + ".new")
        temporary.write_text(f"{seq}\n")
        os.replace(temporary, self._cursor_file)

    def close(self) -> None:
        """Give the spool's file back; what waits is in the journal."""
        self._spool.close()
