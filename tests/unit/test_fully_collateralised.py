"""Who holds all that a position can ever cost is not liquidated, however far and however often the market moves."""

import itertools

import pytest

from exchange import config
from exchange.commands import CommandKind
from exchange.events import EventKind
from tests.driver import DAY, START_NS, USDC, Driver, linear_perpetual, option, perpetual

EXPIRY = START_NS // DAY * DAY + 40 * DAY + 8 * 3_600 * 10**9
CALL, PUT = f"BTC-{EXPIRY // DAY}-110000-C", f"USDC-{EXPIRY // DAY}-90000-P"
PATH = [100_000, 60_000, 25_000, 9_000, 40_000, 100_000, 220_000, 600_000, 250_000, 100_000]
VOLS = (0.6, 1.8, 0.3)
MODELS = ("segregated_pm", "cross_pm", "segregated_sm", "cross_sm")


def venue() -> Driver:
    options = [option(110_000, "call", EXPIRY), option(90_000, "put", EXPIRY, "USDC")]
    made = Driver([perpetual(), linear_perpetual(max_price_units=8_000_000), *options])
    made.maker = made.account("maker", btc=100_000, usdc=10**12, model="cross_pm")
    made.marks(100_000)
    return made


def units(made: Driver, name: str) -> int:
    return made.engine.market(made.slot(name)).mark_price_e8 // made.engine.instrument(made.slot(name)).price_unit_e8


def walked(made: Driver, account: int) -> None:
    """Through the path at each vol; the account is never below maintenance and nothing of it is touched."""
    held = [(view.instrument, view.quantity_lots) for view in made.engine.positions(account)]
    for vol, index in itertools.product(VOLS, PATH):
        found = made.marks(index, vol)
        found += made.marks(index, vol) + made.tick(10**8)  # a jump takes a second update
        assert made.engine.index_price(0) == index * 10**8
        assert not [e for e in found if e.kind == EventKind.LIQUIDATION_STARTED and e.account_id == account], index
    assert held == [(view.instrument, view.quantity_lots) for view in made.engine.positions(account)]
    made.sound()


@pytest.mark.parametrize("model", MODELS)
def test_a_call_covered_by_the_coin(model: str) -> None:
    """An inverse call never costs more than the coin: up to six times the index and beyond its strike."""
    made = venue()
    alice = made.account("alice", btc=1.0, model=model)
    made.trade(made.maker, alice, CALL, "sell", units(made, CALL), 10)
    walked(made, alice)


@pytest.mark.parametrize("model", MODELS)
def test_a_put_covered_by_its_strike_in_cash(model: str) -> None:
    made = venue()
    alice = made.account("alice", usdc=90_000, model=model)
    made.trade(made.maker, alice, PUT, "sell", units(made, PUT), 10)
    walked(made, alice)


def test_a_put_without_the_cash_is_liquidated() -> None:
    made = venue()
    alice = made.account("alice", usdc=60_000)
    made.trade(made.maker, alice, PUT, "sell", units(made, PUT), 10)
    with pytest.raises(AssertionError):
        walked(made, alice)


@pytest.mark.parametrize("model", MODELS)
def test_a_coin_sold_forward(model: str) -> None:
    """A short inverse perpetual of as many dollars as the coin is worth: a dollar balance, whatever the index."""
    made = venue()
    alice = made.account("alice", btc=1.01, model=model)  # fees, and 1 % of maintenance
    made.trade(made.maker, alice, "BTC-PERPETUAL", "sell", 200_000, 10_000)
    walked(made, alice)


@pytest.mark.parametrize("model", MODELS)
def test_a_coin_bought_in_full(model: str) -> None:
    """A linear perpetual paid in full: what it can lose is there."""
    made = venue()
    alice = made.account("alice", usdc=100_000 + 500, model=model)
    made.trade(made.maker, alice, "BTC_USDC-PERPETUAL", "buy", 1_000_000, 1_000)
    walked(made, alice)


def test_an_isolated_long_paid_in_full_has_no_liquidation_price() -> None:
    made = venue()
    alice = made.account("alice", usdc=250_000)
    name = "BTC_USDC-PERPETUAL"
    made.cold(CommandKind.SET_MARGIN_MODE, config.SetMarginMode(name, "isolated", 100), alice)
    made.trade(made.maker, alice, name, "buy", 1_000_000, 1_000)
    made.cold(CommandKind.MOVE_COLLATERAL, config.MoveCollateral(name, 1_000 * USDC), alice)
    (bucket,) = made.engine.buckets(alice)
    assert bucket.liquidation_price_e8 == 0
    walked(made, bucket.bucket_account_id)
