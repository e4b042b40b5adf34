"""Room that is kept for what lowers risk: cancels and reduce-only orders never wait behind others' new orders.

The inbound queue is what the journal has taken and not yet made durable. Clients' other commands are refused while the
last part of it (`Settings.reserved_ppm`) would be used; that part is for cancels, reduce-only orders and the venue's
own commands (marks, ticks, the fund's answers, cancel-on-disconnect).
"""

from typing import Any

import msgspec

from exchange.commands import PLACE_ORDER, CommandKind, OrderFlag, payload
from exchange.payloads import BidPortfolio

PPM = 1_000_000
CANCELS = frozenset(
    map(
        int,
        (
            CommandKind.CANCEL_ORDER, CommandKind.CANCEL_ALL, CommandKind.CANCEL_QUOTES,
            CommandKind.CLOSE_PORTFOLIO_OFFER,
        ),
    )
)  # fmt: skip
_FLAGS = (PLACE_ORDER.fields or {})["flags"][1]


def reduces_risk(command: bytes | bytearray) -> bool:
    """Whether a command is a cancel, places a reduce-only order, takes a bid for one's own portfolio or withdraws what
    one has bid for another's."""
    kind = int.from_bytes(command[:2], "little")
    if kind == CommandKind.BID_PORTFOLIO:
        return not msgspec.msgpack.decode(payload(command), type=BidPortfolio).price_units
    return kind in CANCELS or (kind == CommandKind.PLACE_ORDER and bool(command[_FLAGS] & OrderFlag.REDUCE_ONLY))


def has_room(sequencer: Any, command: bytes | bytearray, reserved_ppm: int) -> bool:
    """Whether a client's command may use the room that the journal has left (a journal without a bound has it)."""
    journal = getattr(sequencer, "journal", None)
    limit: int = getattr(journal, "pending_limit_bytes", 0)
    if not limit or journal.pending_bytes + len(command) <= limit - limit * reserved_ppm // PPM:
        return True
    return reduces_risk(command)
