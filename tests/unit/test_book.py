"""The order book through the engine: priority, levels far apart, depth, change ids."""

import numpy as np
import pytest

from exchange.commands import CommandKind
from exchange.config import Fees, Instrument, Limits, ListInstruments
from exchange.events import EventKind
from tests.driver import DAY, START_NS, Driver, option, perpetual
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only

HIGHEST = 4_000_000


@pytest.fixture
def bench() -> Bench:
    """A linear perpetual at 1,000,000 price units whose bands let every price through."""
    contract = Instrument(
        name="X-PERPETUAL", kind="perpetual", underlying="BTC", settlement="USDC", inverse=False,
        price_unit_e8=10**6, lot_size_e8=10**6, max_price_units=HIGHEST, fees=Fees(maker_ppm=0, taker_ppm=0),
    )  # fmt: skip
    limits = Limits(price_band_ppm=10_000_000)
    bench = Bench(world.configuration(instruments=(contract,), limits=limits))
    for name in ("one", "two", "three"):
        bench.account(name, USDC=10**16)
    bench.marks(10_000.0)
    return bench


def order_id(happened: list) -> int:
    return only(happened, EventKind.ORDER_ACCEPTED)[0].order_id


def test_first_come_first_served_at_a_price(bench: Bench) -> None:
    ids = [order_id(bench.place(1 + n % 2, 0, BUY, 1_000_000, 10)) for n in range(4)]
    trades = only(bench.place(3, 0, SELL, 1_000_000, 25), EventKind.TRADE_EXECUTED)
    assert [(t.maker_order_id, t.quantity_lots) for t in trades] == [(ids[0], 10), (ids[1], 10), (ids[2], 5)]
    assert bench.engine.books.queue(0, BUY) == ids[2:]
    assert bench.engine.depth(0, 5) == ([(1_000_000, 15)], [])


def test_better_prices_go_first_and_trades_are_at_the_makers_price(bench: Bench) -> None:
    for price in (1_000_500, 999_000, 1_000_001):
        bench.place(1, 0, SELL, price, 10)
    trades = only(bench.place(2, 0, BUY, 1_000_400, 100), EventKind.TRADE_EXECUTED)
    assert [(t.price_units, t.quantity_lots) for t in trades] == [(999_000, 10), (1_000_001, 10)]
    assert bench.engine.depth(0, 5) == ([(1_000_400, 80)], [(1_000_500, 10)])


def test_smaller_keeps_priority_larger_or_moved_does_not(bench: Bench) -> None:
    first, second = (order_id(bench.place(a, 0, BUY, 1_000_000, 10)) for a in (1, 2))
    (edited,) = only(bench.edit(1, first, 1_000_000, 4), EventKind.ORDER_EDITED)
    assert edited.kept_priority == 1
    assert bench.engine.books.queue(0, BUY) == [first, second]
    bench.edit(1, first, 1_000_000, 5)
    assert bench.engine.books.queue(0, BUY) == [second, first]
    bench.edit(2, second, 1_000_001, 10)
    bench.edit(2, second, 1_000_000, 10)
    assert bench.engine.books.queue(0, BUY) == [first, second]


def test_levels_anywhere_in_the_range_of_prices(bench: Bench) -> None:
    """Pages of 64 prices, words of 64 pages, groups of 64 words: neighbours on either side of each border."""
    borders = [1, 63, 64, 65, 4_095, 4_096, 4_097, 262_143, 262_144, 262_145, 999_999, 1_000_000]
    for price in reversed(borders):
        bench.place(1, 0, BUY, price, 3)
    asks = [HIGHEST, HIGHEST - 1, 1_048_576, 1_048_575, 1_048_577, 1_310_720, 2_097_152]
    for price in asks:
        bench.place(1, 0, SELL, price, 2)
    assert bench.engine.depth(0, 100) == (
        [(price, 3) for price in reversed(borders)],
        [(price, 2) for price in sorted(asks)],
    )
    trades = only(bench.place(2, 0, SELL, 1, 3 * len(borders)), EventKind.TRADE_EXECUTED)
    assert [t.price_units for t in trades] == sorted(borders, reverse=True)
    trades = only(bench.place(2, 0, BUY, HIGHEST, 2 * len(asks)), EventKind.TRADE_EXECUTED)
    assert [t.price_units for t in trades] == sorted(asks)
    assert bench.engine.depth(0, 100) == ([], [])


def test_a_long_random_ladder_drains_in_order(bench: Bench, rng: np.random.Generator) -> None:
    prices = rng.integers(1, HIGHEST, 600).tolist()
    for price in prices:
        bench.place(1, 0, SELL, price, 1)
    for price in rng.permutation(prices)[:200].tolist():
        slot_orders = [o for o in bench.engine.open_orders(1) if o.price_units == price]
        bench.cancel(1, slot_orders[0].order_id)
        prices.remove(price)
    assert [p for p, _ in bench.engine.depth(0, 1_000)[1]] == sorted(set(prices))
    trades = only(bench.place(2, 0, BUY, HIGHEST, 1_000), EventKind.TRADE_EXECUTED)
    assert [t.price_units for t in trades] == sorted(prices)
    assert bench.engine.audit() == []


def test_every_change_of_the_book_moves_its_id(bench: Bench) -> None:
    seen = [bench.engine.market(0).change_id]

    def changed() -> bool:
        seen.append(bench.engine.market(0).change_id)
        return seen[-1] > seen[-2]

    first = order_id(bench.place(1, 0, BUY, 1_000_000, 10))
    assert changed()
    bench.place(2, 0, SELL, 1_000_000, 4)
    assert changed()
    bench.edit(1, first, 1_000_000, 8)
    assert changed()
    bench.place(2, 0, SELL, 1_000_001, 1, time_in_force=1)
    assert not changed()
    bench.cancel(1, first)
    assert changed()


def test_a_side_is_empty_again(bench: Bench) -> None:
    first = order_id(bench.place(1, 0, SELL, 1_000_000, 10))
    market = bench.engine.market(0)
    assert (market.best_ask_units, market.best_ask_lots, market.best_bid_units) == (1_000_000, 10, None)
    bench.cancel(1, first)
    market = bench.engine.market(0)
    assert (market.best_ask_units, market.best_ask_lots) == (None, 0)
    assert bench.engine.order(first) is None


def test_instruments_take_over_the_tables_of_those_that_ended() -> None:
    """Tables of prices of an ended book go to the next of that size, empty: small ones, and one that stands alone."""
    venue = Driver((perpetual(),))
    account = venue.account("one", btc=100.0)
    for day in range(1, 6):
        expiry_ns = (START_NS // DAY + day + 1) * DAY + 8 * 3600 * 10**9
        sizes = (10_000, 10_000, 100_000, 4_000_000)
        listed = [option(90_000 + 1_000 * n, "call", expiry_ns, max_price_units=size) for n, size in enumerate(sizes)]
        venue.cold(CommandKind.LIST_INSTRUMENTS, ListInstruments(tuple(listed)))
        venue.marks(100_000)
        for one in listed:
            slot = venue.slot(one.name)
            assert venue.engine.depth(slot, 10) == ([], []), "nothing of an earlier book"
            for price in (3, 70, 400, 700):
                venue.place(account, one.name, "buy", price, 1)
            assert venue.engine.depth(slot, 10)[0] == [(price, 1) for price in (700, 400, 70, 3)]
        venue.now = expiry_ns
        venue.marks(100_000)
        venue.tick()
        assert all(venue.engine.instrument_slot(one.name) < 0 for one in listed)
    venue.sound()
