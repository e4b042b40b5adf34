"""Faults of orders with terms and of cold commands that were found once; each test names what went wrong."""

import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderType
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import Driver, kinds, only, perpetual

NAME = "BTC-PERPETUAL"


def waiting() -> tuple[Driver, int, int]:
    """A venue where one stop order waits: (venue, account, order id)."""
    venue = Driver([perpetual()])
    venue.marks(100_000)
    alice = venue.account("alice", btc=10)
    terms = commands.order_terms(trigger_price_e8=110_000 * 10**8)
    placed = venue.place(alice, NAME, "buy", 0, 10, order_type=OrderType.STOP_MARKET, terms_slots=1, tail=terms)
    return venue, alice, only(placed, EventKind.TRIGGER_PLACED).order_id


@pytest.mark.parametrize("kind", [CommandKind.CANCEL_ORDER, CommandKind.EDIT_ORDER])
def test_account_0_owns_no_unknown_order_while_others_wait(kind: CommandKind) -> None:
    # the owner of an order that does not exist was 0: account 0 "owned" it, and the engine stopped
    venue, alice, order_id = waiting()
    rejected = {CommandKind.CANCEL_ORDER: EventKind.COMMAND_REJECTED, CommandKind.EDIT_ORDER: EventKind.ORDER_REJECTED}
    for account_id, number in ((0, order_id + 7), (0, order_id), (alice, order_id + 7)):
        found = venue.submit(commands.record(kind, account_id, order_id=number))
        assert kinds(found) == [rejected[kind]]
        assert found[0].reason in (Reason.UNKNOWN_ORDER, Reason.NOT_OWNER_OF_ORDER, Reason.UNKNOWN_ACCOUNT)
    cancelled = venue.submit(commands.record(CommandKind.CANCEL_ORDER, alice, order_id=order_id))
    assert kinds(cancelled) == [EventKind.ORDER_CANCELLED]
    venue.sound()


PAYLOADS = {
    CommandKind.KILL_SWITCH: payloads.KillSwitch("account", "ABCDEF"),
    CommandKind.PLACE_LINKED: payloads.PlaceLinked(1, 0, 3, (payloads.LinkedOrder(
        instrument=0, side=0, quantity_lots=1, label="ABCDEF"),) * 2),
    CommandKind.CREATE_ACCOUNT: config.CreateAccount("ABCDEF"),
    CommandKind.BLOCK_TRADE: payloads.BlockTrade(1, 1, 0, "ABCDEF", ()),
}  # fmt: skip


@pytest.mark.parametrize("kind", PAYLOADS)
def test_text_that_is_not_utf8_is_a_bad_payload(kind: CommandKind) -> None:
    # the decoder raises UnicodeDecodeError, which is no decode error of its own: the engine stopped
    venue, alice, _ = waiting()
    record = bytearray(commands.cold(kind, PAYLOADS[kind], alice))
    place = bytes(record).index(b"ABCDEF")
    record[place : place + 2] = b"\xbc\xe7"
    assert only(venue.submit(record), EventKind.COMMAND_REJECTED).reason == Reason.BAD_PAYLOAD
    venue.sound()
