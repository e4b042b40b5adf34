"""Isolated positions: tiers with deduction, and closed forms that solve their own equations."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from margin_ext.models import IsolatedSet, PortfolioError, isolated, margin, portfolio, shipped
from margin_ext.models.parameter_files import checked
from margin_ext.models.parameters_formula import LeverageTier

TIERS = (
    LeverageTier(above_usd=0, initial_ppm=10_000, maintenance_ppm=5_000),
    LeverageTier(above_usd=100_000, initial_ppm=50_000, maintenance_ppm=20_000),
    LeverageTier(above_usd=1_000_000, initial_ppm=200_000, maintenance_ppm=100_000),
)


def made(**changes: Any) -> IsolatedSet:
    return checked(IsolatedSet(**({"name": "own", "tiers": TIERS} | changes)))


def equity(entry: float, size: float, bucket: float, inverse: bool, price: float) -> float:
    """In USD (linear) or coins (inverse)."""
    return bucket + size * ((1 / entry - 1 / price) if inverse else (price - entry))


def test_deductions_keep_the_requirement_continuous() -> None:
    assert isolated.deductions(TIERS) == pytest.approx([0.0, 1_500.0, 81_500.0])
    for bound in (100_000.0, 1_000_000.0):
        below, above = (isolated.maintenance_usd(made(), bound * (1 + e)) for e in (-1e-9, 1e-9))
        assert below == pytest.approx(above, rel=1e-6)
    assert isolated.maintenance_usd(made(), 500_000.0) == pytest.approx(500 + 8_000)


def test_initial_margin_is_the_tiers_or_the_chosen_leverage() -> None:
    assert isolated.initial_usd(made(), 50_000.0) == pytest.approx(500)
    assert isolated.initial_usd(made(), 50_000.0, 20.0) == pytest.approx(2_500)
    assert isolated.initial_usd(made(), 500_000.0, 100.0) == pytest.approx(25_000)


@given(
    st.booleans(), st.booleans(), st.floats(10, 1e5), st.floats(100, 5e6), st.floats(0.001, 3.0),
    st.sampled_from(["mark", "entry"]),
)  # fmt: skip
def test_the_closed_forms_solve_their_equations(
    inverse: bool, long: bool, entry: float, notional: float, share: float, basis: str
) -> None:
    """At the bankruptcy price equity is 0, at the liquidation price it is maintenance margin; none means none."""
    s = made(maintenance_basis=basis)
    size = (notional if inverse else notional / entry) * (1 if long else -1)
    bucket = share * (notional / entry if inverse else notional)
    scale = notional / (entry if inverse else 1)

    def excess(price: float) -> float:
        worth = abs(size) if inverse else abs(size) * (price if basis == "mark" else entry)
        required = isolated.maintenance_usd(s, worth) / ((price if basis == "mark" else entry) if inverse else 1.0)
        return equity(entry, size, bucket, inverse, price) - required

    bankrupt = isolated.bankruptcy_price(entry, size, bucket, inverse)
    liquidated = isolated.liquidation_price(entry, size, bucket, inverse, s)
    if bankrupt is not None:
        assert equity(entry, size, bucket, inverse, bankrupt) == pytest.approx(0.0, abs=1e-9 * scale * (1 + share))
    if liquidated is None:
        prices = entry * np.geomspace(1e-6, 1e6, 200)
        assert all(excess(float(price)) > 0 for price in prices)
        return
    largest = scale * (1 + share) * max(1.0, entry / liquidated if inverse else liquidated / entry)
    assert excess(liquidated) == pytest.approx(0.0, abs=1e-9 * largest)
    # the safe side is the one that the position gains on
    better = liquidated * (1.001 if long else 0.999)
    assert excess(better) > 0
    assume(bankrupt is not None)
    assert (liquidated >= bankrupt) if long else (liquidated <= bankrupt)


def test_what_cannot_be_liquidated_has_no_price() -> None:
    s = made()
    assert isolated.liquidation_price(100.0, 1.0, 100.0, False, s) is None  # long, paid in full
    assert isolated.liquidation_price(100.0, -100.0, 1.0, True, s) is None  # inverse short of one coin, a coin held
    assert isolated.bankruptcy_price(100.0, -100.0, 1.0, True) is None
    assert isolated.liquidation_price(100.0, 0.0, 5.0, False, s) is None
    assert isolated.liquidation_price(100.0, -1.0, 100.0, False, s) == pytest.approx(200 / 1.005)
    assert isolated.liquidation_price(100.0, 100.0, 1.0, True, s) == pytest.approx(100 * 1.005 / 2)


def test_positions_stand_alone() -> None:
    p = portfolio(
        {"BTC": 50_000.0}, kind="perpetual", settlement=["USDC", "BTC"], lots=[-2.0, 100_000.0], entry=[48_000, 50_000],
    )  # fmt: skip
    result = margin(p, made(), buckets=[10_000.0, 0.1], leverage=10.0)
    linear, inverse = result.requirements
    assert linear.initial == pytest.approx(10_000)
    assert linear.maintenance == pytest.approx(100_000 * 0.02 - 1_500)
    assert linear.bankruptcy_price == pytest.approx((53_000.0,))
    assert linear.liquidation_price == pytest.approx(((48_000 + (10_000 + 1_500) / 2) / 1.02,))
    assert inverse.unit == "BTC"
    assert inverse.maintenance == pytest.approx(500 / 50_000)
    assert inverse.bankruptcy_price == pytest.approx((100_000 / 2.1,))
    assert result.totals.keys() == {"USDC", "BTC"}


def test_refusals() -> None:
    call = portfolio({"BTC": 50_000.0}, kind="option", strike=50_000.0, vol=0.5, days=5.0, lots=1.0)
    with pytest.raises(PortfolioError, match=r"kind\[0\]: an option cannot be isolated"):
        margin(call, made(), buckets=1.0)
    p = portfolio({"BTC": 50_000.0}, kind="perpetual", lots=1.0)
    with pytest.raises(PortfolioError, match=r"bucket\[0\]"):
        margin(p, shipped("isolated"), buckets=np.nan)
    with pytest.raises(PortfolioError, match=r"leverage\[0\]"):
        margin(p, shipped("isolated"), buckets=1.0, leverage=0.0)
