"""Open orders against brute force: after any subset of fills at their limits the excess is no less than it was with all
orders counted as open. Every subset is really traded, in an engine of its own, the orders outside it cancelled.
"""

from itertools import chain, combinations
from typing import NamedTuple

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from exchange.config import Config, Currency, Fees, Instrument, Limits, Underlying
from exchange.engine import Engine
from exchange.events import EventKind
from exchange.parameters import MatrixParameters
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only

MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")
EXPIRY_NS = world.START_NS + 30 * world.DAY_NS
LATER_NS = world.START_NS + 60 * world.DAY_NS
INDEX = {0: 90_000.0, 1: 3_000.0}
FEES = Fees(maker_ppm=500, taker_ppm=500)  # what a resting order pays is what was counted
HELD, RICH, SIBLING = 1, 2, 3


def _future(name: str, underlying: str, linear: bool, expiry_ns: int = 0) -> Instrument:
    lot_e8 = (10**6 if underlying == "BTC" else 5 * 10**7) if linear else 10**11
    return Instrument(
        name=name, kind="future" if expiry_ns else "perpetual", expiry_ns=expiry_ns, underlying=underlying,
        settlement="USDC" if linear else underlying, inverse=not linear, price_unit_e8=10**8, lot_size_e8=lot_e8,
        fees=FEES,
    )  # fmt: skip


def _option(strike: int, option_type: str, linear: bool, underlying: str = "BTC") -> Instrument:
    return Instrument(
        name=f"{underlying}{'_USDC' if linear else ''}-{strike}-{option_type}", kind="option", underlying=underlying,
        settlement="USDC" if linear else underlying, inverse=not linear, price_unit_e8=10**8 if linear else 10**4,
        lot_size_e8=10**6 if underlying == "BTC" else 3 * 10**7, expiry_ns=EXPIRY_NS, strike_e8=strike * 10**8,
        option_type=option_type,
        max_price_units=200_000, fees=FEES,
    )  # fmt: skip


INSTRUMENTS = (
    _future("BTC-PERPETUAL", "BTC", False),
    _future("BTC_USDC-PERPETUAL", "BTC", True),
    _future("ETH_USDC-PERPETUAL", "ETH", True),
    _option(80_000, "put", False),
    _option(95_000, "call", False),
    _option(80_000, "put", True),
    _option(95_000, "call", True),
    _option(100_000, "call", True),
    _future("BTC_USDC-LATER", "BTC", True, LATER_NS),
    _option(3_100, "call", True, "ETH"),
)


def configuration(haircuts: bool, charged: bool = False, spans: int = 0) -> Config:
    """Two coins and a dollar that perpetuals on both settle in; charges so tight that every one binds somewhere."""
    haircut = {"BTC": (20_000, 1_030_000), "ETH": (75_000, 1_025_000), "USDC": (10_000, 1_080_000)}
    currencies = tuple(
        Currency(
            name=name, exponent=exponent, underlying=None if name == "USDC" else name,
            haircut_ppm=haircut[name][0] if haircuts else 0, debt_ppm=haircut[name][1] if haircuts else 1_000_000,
        )
        for name, exponent in (("BTC", 10), ("USDC", 6), ("ETH", 10))
    )  # fmt: skip
    eth = MatrixParameters(price_range_ppm=180_000, initial_factor_ppm=1_300_000)
    plain = Config(
        currencies=currencies,
        underlyings=(
            Underlying(name="BTC", index_name="btc_usd", matrix=world.BTC_MATRIX),
            Underlying(name="ETH", index_name="eth_usd", matrix=eth),
        ),
        instruments=INSTRUMENTS,
        limits=Limits(max_accounts=8, max_instruments=32, max_open_orders=64, max_open_orders_per_account=16),
    )
    plain = world.charged(plain) if charged else plain
    return world.spanned(plain, spans > 1) if spans else plain


class Order(NamedTuple):
    slot: int
    side: int
    price: int
    lots: int


class Draw(NamedTuple):
    """Cash in BTC and USDC, positions as (slot, lots), orders as (slot, side, percent off the mark, lots)."""

    cash: tuple[int, int]
    positions: tuple[tuple[int, int], ...]
    orders: tuple[tuple[int, int, int, int], ...]
    haircuts: bool
    charged: bool = False
    spans: int = 0


SLOTS = st.integers(0, len(INSTRUMENTS) - 1)
LOTS = st.integers(1, 40)
DRAWS = st.builds(
    Draw,
    st.tuples(st.sampled_from([0, 1, 3]), st.sampled_from([0, 1_000, 100_000])),
    st.lists(st.tuples(SLOTS, LOTS.map(lambda n: n * 5) | LOTS.map(lambda n: -n * 5)), max_size=3).map(tuple),
    st.lists(st.tuples(SLOTS, st.sampled_from([BUY, SELL]), st.integers(-15, 15), LOTS), min_size=2, max_size=6).map(
        tuple
    ),
    st.booleans(),
    st.booleans(),
)


def opened(model: str, draw: Draw) -> Bench:
    """An account with the drawn positions, taken at the mark while it was rich, and its orders resting."""
    bench = Bench(configuration(draw.haircuts, draw.charged, draw.spans))
    plenty = {"BTC": 10_000 * world.COIN, "ETH": 10_000 * world.COIN, "USDC": 10**9 * world.DOLLAR}
    btc, usdc = draw.cash
    bench.account("held", model, 9, BTC=btc * world.COIN + 1, USDC=usdc * world.DOLLAR + 1)
    bench.account("rich", "segregated_pm", **plenty)
    bench.marks(
        INDEX[0], {EXPIRY_NS: 91_000.0, LATER_NS: 92_000.0}, {slot: 0.7 for slot, _, _ in bench.engine.pairs(0)}
    )
    bench.marks(INDEX[1], {EXPIRY_NS: 3_030.0}, {slot: 0.8 for slot, _, _ in bench.engine.pairs(1)}, underlying=1)
    if draw.charged:
        beside(bench, plenty)
    for slot, lots in draw.positions:
        order = priced(bench, slot, BUY if lots > 0 else SELL, 0, abs(lots))
        bench.place(RICH, slot, 1 - order.side, order.price, order.lots)
        bench.place(HELD, slot, order.side, order.price, order.lots)
        for resting in bench.engine.open_orders(RICH):
            bench.cancel(RICH, resting.order_id)
    for resting in bench.engine.open_orders(HELD):
        bench.cancel(HELD, resting.order_id)
    for slot, side, percent, lots in draw.orders:
        order = priced(bench, slot, side, percent, lots)
        bench.place(HELD, slot, side, order.price, order.lots)
    return bench


def beside(bench: Bench, plenty: dict[str, int]) -> None:
    """Another account of the owner with a position and, out of everybody's way, an order; and a market of some size."""
    bench.account("sibling", "segregated_pm", 9, **plenty)
    for buyer, seller, lots in ((RICH, SIBLING, 30), (SIBLING, RICH, 45)):
        slot = 1 if buyer == RICH else 8
        order = priced(bench, slot, SELL, 0, lots)
        bench.place(seller, slot, SELL, order.price, lots)
        bench.place(buyer, slot, BUY, order.price, lots)
    far = priced(bench, 1, BUY, -19, 25)
    bench.place(SIBLING, 1, BUY, far.price, far.lots)
    bench.marks(
        INDEX[0], {EXPIRY_NS: 91_000.0, LATER_NS: 92_000.0}, {slot: 0.7 for slot, _, _ in bench.engine.pairs(0)}
    )


def priced(bench: Bench, slot: int, side: int, percent: int, lots: int) -> Order:
    """An order so many percent off the mark."""
    unit_e8 = bench.engine.instrument(slot).price_unit_e8
    price = bench.engine.market(slot).mark_price_e8 * (100 + percent) // (100 * unit_e8)
    return Order(slot, side, max(1, price), lots)


def excess(bench: Bench, model: str) -> list[int]:
    """Per entity: equity less initial margin, open orders counted."""
    entities = (0,) if model.startswith("cross") else range(3)
    return [equity - initial for equity, initial, _ in (bench.margins(HELD, entity) for entity in entities)]


def fill(bench: Bench, wanted: tuple[int, ...]) -> int:
    """Cancel the account's other orders, then trade against these, best price first; how many traded."""
    mine = bench.engine.open_orders(HELD)
    for order in mine:
        if order.order_id not in wanted:
            bench.cancel(HELD, order.order_id)
    left = [order for order in mine if order.order_id in wanted]
    left.sort(key=lambda o: (o.instrument, o.side, -o.price_units if o.side == BUY else o.price_units, o.order_id))
    traded = 0
    for order in left:
        done = bench.place(RICH, order.instrument, 1 - order.side, order.price_units, order.remaining_lots)
        traded += bool(only(done, EventKind.TRADE_EXECUTED))
        for resting in bench.engine.open_orders(RICH):
            bench.cancel(RICH, resting.order_id)
    return traded


@pytest.mark.parametrize("model", MODELS)
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=DRAWS)
@example(draw=Draw((3, 1_000), (), ((1, BUY, 15, 8), (2, BUY, 15, 5)), True))  # into a debt together, not alone
@example(draw=Draw((3, 0), (), ((6, BUY, 10, 30), (7, BUY, 10, 30)), True))  # premiums that are owed
@example(
    draw=Draw((1, 1000), ((1, 5),), ((0, BUY, 0, 1), (0, BUY, 0, 1)), False, True)
)  # the owner, in another currency
def test_no_subset_of_fills_leaves_less_than_was_counted(model: str, draw: Draw) -> None:
    every_subset(model, draw)


@pytest.mark.parametrize("model", MODELS[:2])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(draw=DRAWS, spans=st.integers(1, 2))
@example(draw=Draw((1, 100_000), ((1, 100), (8, -100)), ((1, SELL, -1, 40), (8, BUY, 1, 40)), True), spans=1)
@example(draw=Draw((0, 100_000), ((7, 40),), ((7, BUY, 5, 30), (7, SELL, -5, 40), (6, SELL, 0, 20)), True), spans=1)
@example(draw=Draw((0, 100_000), ((1, 100), (2, -60)), ((1, SELL, 0, 40), (2, BUY, 0, 30)), False), spans=2)
@example(
    draw=Draw((1, 100_000), ((6, -40), (9, 40)), ((6, SELL, 1, 9), (9, BUY, 1, 9), (2, SELL, 0, 5)), True), spans=2
)
def test_no_subset_of_fills_leaves_less_than_was_counted_under_span16(model: str, draw: Draw, spans: int) -> None:
    every_subset(model, draw._replace(spans=spans))


CREDITED_SLOTS = st.sampled_from([1, 2, 6, 9])


@pytest.mark.parametrize("model", MODELS[:2])
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    legs=st.tuples(LOTS, LOTS, st.integers(-20, 20), st.integers(-20, 20)),
    turned=st.sampled_from([-1, 1]),
    orders=st.lists(
        st.tuples(CREDITED_SLOTS, st.sampled_from([BUY, SELL]), st.integers(-3, 3), LOTS), min_size=2, max_size=5
    ).map(tuple),
    haircuts=st.booleans(),
)
def test_credits_between_coins_hold_for_every_subset_of_fills(model, legs, turned, orders, haircuts) -> None:
    """Long one coin and short the other, futures and options, so that there is a credit to lose."""
    btc, eth, btc_calls, eth_calls = legs
    positions = ((1, 10 * btc * turned), (2, -10 * eth * turned), (6, btc_calls), (9, eth_calls))
    positions = tuple((slot, lots) for slot, lots in positions if lots)
    every_subset(model, Draw((1, 100_000), positions, orders, haircuts, spans=2))


def every_subset(model: str, draw: Draw) -> None:
    """Every subset of the account's orders traded, each in an engine of its own."""
    first = opened(model, draw)
    orders = [order.order_id for order in first.engine.open_orders(HELD)]
    counted = excess(first, model)
    records = first.records
    for wanted in chain.from_iterable(combinations(orders, n) for n in range(len(orders) + 1)):
        bench = again(records)
        fill(bench, wanted)
        after = excess(bench, model)
        assert all(b >= a for a, b in zip(counted, after, strict=True)), (wanted, counted, after)


def again(records: list[bytes]) -> Bench:
    """An engine to which the same records were applied."""
    bench = Bench.__new__(Bench)
    bench.engine, bench.time_ns, bench.records = Engine(), world.START_NS, []
    for record in records:
        bench.engine.apply(record)
    bench.engine.take_events()
    return bench


def test_fills_really_happen() -> None:
    """Of a portfolio with orders on both sides of several instruments, in every model."""
    draw = Draw((3, 100_000), ((0, 50), (6, -20)), ((0, 1, 2, 10), (1, 0, -1, 10), (4, 1, 5, 10), (7, 0, -5, 20)), True)
    for model in MODELS:
        bench = opened(model, draw)
        wanted = tuple(order.order_id for order in bench.engine.open_orders(HELD))
        assert len(wanted) == 4
        assert fill(bench, wanted) == 4
        assert len(bench.engine.positions(HELD)) == 5
        assert bench.engine.audit() == []
