"""The kill switch: what it stops, what it cancels, how switches overlap."""

import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind, OrderType, TimeInForce
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import SECOND, START_NS, Driver, kinds, make_config, only, perpetual
from tests.unit.test_liquidation import bid, leveraged, run

NAME, ETH = "BTC-PERPETUAL", "ETH-PERPETUAL"
OPERATOR = 0


@pytest.fixture
def venue():
    settings = make_config(
        currencies=(
            config.Currency("BTC", 10, underlying="BTC"),
            config.Currency("USDC", 6),
            config.Currency("ETH", 10, underlying="ETH"),
        ),
        underlyings=(config.Underlying("BTC", "btc_usd"), config.Underlying("ETH", "eth_usd")),
    )
    made = Driver([perpetual(), perpetual(ETH, underlying="ETH", settlement="ETH")], settings)
    made.alice = made.account("alice", btc=50)
    made.twin = made.account("alice2", btc=50, owner=made.alice)
    made.bob = made.account("bob", btc=50)
    for account in (made.alice, made.twin, made.bob):
        made.cold(CommandKind.DEPOSIT, config.Transfer("ETH", 500 * 10**10), account)
    made.marks(100_000)
    made.submit(commands.update_marks(1, 100_000 * 10**8, made.now, [], []))
    return made


def switch(venue, scope, target="", on=True, cancel=True):
    return venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch(scope, str(target), on, cancel))


def stop(venue, account, name=NAME):
    terms = commands.order_terms(trigger_price_e8=98_000 * 10**8)
    fields = {"order_type": OrderType.STOP_MARKET, "terms_slots": 1, "quantity_lots": 5, "side": 1}
    return venue.submit(
        commands.record(CommandKind.PLACE_ORDER, account, tail=terms, instrument=venue.slot(name), **fields)
    )


def reason_of_order(venue, account, name=NAME):
    """Why a harmless order is refused; None where it is taken (and taken away again)."""
    found = venue.place(account, name, "buy", 180_000, 1)
    if found[0].kind == EventKind.ORDER_REJECTED:
        return found[0].reason
    order_id = only(found, EventKind.ORDER_ACCEPTED).order_id
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, account, order_id=order_id, reason=60))
    return None


@pytest.mark.parametrize(
    ("scope", "target", "stopped"),
    [
        ("venue", "", {(a, n) for a in (1, 2, 3) for n in (NAME, ETH)}),
        ("underlying", "ETH", {(a, ETH) for a in (1, 2, 3)}),
        ("owner", 1, {(a, n) for a in (1, 2) for n in (NAME, ETH)}),
        ("account", 2, {(2, NAME), (2, ETH)}),
    ],
)
def test_nothing_of_the_scope_is_taken_and_its_orders_end(venue, scope, target, stopped):
    for account in (1, 2, 3):
        for name in (NAME, ETH):
            stop(venue, account, name)
            venue.place(account, name, "buy", 190_000, 5)
            venue.place(account, name, "sell", 210_000, 5)
    found = switch(venue, scope, target)
    said = only(found, EventKind.TRADING_STOPPED)
    assert (said.on, said.cancelled) == (1, 3 * len(stopped))
    assert found[0].kind == EventKind.TRADING_STOPPED
    ended = [e for e in found if e.kind == EventKind.ORDER_CANCELLED]
    assert {e.reason for e in ended} == {Reason.KILL_SWITCH}
    assert [e.account_id for e in ended] == sorted(e.account_id for e in ended)
    for account in (1, 2, 3):
        for name in (NAME, ETH):
            expected = Reason.TRADING_STOPPED if (account, name) in stopped else None
            assert reason_of_order(venue, account, name) == expected
            slot = venue.slot(name)
            left = len(venue.engine.open_orders(account, slot)) + len(venue.engine.trigger_orders(account, slot))
            assert left == (0 if expected else 3)
    assert only(stop(venue, *min(stopped)), EventKind.ORDER_REJECTED).reason == Reason.TRADING_STOPPED
    venue.sound()
    assert only(switch(venue, scope, target, on=False), EventKind.TRADING_STOPPED).on == 0
    assert all(reason_of_order(venue, account, name) is None for account, name in stopped)
    venue.sound()


def test_an_owner_is_stopped_with_accounts_yet_to_come(venue):
    switch(venue, "owner", venue.alice)
    later = venue.account("alice3", btc=5, owner=venue.alice)
    assert reason_of_order(venue, later) == Reason.TRADING_STOPPED
    switch(venue, "owner", 77)
    assert reason_of_order(venue, venue.account("owned", btc=5, owner=77)) == Reason.TRADING_STOPPED
    venue.sound()


def test_switches_overlap_and_each_is_released_by_itself(venue):
    for scope, target in (("owner", venue.alice), ("account", venue.alice), ("venue", ""), ("underlying", "BTC")):
        switch(venue, scope, target)
    for scope, target in (("venue", ""), ("account", venue.alice), ("underlying", "BTC")):
        switch(venue, scope, target, on=False)
        assert reason_of_order(venue, venue.alice) == Reason.TRADING_STOPPED
    switch(venue, "owner", venue.alice, on=False)
    switch(venue, "owner", venue.alice, on=False)
    assert reason_of_order(venue, venue.alice) is None
    assert venue.engine.switches.on() == []
    venue.sound()


def test_cancels_are_taken_and_what_rests_is_cancelled_instead_of_filled(venue):
    first, second = (
        only(venue.place(venue.bob, NAME, "sell", price, 5), EventKind.ORDER_ACCEPTED).order_id
        for price in (200_000, 200_010)
    )
    venue.place(venue.twin, NAME, "sell", 200_020, 5)
    venue.place(venue.twin, NAME, "sell", 200_030, 5)
    assert only(switch(venue, "account", venue.bob, cancel=False), EventKind.TRADING_STOPPED).cancelled == 0
    edit = commands.record(CommandKind.EDIT_ORDER, venue.bob, order_id=second, price_units=200_000, quantity_lots=5)
    assert only(venue.submit(edit), EventKind.ORDER_REJECTED).reason == Reason.TRADING_STOPPED
    cancel = commands.record(CommandKind.CANCEL_ORDER, venue.bob, order_id=first, reason=60)
    assert kinds(venue.submit(cancel)) == [EventKind.ORDER_CANCELLED]
    carol = venue.account("carol", btc=50)
    # fill or kill does not count on what is stopped
    found = venue.place(carol, NAME, "buy", 200_020, 10, time_in_force=TimeInForce.FILL_OR_KILL)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    found = venue.place(carol, NAME, "buy", 200_030, 10, time_in_force=TimeInForce.FILL_OR_KILL)
    cancelled = only(found, EventKind.ORDER_CANCELLED)
    assert (cancelled.order_id, cancelled.reason) == (second, Reason.KILL_SWITCH)
    assert sum(e.quantity_lots for e in found if e.kind == EventKind.TRADE_EXECUTED) == 10
    venue.sound()


def test_a_large_scope_is_cancelled_over_ticks_and_no_longer_when_released(venue):
    for account in (venue.alice, venue.twin):
        for number in range(3_000):
            venue.place(account, NAME, "buy", 180_000 + number % 7, 1)
    stop(venue, venue.alice)
    found = switch(venue, "owner", venue.alice)
    assert only(found, EventKind.TRADING_STOPPED).cancelled == 4_096
    assert kinds(found).count(EventKind.ORDER_CANCELLED) == 4_096
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()
    assert twin.kill_switch.export() == [[2, venue.alice, venue.twin]]
    assert len(venue.engine.open_orders(venue.twin)) == 1_905
    found = venue.tick()
    assert kinds(found) == [EventKind.ORDER_CANCELLED] * 1_905
    assert [e.order_id for e in found] == sorted(e.order_id for e in found)
    assert venue.tick() == []
    switch(venue, "owner", venue.alice, on=False)
    for number in range(4_200):
        venue.place(venue.alice, NAME, "buy", 180_000 + number % 7, 1)
    switch(venue, "venue")
    switch(venue, "venue", on=False)
    assert venue.tick() == []
    assert len(venue.engine.open_orders(venue.alice)) == 104
    venue.sound()


def test_a_stopped_auction_waits_and_a_stopped_accounts_orders_do_not_cross(venue):
    state = CommandKind.SET_INSTRUMENT_STATE
    venue.cold(state, config.InstrumentState(NAME, "auction", START_NS + SECOND))
    venue.place(venue.alice, NAME, "buy", 200_100, 5)
    venue.place(venue.bob, NAME, "sell", 199_900, 5)
    venue.place(venue.twin, NAME, "buy", 199_900, 5)
    for scope, target in (("venue", ""), ("underlying", "BTC")):
        switch(venue, scope, target, cancel=False)
        assert venue.tick(2 * SECOND) == []
        refused = venue.cold(state, config.InstrumentState(NAME, "open"))
        assert only(refused, EventKind.COMMAND_REJECTED).reason == Reason.TRADING_STOPPED
        switch(venue, scope, target, on=False)
    switch(venue, "account", venue.alice, cancel=False)
    found = venue.tick()
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.KILL_SWITCH
    assert only(found, EventKind.TRADE_EXECUTED).account_id == venue.twin
    venue.sound()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (("venue", "BTC"), Reason.BAD_PAYLOAD),
        (("underlying", "DOGE"), Reason.UNKNOWN_UNDERLYING),
        (("account", "99"), Reason.UNKNOWN_ACCOUNT),
        (("account", "4294967297"), Reason.BAD_PAYLOAD),
        (("account", ""), Reason.BAD_PAYLOAD),
        (("account", "-1"), Reason.BAD_PAYLOAD),
        (("owner", "0"), Reason.BAD_PAYLOAD),
        (("owner", "²"), Reason.BAD_PAYLOAD),
        (("owner", "9" * 5_000), Reason.BAD_PAYLOAD),
        (("instrument", NAME), Reason.BAD_PAYLOAD),
    ],
)
def test_switches_that_do_not_exist(venue, payload, reason):
    before = venue.engine.switches.export()
    assert only(switch(venue, *payload), EventKind.COMMAND_REJECTED).reason == reason
    assert venue.engine.switches.export() == before


def test_a_liquidation_stands_still_while_nobody_may_bid():
    venue, alice, _, carol = leveraged()
    venue.marks(88_500)
    venue.tick()
    auction = venue.engine.auctions()[0]
    switch(venue, "account", carol)
    assert only(bid(venue, carol, auction), EventKind.BID_REJECTED).reason == Reason.TRADING_STOPPED
    switch(venue, "account", carol, on=False)
    switch(venue, "underlying", "BTC")
    assert only(bid(venue, carol, auction), EventKind.BID_REJECTED).reason == Reason.TRADING_STOPPED
    run(venue, 30, 88_500)
    held = venue.engine.auctions()[0]
    assert (held.reason, held.price_minor) == (Reason.TRADING_STOPPED, auction.price_minor)
    switch(venue, "underlying", "BTC", on=False)
    # a bid that stands when its account is stopped is not filled
    assert only(bid(venue, carol, held), EventKind.BID_ACCEPTED).account_id == carol
    switch(venue, "account", carol)
    found = run(venue, 2, 88_500)
    assert only(found, EventKind.BID_REJECTED).reason == Reason.TRADING_STOPPED
    assert EventKind.AUCTION_LOT_SOLD not in kinds(found)
    switch(venue, "account", carol, on=False)
    bid(venue, carol, venue.engine.auctions()[0], limit=10**12)
    assert EventKind.AUCTION_LOT_SOLD in kinds(run(venue, 2, 88_500))
    assert venue.engine.positions_room.lots(alice, venue.slot(NAME)) < 45_000
    venue.sound()
