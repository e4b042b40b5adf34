"""Isolated positions on a bare engine: modes, routing, collateral, margin."""

import msgspec
import pytest

from exchange import commands, config, payloads
from exchange.commands import CommandKind
from exchange.events import BalanceCause, EventKind, Level
from exchange.parameters import IsolatedParameters, LeverageTier
from exchange.reasons import Reason
from exchange.risk import isolated_prices
from margin_ext.models import isolated as library
from margin_ext.models.parameters_formula import IsolatedSet
from margin_ext.models.parameters_formula import LeverageTier as LibraryTier
from tests.driver import (
    COIN,
    DAY,
    SECOND,
    START_NS,
    USDC,
    Driver,
    future,
    kinds,
    linear_perpetual,
    make_config,
    only,
    option,
    perpetual,
)

BTC, LINEAR = "BTC-PERPETUAL", "BTC_USDC-PERPETUAL"
EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * SECOND
E8 = 10**8


@pytest.fixture
def venue():
    made = Driver([perpetual(), linear_perpetual(), future(EXPIRY), option(110_000, "call", EXPIRY)])
    made.maker = made.account("maker", btc=10_000, usdc=1_000_000_000)
    made.alice = made.account("alice", btc=10, usdc=1_000_000)
    made.marks(100_000)
    return made


def set_mode(venue, account, name=BTC, mode="isolated", leverage=10):
    payload = config.SetMarginMode(name, mode, round(leverage * 100) if mode == "isolated" else 0)
    return venue.cold(CommandKind.SET_MARGIN_MODE, payload, account)


def move(venue, account, amount, name=BTC):
    return venue.cold(CommandKind.MOVE_COLLATERAL, config.MoveCollateral(name, amount), account)


def cancel_all(venue, account):
    """CANCEL_ALL of everything that the account has open."""
    return venue.submit(
        commands.record(
            CommandKind.CANCEL_ALL,
            account,
            instrument=0xFFFFFFFF,
            currency=0xFFFF,
            instrument_kind=0xFF,
            order_type=0xFF,
            reason=60,
        )
    )


def refused(found):
    return Reason(only(found, EventKind.COMMAND_REJECTED).reason)


def bucket(venue, account, name=BTC):
    return next(b for b in venue.engine.buckets(account) if b.instrument == venue.slot(name))


def held(venue, account):
    return {p.instrument: p.quantity_lots for p in venue.engine.positions(account) if p.quantity_lots}


def test_orders_of_an_isolated_instrument_belong_to_the_bucket(venue) -> None:
    done = set_mode(venue, venue.alice)
    changed = only(done, EventKind.MARGIN_MODE_CHANGED)
    made = changed.bucket_account_id
    assert (changed.account_id, changed.instrument, changed.leverage_e2, changed.isolated) == (
        venue.alice, venue.slot(BTC), 1_000, 1,
    )  # fmt: skip
    before = venue.cash(venue.alice)
    found = venue.place(venue.alice, BTC, "buy", 200_000, 10_000)  # 100,000 USD: one coin at 10x
    assert only(found, EventKind.ORDER_ACCEPTED).account_id == made
    moved = [e for e in found if e.kind == EventKind.BALANCE_CHANGED]
    fee = COIN // 2_000
    assert [(e.account_id, e.amount_minor, e.cause, e.reference) for e in moved] == [
        (venue.alice, -(COIN // 10 + fee), BalanceCause.COLLATERAL, made),
        (made, COIN // 10 + fee, BalanceCause.COLLATERAL, venue.alice),
    ]
    assert venue.cash(venue.alice) == before - COIN // 10 - fee
    traded = venue.place(venue.maker, BTC, "sell", 200_000, 10_000)
    assert only(traded, EventKind.TRADE_EXECUTED).maker_account_id == made
    assert (held(venue, venue.alice), held(venue, made)) == ({}, {venue.slot(BTC): 10_000})
    view = bucket(venue, venue.alice)
    assert view.initial_margin_minor == COIN // 10
    assert view.equity_minor == COIN // 10  # the maker's fee is none: what was drawn for it went back
    assert view.maintenance_margin_minor == COIN // 200
    venue.sound()


def test_what_orders_drew_goes_back_with_them(venue) -> None:
    before = venue.cash(venue.alice)
    set_mode(venue, venue.alice)
    order = only(venue.place(venue.alice, BTC, "buy", 200_000, 10_000), EventKind.ORDER_ACCEPTED)
    ended = venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=order.order_id, reason=60))
    assert kinds(ended)[0] == EventKind.ORDER_CANCELLED
    assert venue.cash(venue.alice) == before
    # a market order is counted at its band; what the fill leaves over goes back at once
    venue.place(venue.maker, BTC, "sell", 200_000, 20_000)
    venue.place(venue.alice, BTC, "buy", 0, 10_000, order_type=1)
    assert bucket(venue, venue.alice).equity_minor == COIN // 10
    # so does what a second order drew, the position's own collateral stays
    second = only(venue.place(venue.alice, BTC, "buy", 199_000, 10_000), EventKind.ORDER_ACCEPTED)
    assert bucket(venue, venue.alice).equity_minor > COIN * 2 // 10 - 10
    edited = venue.submit(
        commands.record(
            CommandKind.EDIT_ORDER, venue.alice, order_id=second.order_id, price_units=199_000, quantity_lots=5_000
        )
    )
    assert only(edited, EventKind.ORDER_EDITED).remaining_lots == 5_000
    half = bucket(venue, venue.alice)
    assert COIN * 15 // 100 <= half.equity_minor == half.initial_margin_minor < COIN * 16 // 100
    done = cancel_all(venue, venue.alice)
    assert only(done, EventKind.COMMAND_DONE).count == 1
    assert bucket(venue, venue.alice).equity_minor == bucket(venue, venue.alice).initial_margin_minor == COIN // 10
    # closed: everything back, less the two taker fees
    venue.place(venue.maker, BTC, "buy", 200_000, 10_000)
    venue.place(venue.alice, BTC, "sell", 200_000, 10_000)
    assert venue.cash(venue.alice) == before - 2 * (COIN // 2_000)
    assert bucket(venue, venue.alice).collateral_minor == 0
    venue.sound()


def test_an_order_that_the_holder_cannot_fund_is_refused_and_nothing_moves(venue) -> None:
    poor = venue.account("poor", btc=0.05)
    set_mode(venue, poor)
    found = venue.place(poor, BTC, "buy", 200_000, 10_000)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    killed = venue.place(venue.alice, BTC, "buy", 200_000, 10, time_in_force=2)
    assert only(killed, EventKind.ORDER_REJECTED).reason == Reason.FILL_OR_KILL_UNFILLABLE
    set_mode(venue, venue.alice)
    killed = venue.place(venue.alice, BTC, "buy", 200_000, 10, time_in_force=2)
    assert kinds(killed) == [EventKind.ORDER_REJECTED]
    assert (venue.cash(poor), venue.cash(venue.alice)) == (COIN // 20, 10 * COIN)
    assert venue.engine.open_orders(venue.engine.bucket_of(venue.alice, venue.slot(BTC))) == []
    venue.sound()


def test_a_holder_in_use_keeps_its_own_margin(venue) -> None:
    """What the holder's other positions need is not given away."""
    bob = venue.account("bob", btc=1)
    set_mode(venue, bob)
    venue.trade(venue.maker, bob, f"BTC-{EXPIRY // DAY}", "buy", 200_000, 25_000)  # 2.5 coins
    spare = venue.view(bob).available_minor
    assert 0 < spare < COIN // 2
    found = venue.place(bob, BTC, "buy", 200_000, 10 * spare // (COIN // 10_000) + 100)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.NOT_ENOUGH_FUNDS
    assert kinds(venue.place(bob, BTC, "buy", 200_000, 9 * spare // (COIN // 10_000)))[-1] == EventKind.ORDER_ACCEPTED
    assert venue.view(bob).available_minor >= 0
    venue.sound()


def test_modes_change_only_while_nothing_is_open(venue) -> None:
    order = only(venue.place(venue.alice, BTC, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED)
    assert refused(set_mode(venue, venue.alice)) == Reason.MODE_IN_USE
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=order.order_id, reason=60))
    terms = commands.order_terms(trigger_price_e8=110_000 * E8)
    venue.place(venue.alice, BTC, "buy", 0, 10, order_type=4, terms_slots=1, tail=terms)
    assert refused(set_mode(venue, venue.alice)) == Reason.MODE_IN_USE
    cancel_all(venue, venue.alice)
    set_mode(venue, venue.alice)
    # a waiting order belongs to the bucket, and is cancelled by whom it came from
    placed = only(
        venue.place(venue.alice, BTC, "buy", 0, 10, order_type=4, terms_slots=1, tail=terms), EventKind.TRIGGER_PLACED
    )
    assert placed.account_id == bucket(venue, venue.alice).bucket_account_id
    assert refused(set_mode(venue, venue.alice, mode="cross")) == Reason.MODE_IN_USE
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=placed.order_id, reason=60))
    move(venue, venue.alice, COIN)
    back = set_mode(venue, venue.alice, mode="cross")
    assert only(back, EventKind.MARGIN_MODE_CHANGED).isolated == 0
    assert venue.cash(venue.alice) == 10 * COIN
    assert venue.engine.buckets(venue.alice) == []
    # the bucket is used again, for whatever comes next
    again = only(set_mode(venue, venue.alice, LINEAR), EventKind.MARGIN_MODE_CHANGED)
    assert again.bucket_account_id == placed.account_id
    assert only(set_mode(venue, venue.alice, BTC), EventKind.MARGIN_MODE_CHANGED).bucket_account_id > placed.account_id


def test_refusals(venue) -> None:
    call = f"BTC-{EXPIRY // DAY}-110000-C"
    assert refused(set_mode(venue, venue.alice, call)) == Reason.UNKNOWN_INSTRUMENT
    assert refused(set_mode(venue, venue.alice, "NONE")) == Reason.UNKNOWN_INSTRUMENT
    assert refused(set_mode(venue, 99)) == Reason.UNKNOWN_ACCOUNT
    assert refused(set_mode(venue, venue.alice, leverage=100.01)) == Reason.LEVERAGE_OUT_OF_RANGE
    assert refused(set_mode(venue, venue.alice, leverage=0.99)) == Reason.LEVERAGE_OUT_OF_RANGE
    assert refused(move(venue, venue.alice, COIN)) == Reason.NOT_ISOLATED
    assert only(set_mode(venue, venue.alice, mode="cross"), EventKind.COMMAND_DONE)
    set_mode(venue, venue.alice, leverage=100)
    assert refused(move(venue, venue.alice, 11 * COIN)) == Reason.NOT_ENOUGH_FUNDS
    assert refused(move(venue, venue.alice, 0)) == Reason.AMOUNT_NOT_POSITIVE
    assert refused(move(venue, venue.alice, 1 << 62)) == Reason.AMOUNT_TOO_LARGE
    assert refused(move(venue, venue.alice, -1)) == Reason.INSUFFICIENT_WITHDRAWABLE
    # nobody speaks for a bucket but its holder
    own = bucket(venue, venue.alice).bucket_account_id
    transfer = config.Transfer("BTC", 5)
    for kind in (CommandKind.DEPOSIT, CommandKind.WITHDRAW):
        assert refused(venue.cold(kind, transfer, own)) == Reason.UNKNOWN_ACCOUNT
    assert refused(venue.place(own, BTC, "buy", 190_000, 10)) == Reason.UNKNOWN_ACCOUNT
    order = only(venue.place(venue.alice, BTC, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED)
    stranger = venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.maker, order_id=order.order_id, reason=60))
    assert refused(stranger) == Reason.NOT_OWNER_OF_ORDER
    venue.sound()


def test_collateral_is_added_and_removed_down_to_initial_margin(venue) -> None:
    set_mode(venue, venue.alice, LINEAR, leverage=20)
    venue.trade(venue.maker, venue.alice, LINEAR, "sell", 1_000_000, 1_000)  # one coin
    before = bucket(venue, venue.alice, LINEAR)
    assert before.equity_minor == before.initial_margin_minor == 5_000 * USDC
    assert refused(move(venue, venue.alice, -1, LINEAR)) == Reason.INSUFFICIENT_WITHDRAWABLE
    assert only(move(venue, venue.alice, 700 * USDC, LINEAR), EventKind.COMMAND_DONE).detail == 700 * USDC
    after = bucket(venue, venue.alice, LINEAR)
    assert after.collateral_minor == before.collateral_minor + 700 * USDC
    assert after.liquidation_price_e8 > before.liquidation_price_e8
    short = only(move(venue, venue.alice, -701 * USDC, LINEAR), EventKind.COMMAND_REJECTED)
    assert (short.reason, short.detail) == (Reason.INSUFFICIENT_WITHDRAWABLE, 700 * USDC)
    assert only(move(venue, venue.alice, -700 * USDC, LINEAR), EventKind.COMMAND_DONE)
    assert bucket(venue, venue.alice, LINEAR) == before
    # collateral that the holder added stays when orders end
    move(venue, venue.alice, 300 * USDC, LINEAR)
    order = only(venue.place(venue.alice, LINEAR, "sell", 1_100_000, 1_000), EventKind.ORDER_ACCEPTED)
    venue.submit(commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=order.order_id, reason=60))
    assert bucket(venue, venue.alice, LINEAR).collateral_minor == before.collateral_minor + 300 * USDC
    venue.sound()


def test_another_leverage_draws_what_it_needs(venue) -> None:
    set_mode(venue, venue.alice, leverage=50)
    venue.trade(venue.maker, venue.alice, BTC, "buy", 200_000, 10_000)
    assert bucket(venue, venue.alice).initial_margin_minor == COIN // 50
    changed = set_mode(venue, venue.alice, leverage=5)
    assert [e.amount_minor for e in changed if e.kind == EventKind.BALANCE_CHANGED] == [
        -(COIN // 5 - COIN // 50), COIN // 5 - COIN // 50,
    ]  # fmt: skip
    assert bucket(venue, venue.alice).equity_minor == bucket(venue, venue.alice).initial_margin_minor == COIN // 5
    # less needs nothing: it can be taken out
    set_mode(venue, venue.alice, leverage=10)
    assert only(move(venue, venue.alice, -(COIN // 10)), EventKind.COMMAND_DONE)
    poor = venue.account("poor", btc=0.03)
    set_mode(venue, poor, leverage=50)
    venue.trade(venue.maker, poor, BTC, "buy", 200_000, 10_000)
    short = only(set_mode(venue, poor, leverage=10), EventKind.COMMAND_REJECTED)
    assert (short.reason, short.detail) == (Reason.NOT_ENOUGH_FUNDS, COIN // 10 - COIN // 50)
    assert bucket(venue, poor).leverage_e2 == 5_000
    venue.sound()


def test_losses_stay_in_the_bucket(venue) -> None:
    before = venue.view(venue.alice)
    set_mode(venue, venue.alice, leverage=50)
    venue.trade(venue.maker, venue.alice, BTC, "buy", 200_000, 10_000)
    paid = before.cash_minor - venue.cash(venue.alice)
    found = venue.marks(97_000)
    level = only(found, EventKind.LEVEL_CHANGED)
    assert (level.account_id, level.level) == (bucket(venue, venue.alice).bucket_account_id, Level.MAINTENANCE_BREACHED)
    view = venue.view(venue.alice)
    assert view.equity_minor == view.cash_minor == before.cash_minor - paid
    assert (view.initial_margin_minor, view.maintenance_margin_minor) == (0, 0)
    assert bucket(venue, venue.alice).equity_minor < 0


@pytest.mark.parametrize("name", [BTC, LINEAR])
@pytest.mark.parametrize("side", ["buy", "sell"])
@pytest.mark.parametrize("leverage", [3, 25])
def test_liquidation_and_bankruptcy_prices_are_where_levels_and_equity_turn(venue, name, side, leverage) -> None:
    set_mode(venue, venue.alice, name, leverage=leverage)
    units = 200_000 if name == BTC else 1_000_000
    venue.trade(venue.maker, venue.alice, name, side, units, 10_000 if name == BTC else 1_000)
    view = bucket(venue, venue.alice, name)
    long = side == "buy"
    steps = [("level", view.liquidation_price_e8), ("equity", view.bankruptcy_price_e8)]
    assert (steps[0][1] > steps[1][1]) == long
    for what, price_e8 in steps:
        for ratio, over in ((1.00002, False), (0.99998, True)):
            moved = price_e8 / E8 * (ratio if long else 2 - ratio)
            venue.marks(moved)
            venue.marks(moved)  # a jump is believed when confirmed
            now = bucket(venue, venue.alice, name)
            gone = now.level == Level.MAINTENANCE_BREACHED if what == "level" else now.equity_minor < 0
            assert gone == over, (what, ratio)


@pytest.mark.parametrize("inverse", [True, False])
@pytest.mark.parametrize("lots", [7, -7, 40_000, -40_000, 900_000, -900_000])
@pytest.mark.parametrize("share", [0.01, 0.2, 1.5])
def test_closed_forms_are_the_librarys(inverse, lots, share) -> None:
    tiers = IsolatedParameters().tiers
    entry, usd = 50_000.0, 10 * E8 if inverse else USDC
    scale = 10 * COIN if inverse else USDC // 1_000
    size = lots * (10 if inverse else 0.001)
    cost = round(-size / entry * COIN) if inverse else round(size * entry * USDC)
    collateral = round(share * abs(cost))
    unit = COIN if inverse else USDC
    parameters = IsolatedSet(name="same", tiers=tuple(LibraryTier(**msgspec.structs.asdict(t)) for t in tiers))
    bankrupt = library.bankruptcy_price(entry, size, collateral / unit, inverse) or 0.0
    liquidated = library.liquidation_price(entry, size, collateral / unit, inverse, parameters) or 0.0
    got = isolated_prices.bankruptcy_price_e8(inverse, lots, scale, cost, collateral)
    assert got / E8 == pytest.approx(bankrupt, rel=1e-6)
    got = isolated_prices.liquidation_price_e8(inverse, lots, scale, cost, collateral, tiers, usd)
    assert got / E8 == pytest.approx(liquidated, rel=1e-6)


def test_tiers_by_notional() -> None:
    tiers = (LeverageTier(0, 100_000, 50_000), LeverageTier(150_000, 250_000, 100_000))
    own = config.Underlying("BTC", "btc_usd", isolated=IsolatedParameters(tiers=tiers))
    made = Driver([perpetual(), linear_perpetual()], make_config(underlyings=(own,)))
    maker = made.account("maker", btc=10_000, usdc=100_000_000)
    alice = made.account("alice", btc=10, usdc=1_000_000)
    made.marks(100_000)
    assert refused(set_mode(made, alice, leverage=10.01)) == Reason.LEVERAGE_OUT_OF_RANGE
    for name, lots, units, coin in ((BTC, 10_000, 200_000, COIN), (LINEAR, 1_000, 1_000_000, 100_000 * USDC)):
        set_mode(made, alice, name)
        made.trade(maker, alice, name, "buy", units, lots)
        view = bucket(made, alice, name)
        assert (view.initial_margin_minor, view.maintenance_margin_minor) == (coin // 10, coin // 20)
        made.trade(maker, alice, name, "buy", units, lots)
        view = bucket(made, alice, name)
        # twice as much: a quarter of all, and a tenth less what keeps it continuous at 150,000
        assert view.initial_margin_minor == coin // 2
        assert view.maintenance_margin_minor == coin * 2 // 10 - coin * 75 // 1_000
        assert view.equity_minor == view.initial_margin_minor
    made.sound()


def test_an_expired_bucket_pays_out_and_is_free(venue) -> None:
    name = f"BTC-{EXPIRY // DAY}"
    set_mode(venue, venue.alice, name)
    venue.trade(venue.maker, venue.alice, name, "buy", 200_000, 10_000)
    own = bucket(venue, venue.alice, name).bucket_account_id
    while venue.now < EXPIRY:
        venue.tick(min(6 * DAY, EXPIRY - venue.now))
    venue.marks(100_000)
    found = venue.tick(SECOND)
    changed = only(found, EventKind.MARGIN_MODE_CHANGED)
    assert (changed.bucket_account_id, changed.isolated) == (own, 0)
    assert venue.engine.buckets(venue.alice) == []
    paid = [e for e in found if e.kind == EventKind.BALANCE_CHANGED and e.account_id == venue.alice]
    assert len(paid) == 1
    assert venue.cash(own) == 0
    delivery, taker = COIN * 150 // 10**6, COIN // 2_000
    assert venue.cash(venue.alice) == pytest.approx(10 * COIN - delivery - taker, abs=2)
    venue.sound()


def test_replay_reproduces_the_digest(venue) -> None:
    set_mode(venue, venue.alice)
    venue.trade(venue.maker, venue.alice, BTC, "buy", 200_000, 10_000)
    move(venue, venue.alice, COIN // 4)
    venue.place(venue.alice, BTC, "sell", 210_000, 4_000)
    venue.marks(98_000)
    again = type(venue.engine)()
    for record in venue.journal.records:
        again.apply(record)
    assert again.state_digest() == venue.engine.state_digest()
    assert again.audit() == []


def linked(venue, account, *names):
    orders = tuple(
        payloads.LinkedOrder(instrument=venue.slot(name), side=0, quantity_lots=100, price_units=190_000 - i)
        for i, name in enumerate(names)
    )
    return venue.cold(CommandKind.PLACE_LINKED, payloads.PlaceLinked(1, 0, 7, orders), account)


def test_linked_orders_are_of_one_position(venue) -> None:
    set_mode(venue, venue.alice)
    own = bucket(venue, venue.alice).bucket_account_id
    found = linked(venue, venue.alice, BTC, BTC)
    assert [e.account_id for e in found if e.kind == EventKind.ORDER_ACCEPTED] == [own, own]
    assert only(found, EventKind.COMMAND_DONE).account_id == venue.alice
    assert refused(linked(venue, venue.alice, BTC, f"BTC-{EXPIRY // DAY}")) == Reason.BAD_LINK
    assert venue.engine.open_orders(venue.alice) == []
    # one that cannot be had takes what the other drew with it
    cash = venue.cash(venue.alice)
    orders = (
        payloads.LinkedOrder(instrument=venue.slot(BTC), side=0, quantity_lots=1_000, price_units=190_000),
        payloads.LinkedOrder(instrument=venue.slot(BTC), side=0, quantity_lots=0, price_units=190_000),
    )
    found = venue.cold(CommandKind.PLACE_LINKED, payloads.PlaceLinked(1, 0, 7, orders), venue.alice)
    assert kinds(found)[-3:] == [EventKind.ORDER_REJECTED, EventKind.BALANCE_CHANGED, EventKind.BALANCE_CHANGED]
    assert venue.cash(venue.alice) == cash
    venue.sound()


def test_what_cannot_be_in_a_bucket_is_refused(venue) -> None:
    name = f"BTC-{EXPIRY // DAY}"
    legs = (config.Leg(name, 1), config.Leg(BTC, -1))
    spread = perpetual(
        "BTC-FS", kind="future_combo", legs=legs, zero_units=4_000_000, max_price_units=8_000_000, expiry_ns=EXPIRY
    )
    venue.cold(CommandKind.LIST_INSTRUMENTS, config.ListInstruments((spread,)))
    venue.marks(100_000)
    set_mode(venue, venue.alice)
    found = venue.place(venue.alice, "BTC-FS", "buy", 4_000_000, 10)
    assert only(found, EventKind.ORDER_REJECTED).reason == Reason.ISOLATED_POSITION
    venue.cold(
        CommandKind.SET_PROTECTION, payloads.Protection(underlying="BTC", group=1, interval_ns=SECOND), venue.alice
    )
    entry = commands.quote_entry(instrument=venue.slot(BTC), sides=1, bid_price_units=190_000, bid_lots=10)
    quoted = venue.submit(
        commands.record(CommandKind.MASS_QUOTE, venue.alice, entry, protection_group=1, quote_count=1, key_id=1)
    )
    assert only(quoted, EventKind.ORDER_REJECTED).reason == Reason.ISOLATED_POSITION
    leg = payloads.BlockLeg(venue.slot(BTC), 0, 200_000, 1_000)
    block = payloads.BlockTrade(venue.maker, venue.alice, venue.now // 10**6, "n", (leg,))
    assert refused(venue.cold(CommandKind.BLOCK_TRADE, block)) == Reason.ISOLATED_POSITION
    own = bucket(venue, venue.alice).bucket_account_id
    block = payloads.BlockTrade(venue.maker, own, venue.now // 10**6, "n", (leg,))
    assert refused(venue.cold(CommandKind.BLOCK_TRADE, block)) == Reason.UNKNOWN_ACCOUNT


def test_a_kill_switch_holds_an_account_with_its_buckets(venue) -> None:
    set_mode(venue, venue.alice)
    order = only(venue.place(venue.alice, BTC, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED)
    own = bucket(venue, venue.alice).bucket_account_id
    throw = payloads.KillSwitch(scope="account", target=str(venue.alice))
    found = venue.cold(CommandKind.KILL_SWITCH, throw)
    assert only(found, EventKind.ORDER_CANCELLED).order_id == order.order_id
    assert venue.cash(venue.alice) == 10 * COIN
    again = venue.place(venue.alice, BTC, "buy", 190_000, 10)
    assert only(again, EventKind.ORDER_REJECTED).reason == Reason.TRADING_STOPPED
    # a new bucket is held as well
    set_mode(venue, venue.alice, LINEAR)
    again = venue.place(venue.alice, LINEAR, "buy", 900_000, 10)
    assert only(again, EventKind.ORDER_REJECTED).reason == Reason.TRADING_STOPPED
    assert refused(venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch(scope="account", target=str(own)))) == (
        Reason.UNKNOWN_ACCOUNT
    )
    venue.cold(CommandKind.KILL_SWITCH, payloads.KillSwitch(scope="account", target=str(venue.alice), on=False))
    assert only(venue.place(venue.alice, BTC, "buy", 190_000, 10), EventKind.ORDER_ACCEPTED)
    venue.sound()


def test_self_trade_settings_reach_the_buckets(venue) -> None:
    set_mode(venue, venue.alice)
    venue.cold(CommandKind.SET_SELF_TRADE, config.SelfTrade("reject_taker", False), venue.alice)
    own = bucket(venue, venue.alice).bucket_account_id
    assert venue.engine.self_trade(own) == ("reject_taker", False)
    set_mode(venue, venue.alice, LINEAR)
    assert venue.engine.self_trade(bucket(venue, venue.alice, LINEAR).bucket_account_id) == ("reject_taker", False)


def test_an_accounts_buckets_are_limited() -> None:
    made = Driver(
        [perpetual(), linear_perpetual()], make_config(limits=config.Limits(max_isolated_positions=1, max_accounts=3))
    )
    made.marks(100_000)
    alice, bob = made.account("alice", btc=1), made.account("bob", btc=1)
    set_mode(made, alice)
    assert refused(set_mode(made, alice, LINEAR)) == Reason.LIMIT_REACHED
    assert refused(set_mode(made, bob)) == Reason.LIMIT_REACHED
    set_mode(made, alice, mode="cross")
    assert only(set_mode(made, alice, LINEAR), EventKind.MARGIN_MODE_CHANGED)
