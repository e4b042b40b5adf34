"""Black-76 prices and Greeks against 50-digit arithmetic and QuantLib, and the edges of their domain."""

import itertools
import math

import mpmath
import numpy as np
import pytest

import margin_ext
from margin_ext import kernels

mpmath.mp.dps = 50


def exact_greeks(forward, strike, vol, years, is_call):
    """Textbook Black-76 (Black 1976), undiscounted, in 50 digits; rho with the spot held."""
    f, k, s, t = map(mpmath.mpf, (forward, strike, vol, years))
    width = s * mpmath.sqrt(t)
    d1 = mpmath.log(f / k) / width + width / 2
    d2 = d1 - width
    sign = 1 if is_call else -1

    def cdf(x):
        return mpmath.erfc(-x / mpmath.sqrt(2)) / 2

    density = mpmath.npdf(d1)
    return (
        sign * (f * cdf(sign * d1) - k * cdf(sign * d2)),
        sign * cdf(sign * d1),
        density / (f * width),
        f * density * mpmath.sqrt(t),
        -f * density * s / (2 * mpmath.sqrt(t)),
        sign * k * t * cdf(sign * d2),
    )


def scale_of_greeks(forward, strike, vol, years):
    """Natural magnitude of each result, so that one relative bound serves all."""
    most, root = max(forward, strike), math.sqrt(years)
    return (most, 1.0, 1.0 / (forward * vol * root), most * root, most * vol / root, most * years)


GRID = list(
    itertools.product(
        (1e-4, 1.0, 65_000.0, 1e7),
        (-40.0, -9.0, -5.0, -2.0, -0.7, -0.01, 0.0, 1e-9, 0.3, 1.0, 3.0, 8.0, 38.0),  # ln(K/F) in widths
        (1e-6, 0.01, 0.2, 0.8, 3.0, 12.0),
        (1e-9, 1 / 8760, 1 / 365, 0.1, 1.0, 5.0),
    )
)


def test_greeks_match_fifty_digits_on_the_grid():
    worst = np.zeros(6)
    for forward, widths, vol, years in GRID:
        strike = forward * math.exp(widths * min(vol * math.sqrt(years), 4.0))
        scale = scale_of_greeks(forward, strike, vol, years)
        for is_call in (True, False):
            ours = margin_ext.greeks(forward, strike, vol, years, is_call)
            exact = exact_greeks(forward, strike, vol, years, is_call)
            errors = [abs(float(a - b)) / c for a, b, c in zip(ours, exact, scale, strict=True)]
            worst = np.maximum(worst, errors)
            assert all(math.isfinite(x) for x in ours)
            assert ours.price >= 0.0
    # price, delta, gamma, vega, theta, rho
    assert (worst < 2e-14).all(), worst


def test_prices_and_greeks_match_quantlib():
    ql = pytest.importorskip("QuantLib")
    forward, vol, years = 65_000.0, 0.63, 0.21
    for strike in (20_000.0, 50_000.0, 65_000.0, 72_500.0, 180_000.0):
        for is_call, kind in ((True, ql.Option.Call), (False, ql.Option.Put)):
            ours = margin_ext.greeks(forward, strike, vol, years, is_call)
            payoff = ql.PlainVanillaPayoff(kind, strike)
            theirs = ql.BlackCalculator(payoff, forward, vol * math.sqrt(years), 1.0)
            assert ours.price == pytest.approx(theirs.value(), abs=1e-9)
            assert ours.delta == pytest.approx(theirs.deltaForward(), abs=1e-13)
            assert ours.gamma == pytest.approx(theirs.gammaForward(), rel=1e-11)
            assert ours.vega == pytest.approx(theirs.vega(years), rel=1e-11)
            assert ours.theta == pytest.approx(theirs.theta(forward, years), rel=1e-11)
            assert ours.rho == pytest.approx(theirs.rho(years), rel=1e-11, abs=1e-9)


@pytest.mark.parametrize(("vol", "years"), [(0.0, 1.0), (0.8, 0.0), (0.0, 0.0), (1e-200, 1e-200), (1e-9, 1e-12)])
def test_vanishing_width_gives_the_intrinsic_value(vol, years):
    forward = np.array([100.0, 100.0, 100.0])
    strike = np.array([80.0, 100.0, 130.0])
    call = margin_ext.greeks(forward, strike, vol, years, True)
    put = margin_ext.greeks(forward, strike, vol, years, False)
    np.testing.assert_allclose(call.price, [20.0, 0.0, 0.0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(put.price, [0.0, 0.0, 30.0], rtol=0, atol=1e-11)
    np.testing.assert_allclose(call.delta, [1.0, 0.5, 0.0], rtol=0, atol=1e-12)
    np.testing.assert_allclose(put.delta, [0.0, -0.5, -1.0], rtol=0, atol=1e-12)
    at_the_money = 100.0 * math.sqrt(years) / math.sqrt(2 * math.pi)
    np.testing.assert_allclose(call.vega, [0.0, at_the_money, 0.0], atol=1e-280)
    for values in call + put:
        assert np.isfinite(values).all()
    if years == 0.0:
        assert (call.theta == 0.0).all() and (call.gamma == 0.0).all()


def test_extreme_arguments_stay_finite_and_ordered():
    forward, strike, vol, years = (
        array.ravel()
        for array in np.meshgrid(
            [0.0, 1e-280, 1e-8, 1.0, 1e9, 1e280],
            [0.0, 1e-280, 1e-8, 1.0, 1e9, 1e280],
            [0.0, 1e-12, 1.0, 1e3, 1e200],
            [0.0, 1e-12, 1.0, 1e3],
        )
    )
    call = margin_ext.price(forward, strike, vol, years, True)
    put = margin_ext.price(forward, strike, vol, years, False)
    assert np.isfinite(call).all() and np.isfinite(put).all()
    largest = np.maximum(forward, strike)
    assert (call >= np.maximum(forward - strike, 0.0)).all()
    assert (call <= forward * (1 + 1e-13)).all() and (put <= strike * (1 + 1e-13)).all()
    with np.errstate(invalid="ignore"):
        assert (np.abs(call - put - (forward - strike)) <= 1e-15 * largest).all()
    greeks = margin_ext.greeks(forward, strike, vol, years, True)
    assert np.isfinite(greeks.delta).all() and ((greeks.delta >= 0.0) & (greeks.delta <= 1.0 + 1e-14)).all()


def test_prices_grow_with_vol_and_fall_with_strike():
    vol = np.linspace(0.0, 6.0, 4001)
    assert (np.diff(margin_ext.price(100.0, 130.0, vol, 0.5)) >= -1e-13).all()
    strike = np.linspace(1.0, 400.0, 4001)
    calls = margin_ext.price(100.0, strike, 0.9, 0.5)
    assert (np.diff(calls) < 0.0).all()
    assert (np.diff(calls, 2) > -1e-12).all()  # convex: no butterfly arbitrage


def test_broadcasting_shapes_and_tails_agree_with_single_options():
    strike = np.linspace(50.0, 150.0, 21).reshape(3, 7)
    is_call = np.arange(7) % 2 == 0
    table = margin_ext.greeks(100.0, strike, 0.7, 0.3, is_call)
    assert table.price.shape == (3, 7)
    for row, column in np.ndindex(3, 7):
        single = margin_ext.greeks(100.0, strike[row, column], 0.7, 0.3, is_call[column])
        assert [values[row, column] for values in table] == list(single)
    assert margin_ext.price(np.empty(0), 1.0, 1.0, 1.0).shape == (0,)


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
@pytest.mark.parametrize("position", range(4))
def test_invalid_arguments_are_refused(bad, position):
    arguments = [100.0, 100.0, 0.5, 0.5]
    arguments[position] = bad
    with pytest.raises(ValueError, match=("forward", "strike", "vol", "years")[position]):
        margin_ext.price(*arguments)


def test_exponential_and_logarithm_are_accurate_over_the_whole_range():
    rng = np.random.default_rng(5)
    for x in np.concatenate([rng.uniform(-708.0, 709.7, 2000), rng.uniform(-1e-3, 1e-3, 200)]):
        assert abs(kernels.exp(x) / mpmath.exp(mpmath.mpf(x)) - 1) < 1e-15
    for x in np.concatenate([np.exp(rng.uniform(-744.0, 709.0, 2000)), rng.uniform(0.5, 2.0, 500), [5e-324]]):
        exact = mpmath.log(mpmath.mpf(x))
        assert abs(kernels.log(x) - exact) <= 1e-15 * abs(exact)


def test_power_is_accurate_in_the_range_of_vol_rules():
    rng = np.random.default_rng(6)
    for x, y in zip(rng.uniform(1e-3, 400.0, 1000), rng.uniform(-3.0, 3.0, 1000), strict=True):
        exact = mpmath.power(mpmath.mpf(x), mpmath.mpf(y))
        assert abs(kernels.power(x, y) / exact - 1) < 2**-52 * (2 + abs(y * math.log(x)))


def test_elementary_functions_at_their_limits():
    assert kernels.exp(0.0) == 1.0 and kernels.log(1.0) == 0.0
    assert kernels.exp(710.0) == math.inf and kernels.exp(-746.0) == 0.0
    assert kernels.exp(-745.0) == pytest.approx(5e-324, abs=5e-324)
    assert kernels.exp(-math.inf) == 0.0 and kernels.log(0.0) == -math.inf and kernels.log(math.inf) == math.inf
    assert math.isnan(kernels.exp(math.nan)) and math.isnan(kernels.log(-1.0)) and math.isnan(kernels.power(-2.0, 2.0))
    assert kernels.power(0.0, 0.5) == 0.0 and kernels.power(0.0, -1.0) == math.inf and kernels.power(7.0, 0.0) == 1.0
