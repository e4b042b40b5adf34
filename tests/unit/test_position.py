"""Positions: cost, realised P&L, premiums, funding; figures worked out by hand."""

import pytest

from exchange.events import EventKind
from tests.oracles import world
from tests.oracles.bench import BUY, SELL, Bench, only

HOUR = 3_600
PERPETUAL, LONG_FUTURE, CALL, USDC_PERPETUAL = 0, 1, 4, 6


@pytest.fixture
def bench() -> Bench:
    bench = Bench(world.configuration())
    for name in ("one", "two", "three"):
        bench.account(name, BTC=100 * world.COIN, USDC=10_000_000 * world.DOLLAR)
    long_chain = {world.LONG_EXPIRY_NS: 100_000.0, world.SHORT_EXPIRY_NS: 100_000.0}
    bench.marks(100_000.0, long_chain, dict.fromkeys((2, 4, 7), 0.5))
    return bench


def trade(bench: Bench, buyer: int, seller: int, slot: int, price: int, lots: int) -> tuple[int, int]:
    """Realised P&L of buyer (maker) and seller (taker)."""
    bench.place(buyer, slot, BUY, price, lots)
    (event,) = only(bench.place(seller, slot, SELL, price, lots), EventKind.TRADE_EXECUTED)
    return event.maker_realised_minor, event.taker_realised_minor


def held(bench: Bench, account_id: int, slot: int) -> tuple[int, int]:
    """Lots and cost."""
    views = [p for p in bench.engine.positions(account_id) if p.instrument == slot]
    return (views[0].quantity_lots, views[0].cost_minor) if views else (0, 0)


def test_a_linear_position_grows_shrinks_and_turns(bench: Bench) -> None:
    # a price unit of half a dollar and lots of a thousandth: 500 minor units each
    assert trade(bench, 1, 2, USDC_PERPETUAL, 200_000, 10) == (0, 0)
    assert trade(bench, 1, 2, USDC_PERPETUAL, 210_000, 10) == (0, 0)
    assert held(bench, 1, USDC_PERPETUAL) == (20, 410_000 * 10 * 500)
    # 15 of 20 lots sold at 220,000 against an average of 205,000
    assert trade(bench, 3, 1, USDC_PERPETUAL, 220_000, 15) == (0, 15 * 15_000 * 500)
    assert held(bench, 1, USDC_PERPETUAL) == (5, 5 * 205_000 * 500)
    assert trade(bench, 3, 1, USDC_PERPETUAL, 220_000, 8) == (0, 5 * 15_000 * 500)
    assert held(bench, 1, USDC_PERPETUAL) == (-3, -3 * 220_000 * 500)
    assert held(bench, 2, USDC_PERPETUAL) == (-20, -410_000 * 10 * 500)


def test_an_inverse_position_realises_in_coin(bench: Bench) -> None:
    trade(bench, 1, 2, PERPETUAL, 200_000, 1_000)
    assert held(bench, 1, PERPETUAL) == (1_000, -world.COIN // 10)
    # 10,000 USD bought at 100,000 and sold at 110,000: 0.1 - 0.0909090909 BTC
    assert trade(bench, 3, 1, PERPETUAL, 220_000, 1_000) == (0, 90_909_091)
    assert held(bench, 1, PERPETUAL) == (0, 0)
    assert bench.engine.positions(1) == []
    assert sum(bench.engine.ledger("BTC").values()) == 0


def test_a_partial_close_releases_its_share_of_the_cost_rounded_down(bench: Bench) -> None:
    trade(bench, 1, 2, LONG_FUTURE, 199_999, 30)
    cost = held(bench, 1, LONG_FUTURE)[1]
    _, realised = trade(bench, 3, 1, LONG_FUTURE, 200_001, 10)
    released = cost // 3
    value = round(10 * 200_000_000_000 / 200_001)
    assert realised == -value - released
    assert held(bench, 1, LONG_FUTURE) == (20, cost - released)
    assert bench.engine.audit() == []


def test_premium_moves_at_once_and_the_cost_stays_for_information(bench: Bench) -> None:
    before = [bench.engine.ledger_room.cash_of(a, 0) for a in (1, 2)]
    bench.place(1, CALL, BUY, 600, 5)
    (event,) = only(bench.place(2, CALL, SELL, 600, 5), EventKind.TRADE_EXECUTED)
    premium = 5 * 600 * 100_000  # 0.1 BTC a lot, 0.0001 BTC a unit
    after = [bench.engine.ledger_room.cash_of(a, 0) for a in (1, 2)]
    assert after[0] == before[0] - premium - event.maker_fee_minor
    assert after[1] == before[1] + premium - event.taker_fee_minor
    assert held(bench, 2, CALL) == (-5, -premium)
    assert bench.engine.ledger_room.clearing_of(CALL) == 0


def test_open_interest_is_the_sum_of_longs(bench: Bench) -> None:
    for buyer, seller, lots, expected in ((1, 2, 10, 10), (3, 2, 5, 15), (2, 1, 10, 5), (2, 3, 9, 4)):
        trade(bench, buyer, seller, PERPETUAL, 200_000, lots)
        assert bench.engine.market(PERPETUAL).open_interest_lots == expected


def test_funding_is_paid_up_received_down_and_the_rest_is_dust(bench: Bench) -> None:
    trade(bench, 1, 2, PERPETUAL, 200_000, 997)
    trade(bench, 3, 2, PERPETUAL, 200_000, 3)
    # a book far above the index: the premium is bounded at 0.5 %, longs pay
    bench.place(1, PERPETUAL, BUY, 204_000, 10)
    bench.place(2, PERPETUAL, SELL, 206_000, 10)
    for _ in range(4):
        bench.time_ns += HOUR * 10**9
        bench.marks(100_000.0)
    rate = bench.engine.market(PERPETUAL).funding_rate_e12
    assert 0 < rate <= 5 * 10**9
    owed = {a: p.funding_accrued_minor for a in (1, 2, 3) for p in bench.engine.positions(a)}
    assert owed[1] < 0 < owed[2]
    assert owed[3] < 0
    assert -3 <= sum(owed.values()) <= 0
    bench.cancel(1, 5)
    # funding is booked when the position trades
    trade(bench, 1, 2, PERPETUAL, 201_000, 1)
    trade(bench, 3, 2, PERPETUAL, 201_000, 1)
    booked = {a: p.funding_realised_minor for a in (1, 2, 3) for p in bench.engine.positions(a)}
    assert booked == owed
    ledger = bench.engine.ledger("BTC")
    assert ledger["funding"] == -sum(owed.values()) >= 0
    assert sum(ledger.values()) == 0
