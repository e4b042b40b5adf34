"""The auction state of an instrument and its uncrossing, against a naive search of the price."""

import random

import pytest

from exchange import commands, config
from exchange.commands import CommandKind, OrderFlag, OrderType, TimeInForce, TradeFlag
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.reasons import Reason
from tests.driver import SECOND, START_NS, Driver, kinds, only, patient, perpetual

NAME = "BTC-PERPETUAL"


@pytest.fixture
def venue():
    made = Driver([perpetual(fees=config.Fees(maker_ppm=100, taker_ppm=500))], patient())
    made.alice, made.bob, made.carol = (made.account(name, btc=50) for name in ("alice", "bob", "carol"))
    made.marks(100_000)
    return made


def state(venue, name, until_ns=0):
    return venue.cold(CommandKind.SET_INSTRUMENT_STATE, config.InstrumentState(NAME, name, until_ns))


def market(venue):
    return venue.engine.market(venue.slot(NAME))


def trades(found):
    return [
        (e.account_id, e.maker_account_id, e.price_units, e.quantity_lots)
        for e in found
        if e.kind == EventKind.TRADE_EXECUTED
    ]


def test_orders_gather_and_the_opening_trades_at_one_price(venue):
    state(venue, "auction")
    venue.place(venue.alice, NAME, "buy", 200_200, 10)
    venue.place(venue.bob, NAME, "sell", 199_800, 4)
    venue.place(venue.carol, NAME, "sell", 200_000, 3)
    venue.place(venue.bob, NAME, "sell", 200_100, 5)
    shown = market(venue)
    assert (shown.state, shown.best_bid_units, shown.best_ask_units) == ("auction", 200_200, 199_800)
    # 10 lots cross at 200,100 and above; surplus 2 sells from 200,100: the lowest
    assert (shown.indicative_price_units, shown.indicative_lots) == (200_100, 10)
    assert shown.last_price_units is None
    venue.sound()
    found = state(venue, "open")
    assert kinds(found) == [
        EventKind.INSTRUMENT_STATE_CHANGED, EventKind.AUCTION_UNCROSSED, *[EventKind.TRADE_EXECUTED] * 3,
        EventKind.COMMAND_DONE,
    ]  # fmt: skip
    said = found[1]
    assert (said.price_units, said.quantity_lots, said.surplus_lots) == (200_100, 10, -2)
    # best price first; the later order of a pair is the taker
    assert trades(found) == [
        (venue.bob, venue.alice, 200_100, 4), (venue.carol, venue.alice, 200_100, 3),
        (venue.bob, venue.alice, 200_100, 3),
    ]  # fmt: skip
    first = found[2]
    assert first.maker_flags & TradeFlag.UNCROSSED
    # both pay the maker's rate: 40 USD at 100,050 USD x 0.0001, in 1e-10 BTC, rounded up
    assert (first.maker_fee_minor, first.taker_fee_minor) == (400, 400)
    shown = market(venue)
    assert (shown.state, shown.last_price_units, shown.volume_lots) == ("open", 200_100, 10)
    assert (shown.indicative_price_units, shown.indicative_lots, shown.auction_until_ns) == (None, 0, 0)
    assert [o.remaining_lots for o in venue.engine.open_orders(venue.bob)] == [2]
    venue.sound()


def test_only_resting_limit_orders_are_taken(venue):
    resting = only(venue.place(venue.alice, NAME, "buy", 199_000, 5), EventKind.ORDER_ACCEPTED).order_id
    state(venue, "auction")
    for fields in (
        {"order_type": OrderType.MARKET}, {"order_type": OrderType.MARKET_LIMIT},
        {"time_in_force": TimeInForce.IMMEDIATE_OR_CANCEL}, {"time_in_force": TimeInForce.FILL_OR_KILL},
        {"flags": OrderFlag.POST_ONLY},
    ):  # fmt: skip
        price = 0 if "order_type" in fields else 200_000
        found = venue.place(venue.bob, NAME, "sell", price, 5, **fields)
        assert only(found, EventKind.ORDER_REJECTED).reason == Reason.AUCTION_ONLY
    for fields in ({}, {"time_in_force": TimeInForce.GOOD_TIL_DAY}):
        assert kinds(venue.place(venue.bob, NAME, "sell", 198_900, 5, **fields)) == [EventKind.ORDER_ACCEPTED]
    edit = {"order_id": resting, "quantity_lots": 8, "price_units": 200_100}
    refused = venue.submit(commands.record(CommandKind.EDIT_ORDER, venue.alice, flags=OrderFlag.POST_ONLY, **edit))
    assert only(refused, EventKind.ORDER_REJECTED).reason == Reason.AUCTION_ONLY
    assert kinds(venue.submit(commands.record(CommandKind.EDIT_ORDER, venue.alice, **edit))) == [EventKind.ORDER_EDITED]
    cancel = commands.record(CommandKind.CANCEL_ORDER, venue.alice, order_id=resting, reason=60)
    assert kinds(venue.submit(cancel)) == [EventKind.ORDER_CANCELLED]
    assert kinds(state(venue, "open")) == [EventKind.INSTRUMENT_STATE_CHANGED, EventKind.COMMAND_DONE]
    venue.sound()


def test_the_first_tick_at_the_time_given_ends_it(venue):
    state(venue, "auction", START_NS + 60 * SECOND)
    assert market(venue).auction_until_ns == START_NS + 60 * SECOND
    venue.place(venue.alice, NAME, "buy", 200_000, 5)
    venue.place(venue.bob, NAME, "sell", 200_000, 5)
    assert venue.tick(59 * SECOND) == []
    state(venue, "auction", START_NS + 120 * SECOND)
    assert venue.tick(5 * SECOND) == []
    found = venue.tick(56 * SECOND)
    assert kinds(found) == [
        EventKind.INSTRUMENT_STATE_CHANGED, EventKind.AUCTION_UNCROSSED, EventKind.TRADE_EXECUTED,
    ]  # fmt: skip
    assert (found[0].previous_state, found[0].state) == (6, 1)
    assert venue.tick(60 * SECOND) == []
    venue.sound()


def test_a_book_left_crossed_is_uncrossed_when_it_opens(venue):
    state(venue, "auction", START_NS + SECOND)
    venue.place(venue.alice, NAME, "buy", 200_100, 5)
    venue.place(venue.bob, NAME, "sell", 199_900, 5)
    assert kinds(state(venue, "halted")) == [EventKind.INSTRUMENT_STATE_CHANGED, EventKind.COMMAND_DONE]
    assert venue.tick(2 * SECOND) == []
    venue.marks(100_000)
    venue.sound()
    found = state(venue, "close_only")
    # one lot either way: nobody is left over, so the price nearest to the mark; both are as near: the lower
    assert trades(found) == [(venue.bob, venue.alice, 199_900, 5)]
    venue.sound()


def test_of_one_traders_orders_the_later_is_cancelled_and_the_rest_uncrosses_anew(venue):
    state(venue, "auction")
    venue.place(venue.alice, NAME, "sell", 199_900, 5)
    venue.place(venue.bob, NAME, "sell", 200_000, 5)
    venue.place(venue.alice, NAME, "buy", 200_200, 8)
    venue.place(venue.carol, NAME, "buy", 199_950, 3)
    assert market(venue).indicative_price_units == 200_000
    found = state(venue, "open")
    assert kinds(found) == [
        EventKind.INSTRUMENT_STATE_CHANGED, EventKind.ORDER_CANCELLED, EventKind.AUCTION_UNCROSSED,
        EventKind.TRADE_EXECUTED, EventKind.COMMAND_DONE,
    ]  # fmt: skip
    cancelled = found[1]
    assert (cancelled.account_id, cancelled.reason, cancelled.remaining_lots) == (venue.alice, Reason.SELF_TRADE, 8)
    assert (found[2].price_units, found[2].quantity_lots, found[2].surplus_lots) == (199_900, 3, -2)
    assert trades(found) == [(venue.carol, venue.alice, 199_900, 3)]
    venue.sound()


def test_reduce_only_orders_trade_their_position_at_most_and_end_without_one(venue):
    venue.trade(venue.bob, venue.alice, NAME, "buy", 200_000, 4)
    venue.place(venue.alice, NAME, "sell", 200_000, 4, flags=OrderFlag.REDUCE_ONLY)
    venue.place(venue.alice, NAME, "sell", 200_010, 4, flags=OrderFlag.REDUCE_ONLY)
    state(venue, "auction")
    venue.place(venue.carol, NAME, "buy", 200_020, 3)
    venue.place(venue.carol, NAME, "buy", 200_010, 20)
    found = state(venue, "open")
    assert [(k, r) for _, _, k, r in trades(found)] == [(200_010, 3), (200_010, 1)]
    assert only(found, EventKind.ORDER_CANCELLED).reason == Reason.REDUCE_ONLY_POSITION_GONE
    assert venue.engine.positions_room.lots(venue.alice, venue.slot(NAME)) == 0
    venue.sound()


def test_an_account_below_maintenance_does_not_trade_in_an_uncrossing(venue):
    dora = venue.account("dora", btc=0.02)
    venue.place(dora, NAME, "buy", 200_000, 800)
    state(venue, "auction")
    venue.place(venue.bob, NAME, "sell", 199_000, 900)
    venue.place(venue.carol, NAME, "buy", 199_000, 10)
    venue.marks(84_000)
    found = state(venue, "open")
    cancelled = only(found, EventKind.ORDER_CANCELLED)
    assert (cancelled.account_id, cancelled.reason) == (dora, Reason.MAINTENANCE_WOULD_BREACH)
    assert trades(found) == [(venue.carol, venue.bob, 199_000, 10)]
    venue.sound()


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (config.InstrumentState("NONE", "auction"), Reason.UNKNOWN_INSTRUMENT),
        (config.InstrumentState(NAME, "auction", -1), Reason.BAD_PAYLOAD),
        (config.InstrumentState(NAME, "auction", 1 << 62), Reason.BAD_PAYLOAD),
        (config.InstrumentState(NAME, "halted", 5), Reason.BAD_PAYLOAD),
        ({"name": NAME, "state": "settled"}, Reason.BAD_PAYLOAD),
        ({"name": NAME, "state": "auction", "until_ns": 1 << 63}, Reason.BAD_PAYLOAD),
    ],
)
def test_states_that_are_refused(venue, payload, reason):
    assert only(venue.cold(CommandKind.SET_INSTRUMENT_STATE, payload), EventKind.COMMAND_REJECTED).reason == reason
    assert market(venue).state == "open"


def naive(buys, sells, mark_units):
    """The rule word for word over [(price, lots)]."""
    rows = []
    for price in sorted({p for p, _ in buys + sells}):
        demand = sum(lots for p, lots in buys if p >= price)
        supply = sum(lots for p, lots in sells if p <= price)
        rows.append((min(demand, supply), demand - supply, price))
    most = max(lots for lots, _, _ in rows)
    if most == 0:
        return None
    rows = [(surplus, price) for lots, surplus, price in rows if lots == most]
    least = min(abs(surplus) for surplus, _ in rows)
    rows = [(surplus, price) for surplus, price in rows if abs(surplus) == least]
    if all(surplus > 0 for surplus, _ in rows):
        return max(price for _, price in rows), most
    if all(surplus < 0 for surplus, _ in rows):
        return min(price for _, price in rows), most
    return min((abs(price - mark_units), price) for _, price in rows)[1], most


@pytest.mark.parametrize("seed", range(12))
def test_random_auctions_find_the_price_of_the_rule_and_replay_to_the_same_state(venue, seed):
    rng = random.Random(seed)
    for _ in range(6):
        state(venue, "auction")
        for _ in range(rng.randrange(2, 25)):
            account = rng.choice([venue.alice, venue.bob, venue.carol])
            side = rng.choice(["buy", "sell"])
            flags = rng.choice([0, 0, 0, OrderFlag.REDUCE_ONLY])
            venue.place(account, NAME, side, 200_000 + rng.randrange(-8, 9), rng.randrange(1, 9), flags=flags)
        book = [
            [
                (o.price_units, o.remaining_lots)
                for a in (1, 2, 3)
                for o in venue.engine.open_orders(a)
                if o.side == side
            ]
            for side in (0, 1)
        ]
        shown = market(venue)
        if all(book):
            expected = naive(*book, shown.mark_price_e8 // 50_000_000)
            found = None if expected is None else (shown.indicative_price_units, shown.indicative_lots)
            assert found == expected
        found = state(venue, "open")
        traded = [e for e in found if e.kind == EventKind.TRADE_EXECUTED]
        said = [e for e in found if e.kind == EventKind.AUCTION_UNCROSSED]
        assert len(said) == len({e.price_units for e in traded}) or not traded
        venue.sound()
    twin = Engine()
    twin.apply_many(b"".join(venue.journal.records))
    assert twin.state_digest() == venue.engine.state_digest()


def test_what_icebergs_hide_crosses_too_and_their_tranches_take_turns(venue):
    state(venue, "auction")
    terms = commands.order_terms(display_lots=2)
    fields = {"instrument": venue.slot(NAME), "price_units": 200_000, "terms_slots": 1, "tail": terms}
    venue.submit(commands.record(CommandKind.PLACE_ORDER, venue.alice, side=0, quantity_lots=6, **fields))
    venue.place(venue.carol, NAME, "buy", 200_000, 3)
    venue.submit(commands.record(CommandKind.PLACE_ORDER, venue.bob, side=1, quantity_lots=8, **fields))
    shown = market(venue)
    assert (shown.best_bid_lots, shown.best_ask_lots) == (5, 2)
    assert (shown.indicative_price_units, shown.indicative_lots) == (200_000, 8)
    venue.sound()
    found = state(venue, "open")
    assert only(found, EventKind.AUCTION_UNCROSSED).surplus_lots == 1
    # alice's tranche of two, carol, alice again: bob is the later order against both
    assert [(maker, lots) for _, maker, _, lots in trades(found)] == [
        (venue.alice, 2), (venue.carol, 2), (venue.carol, 1), (venue.alice, 1), (venue.alice, 1), (venue.alice, 1),
    ]  # fmt: skip
    assert [o.remaining_lots for o in venue.engine.open_orders(venue.alice)] == [1]
    assert venue.engine.open_orders(venue.bob) == []
    venue.sound()
