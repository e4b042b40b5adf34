"""Marks and Greeks of portfolios against 50-digit arithmetic and QuantLib, in the units of the models.

The kernel's own domain, vanishing and huge arguments included, is tested in tests/unit/test_pricer.py.
"""

import csv
import gzip
import itertools
import math
from collections.abc import Callable
from pathlib import Path

import mpmath
import numpy as np
import pytest

from margin_ext.models import Portfolio, greeks, marks, portfolio, surface
from tests.unit.test_pricer import exact_greeks

DAYS = (0.01, 1.0, 30.0, 400.0)
STRIKES = (1_000.0, 60_000.0, 99_999.0, 100_000.0, 130_000.0, 5e6)
VOLS = (0.05, 0.6, 3.0)
F = 101_000.0


def options(settlement: str) -> Portfolio:
    table = list(itertools.product(STRIKES, DAYS, VOLS, (True, False)))
    strike, days, vol, is_call = (np.array(column) for column in zip(*table, strict=True))
    return portfolio({"BTC": 100_000.0}, kind="option", settlement=settlement, strike=strike, days=days, vol=vol,
                     is_call=is_call, lots=-2.0, forward=F)  # fmt: skip


@pytest.mark.parametrize("settlement", ["USDC", "BTC"])
def test_marks_and_greeks_against_fifty_digits(settlement: str) -> None:
    p = options(settlement)
    unit = 1.0 if settlement == "USDC" else F
    found, values = greeks(p), marks(p)
    for row in range(len(p)):
        years = float(p.years[row])
        with mpmath.workdps(50):
            exact = exact_greeks(F, p.strike[row], p.vol[row], years, p.is_call[row])
            price, delta, gamma, vega, theta, rho = (float(x) for x in exact)
        most, root = max(F, float(p.strike[row])), math.sqrt(years)
        assert values[row] * unit == pytest.approx(price, abs=1e-12 * F)
        for ours, theirs, scale in (
            (found.delta[row], delta, 1.0),
            (found.gamma[row], gamma, 1 / (F * p.vol[row] * root)),
            (found.vega[row], vega, most * root),
            (found.theta[row], theta, most * p.vol[row] / root),
            (found.rho[row], rho, most * years),
        ):
            assert ours == pytest.approx(-2 * theirs, abs=2e-12 * scale)


def test_marks_and_greeks_against_quantlib() -> None:
    ql = pytest.importorskip("QuantLib")
    p = options("USDC")
    found, values = greeks(p), marks(p)
    for row in range(len(p)):
        kind = ql.Option.Call if p.is_call[row] else ql.Option.Put
        years, strike = float(p.years[row]), float(p.strike[row])
        theirs = ql.BlackCalculator(ql.PlainVanillaPayoff(kind, strike), F, float(p.vol[row]) * math.sqrt(years), 1.0)
        assert values[row] == pytest.approx(theirs.value(), abs=1e-12 * max(F, strike))
        assert found.delta[row] == pytest.approx(-2 * theirs.deltaForward(), abs=1e-11)
        assert found.vega[row] == pytest.approx(-2 * theirs.vega(years), abs=1e-11 * F)


@pytest.mark.parametrize("settlement", ["USDC", "BTC"])
def test_edges_are_finite_and_right(settlement: str) -> None:
    """At and just before expiry, without vol, deep in and out, tiny and huge."""
    table = list(
        itertools.product((1e-3, 100.0, 1e9), (1e-6, 0.5, 1.0, 2.0, 1e6), (0.0, 1e-9, 0.8, 50.0), (0.0, 1e-9, 3e4))
    )
    forward, ratio, vol, days = (np.array(column) for column in zip(*table, strict=True))
    unit = forward if settlement == "BTC" else np.ones_like(forward)
    for is_call in (True, False):
        p = portfolio({"BTC": 100.0}, kind="option", settlement=settlement, strike=forward * ratio, days=days, vol=vol,
                      is_call=is_call, lots=1.0, forward=forward)  # fmt: skip
        value = marks(p) * unit
        intrinsic = np.maximum(forward - p.strike if is_call else p.strike - forward, 0.0)
        slack = 1e-12 * np.maximum(forward, p.strike)
        assert (value >= intrinsic - slack).all()
        assert (value <= np.where(is_call, forward, p.strike) + slack).all()
        still = (vol == 0.0) | (days == 0.0)
        assert value[still] == pytest.approx(intrinsic[still], rel=1e-12)
        assert all(np.isfinite(column).all() for column in greeks(p))
        assert np.isfinite(surface(p, np.array([-0.99, 0.0, 5.0]), np.array([0.0, 1.0, 3.0]))).all()


def test_a_recorded_chain_of_real_marks(real_data: Callable[[str], Path]) -> None:
    """Every BTC option of a recorded snapshot: marks within 1e-3 coin of the venue's (99 in 100, the median 1e-4)."""
    with gzip.open(real_data("options/deribit_options_snapshot_20260206T043012Z.csv.gz"), "rt") as lines:
        rows = [row for row in csv.DictReader(lines) if row["currency"] == "BTC"]
    assert len(rows) > 900
    columns = {name: np.array([float(row[source]) for row in rows]) for name, source in (
        ("strike", "strike"), ("forward", "underlying"), ("vol", "implied_volatility"),
    )}  # fmt: skip
    p = portfolio(
        {"BTC": float(rows[0]["index_price"])}, kind="option", lots=1.0,
        days=np.array([float(row["time_to_maturity"]) * 365 for row in rows]),
        is_call=np.array([row["option_type"].lower().startswith("c") for row in rows]), **columns,
    )  # fmt: skip
    error = np.abs(marks(p) - np.array([float(row["mark_price"]) for row in rows]))
    assert float(np.median(error)) < 1e-4
    assert float(np.quantile(error, 0.99)) < 1e-3
