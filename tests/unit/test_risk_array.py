"""Risk rows of option chains and futures against a plain numpy computation, and integer parity."""

import math

import numpy as np
import pytest
from scipy.special import ndtr

from margin_ext import price, reprice, reprice_future
from margin_ext.risk_array import allocate_rows

MOVES = np.array([-0.66, -0.16, -0.12, -0.08, -0.04, 0.0, 0.0, 0.0, 0.04, 0.08, 0.12, 0.16, 0.5, 1.0, 3.0, 5.0])
INDEX = 64_321.5
LOT = 0.1


def black76_call(forward, strike, vol, years):
    """Textbook undiscounted Black-76 through scipy."""
    width = np.maximum(vol * np.sqrt(years), 1e-12)
    d1 = np.log(forward / strike) / width + width / 2
    return forward * ndtr(d1) - strike * ndtr(d1 - width)


@pytest.fixture(scope="module")
def chain():
    rng = np.random.default_rng(11)
    years = np.array([0.0, 0.25, 1.0, 7.0, 30.0, 365.0]) / 365.0
    forward = INDEX * np.exp(0.06 * years)
    pairs = 83  # no multiple of any vector width
    expiry = np.sort(rng.integers(0, len(years), pairs))
    spread = np.maximum(0.7 * np.sqrt(years[expiry]), 0.01)
    strike = np.round(forward[expiry] * np.exp(rng.normal(0, 2, pairs) * spread) / 50) * 50
    return {
        "strike": np.maximum(strike, 50.0),
        "expiry": expiry,
        "vol": rng.uniform(0.2, 2.5, pairs),
        "forward": forward,
        "years": years,
        "spot_multiplier": 1.0 + MOVES,
        "vol_multiplier": rng.uniform(0.4, 2.0, (len(years), len(MOVES))),
        "index_price": INDEX,
        "lot_coin": LOT,
    }


def naive_rows(chain, inverse, vol_floor, weight):
    """(call coin, call usd, put coin, put usd), unrounded, [P, S]."""
    e = chain["expiry"]
    strike, years, forward0 = (
        chain["strike"][:, None],
        chain["years"][e][:, None],
        chain["forward"][e][:, None],
    )
    forward = forward0 * chain["spot_multiplier"]
    vol = np.maximum(vol_floor, chain["vol"][:, None] * chain["vol_multiplier"][e])
    call0 = black76_call(forward0, strike, chain["vol"][:, None], years)
    call = black76_call(forward, strike, vol, years)
    sides = (call0, call), (call0 - forward0 + strike, call - forward + strike)
    rows = []
    for before, after in sides:
        if inverse:
            change = weight * (after / forward - before / forward0) * LOT
            rows += [change * 1e10, change * INDEX * chain["spot_multiplier"] * 1e4]
        else:
            rows += [None, weight * (after - before) * LOT * 1e4]
    return rows


@pytest.mark.parametrize("inverse", [False, True])
def test_rows_match_a_plain_computation(chain, inverse):
    rng = np.random.default_rng(3)
    vol_floor = np.where(MOVES > 0.4, 0.8, 0.0)
    weight = rng.uniform(0.1, 1.0, len(MOVES))
    rows = reprice(**chain, inverse=inverse, vol_floor=vol_floor, weight=weight)
    call_coin, call_usd, put_coin, put_usd = naive_rows(chain, inverse, vol_floor, weight)
    for ours, naive in ((rows.rows_usd[0::2], call_usd), (rows.rows_usd[1::2], put_usd)):
        assert np.abs(ours - naive).max() <= 1.01  # a put is the difference of two rounded rows
    assert np.abs(rows.rows_usd[0::2] - call_usd).max() <= 0.501
    assert (rows.rows_usd == np.rint(rows.rows_usd)).all()
    if inverse:
        assert np.abs(rows.rows_coin[0::2] - call_coin).max() <= 0.501
        assert np.abs(rows.rows_coin[1::2] - put_coin).max() <= 1.01
        assert (rows.rows_coin == np.rint(rows.rows_coin)).all()
    else:
        assert rows.rows_coin is None


@pytest.mark.parametrize("inverse", [False, True])
def test_marks_deltas_and_row_maxima(chain, inverse):
    rows = reprice(**chain, inverse=inverse)
    e = chain["expiry"]
    forward = chain["forward"][e]
    unit = forward if inverse else 1.0
    for side, is_call in enumerate((True, False)):
        exact = price(forward, chain["strike"], chain["vol"], chain["years"][e], is_call) / unit
        np.testing.assert_allclose(rows.mark[side::2], exact, rtol=0, atol=2e-15 * np.max(forward / unit) * 8)
    width = np.maximum(chain["vol"] * np.sqrt(chain["years"][e]), 1e-12)
    delta = ndtr(np.log(forward / chain["strike"]) / width + width / 2)
    np.testing.assert_allclose(rows.delta[0::2], delta, atol=1e-12)
    np.testing.assert_allclose(rows.delta[1::2], delta - 1.0, atol=1e-12)
    largest = np.abs(rows.rows_usd).max(axis=1)
    if inverse:
        largest = np.maximum(largest, np.abs(rows.rows_coin).max(axis=1))
    np.testing.assert_array_equal(rows.row_max, largest)


def test_unshocked_columns_are_exactly_zero(chain):
    still = dict(chain, spot_multiplier=np.ones(8), vol_multiplier=np.ones((len(chain["years"]), 8)))
    for inverse in (False, True):
        rows = reprice(**still, inverse=inverse)
        assert not rows.rows_usd.any() and not rows.row_max.any()
        assert not inverse or not rows.rows_coin.any()


def test_linear_call_minus_put_is_the_future_to_the_unit(chain):
    rows = reprice(**chain, inverse=False)
    for e, forward in enumerate(chain["forward"]):
        future = reprice_future(forward, chain["spot_multiplier"], index_price=INDEX, inverse=False, lot_coin=LOT)
        mine = np.flatnonzero(chain["expiry"] == e)
        for pair in mine:
            synthetic = rows.rows_usd[2 * pair] - rows.rows_usd[2 * pair + 1]
            np.testing.assert_array_equal(synthetic, future.row_usd)


def test_inverse_parity_depends_on_the_strike_alone(chain):
    doubled = {key: np.repeat(chain[key], 2) for key in ("strike", "expiry", "vol")}
    doubled["vol"] = doubled["vol"] * np.tile([1.0, 1.7], len(chain["strike"]))
    rows = reprice(**dict(chain, **doubled), inverse=True)
    for table in (rows.rows_coin, rows.rows_usd):
        forwards = table[0::2] - table[1::2]
        np.testing.assert_array_equal(forwards[0::2], forwards[1::2])
    forward = chain["forward"][chain["expiry"]][:, None]
    exact = LOT * chain["strike"][:, None] / forward * (1 - 1 / chain["spot_multiplier"]) * 1e10
    assert np.abs((rows.rows_coin[0::2] - rows.rows_coin[1::2])[0::2] - exact).max() <= 0.501


def test_order_of_pairs_and_destination_rows_do_not_matter(chain):
    plain = reprice(**chain, inverse=True)
    rng = np.random.default_rng(8)
    pairs = len(chain["strike"])
    order = rng.permutation(pairs)
    targets = rng.permutation(2 * pairs + 5)[: 2 * pairs]
    shuffled = {key: chain[key][order] for key in ("strike", "expiry", "vol")}
    calls, puts = targets[:pairs].copy(), targets[pairs:].copy()
    calls[3] = puts[5] = -1
    rows = reprice(**dict(chain, **shuffled), inverse=True, call_row=calls, put_row=puts)
    for at, pair in enumerate(order):
        for target, row in ((calls[at], 2 * pair), (puts[at], 2 * pair + 1)):
            if target < 0:
                continue
            np.testing.assert_array_equal(rows.rows_coin[target], plain.rows_coin[row])
            np.testing.assert_array_equal(rows.rows_usd[target], plain.rows_usd[row])
            assert (rows.mark[target], rows.delta[target]) == (plain.mark[row], plain.delta[row])
    untouched = np.setdiff1d(np.arange(len(rows.mark)), np.concatenate([calls, puts]))
    assert not rows.rows_usd[untouched].any() and not rows.mark[untouched].any()


def test_collapsed_vol_and_expired_options_give_intrinsic_rows(chain):
    collapsed = dict(chain, vol_multiplier=np.zeros((len(chain["years"]), len(MOVES))))
    rows = reprice(**collapsed, inverse=False)
    e = chain["expiry"]
    strike, forward0 = chain["strike"], chain["forward"][e]
    intrinsic = np.maximum(forward0[:, None] * chain["spot_multiplier"] - strike[:, None], 0.0)
    before = price(forward0, strike, chain["vol"], chain["years"][e])
    assert np.abs(rows.rows_usd[0::2] - (intrinsic - before[:, None]) * LOT * 1e4).max() <= 0.501


@pytest.mark.parametrize("count", [8, 16, 24, 40, 64])
def test_every_column_count_gives_the_same_columns(chain, count):
    moves = np.linspace(-0.5, 1.0, 64)
    grid = dict(chain, spot_multiplier=1 + moves, vol_multiplier=np.tile(1 + moves / 3, (len(chain["years"]), 1)))
    whole = reprice(**grid, inverse=True)
    part = dict(grid, spot_multiplier=1 + moves[:count], vol_multiplier=grid["vol_multiplier"][:, :count])
    rows = reprice(**part, inverse=True)
    np.testing.assert_array_equal(rows.rows_coin, whole.rows_coin[:, :count])
    np.testing.assert_array_equal(rows.rows_usd, whole.rows_usd[:, :count])


def test_inverse_future_row_and_its_clamp():
    spot = 1.0 + MOVES
    clamp = np.where(np.abs(MOVES) > 0.16, 0.16, 0.0)
    weight = np.where(clamp > 0.0, 0.3, 1.0)
    forward, lot_usd = 65_000.0, 10.0
    row = reprice_future(
        forward,
        spot,
        index_price=INDEX,
        inverse=True,
        lot_usd=lot_usd,
        weight=weight,
        future_move_clamp=clamp,
    )
    moved = forward * (1.0 + np.where(clamp > 0.0, np.clip(MOVES, -0.16, 0.16), MOVES))
    coin = lot_usd * (1.0 / forward - 1.0 / moved) * weight
    np.testing.assert_array_equal(row.row_coin, np.rint(coin * 1e10))
    np.testing.assert_array_equal(row.row_usd, np.rint(coin * INDEX * spot * 1e4))
    assert row.delta_coin == pytest.approx(lot_usd / forward, rel=1e-15)
    assert row.row_max == max(np.abs(row.row_coin).max(), np.abs(row.row_usd).max())


def test_published_inverse_future_cells():
    """ETH perpetual, -0.999487053 coin, range 18 %: +0.219399597 at -18 %, -0.15246412672881357 at +18 %."""
    forward = 2_000.0
    spot = 1.0 + np.array([-0.18, 0.18, 0, 0, 0, 0, 0, 0])
    row = reprice_future(forward, spot, index_price=forward, inverse=True, lot_usd=1.0)
    lots = -0.999487053 * forward
    np.testing.assert_allclose(row.row_coin[:2] * lots * 1e-10, [0.219399597, -0.15246412672881357], atol=2e-7)


def test_linear_future_row():
    row = reprice_future(65_000.0, 1.0 + MOVES, index_price=INDEX, inverse=False, lot_coin=0.001)
    np.testing.assert_array_equal(row.row_usd, np.rint(65_000.0 * MOVES * 0.001 * 1e4))
    assert row.row_coin is None and row.delta_coin == 0.001


def test_coin_factor_scales_coin_rows_alone(chain):
    factor = np.where(np.abs(MOVES) > 0.16, 1.0 + np.abs(MOVES), 1.0)
    plain, scaled = reprice(**chain, inverse=True), reprice(**chain, inverse=True, coin_factor=factor)
    np.testing.assert_array_equal(scaled.rows_usd, plain.rows_usd)
    slack = 0.501 * (1.0 + factor)
    assert (np.abs(scaled.rows_coin[0::2] - plain.rows_coin[0::2] * factor) <= slack).all()
    assert (np.abs(scaled.rows_coin[1::2] - plain.rows_coin[1::2] * factor) <= 2 * slack).all()
    future = [
        reprice_future(65_000.0, 1.0 + MOVES, index_price=INDEX, inverse=True, lot_usd=10.0, coin_factor=x)
        for x in (None, factor)
    ]
    np.testing.assert_array_equal(future[0].row_usd, future[1].row_usd)
    assert (np.abs(future[1].row_coin - future[0].row_coin * factor) <= slack).all()


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("strike", 0.0, "strike"),
        ("vol", math.nan, "vol"),
        ("vol", -0.1, "vol"),
        ("forward", 0.0, "forward"),
        ("years", -1e-9, "years"),
        ("spot_multiplier", 0.0, "spot multiplier"),
        ("vol_multiplier", math.inf, "vol multiplier"),
        ("expiry", 99, "expiry"),
    ],
)
def test_bad_input_is_refused_and_writes_nothing(chain, field, value, message):
    damaged = chain[field].copy()
    damaged.reshape(-1)[damaged.size // 2] = value
    out = allocate_rows(2 * len(chain["strike"]), len(MOVES), True)
    with pytest.raises(ValueError, match=message):
        reprice(**dict(chain, **{field: damaged}), inverse=True, out=out)
    assert not out.rows_usd.any() and not out.rows_coin.any() and not out.mark.any()


def test_shapes_counts_and_overflow_are_refused(chain):
    with pytest.raises(ValueError, match="multiple of 8"):
        reprice_future(1.0, np.ones(12), index_price=1.0, inverse=False, lot_coin=1.0)
    with pytest.raises(ValueError, match="vol_multiplier"):
        reprice(**dict(chain, vol_multiplier=np.ones((2, 3))), inverse=True)
    same = np.arange(len(chain["strike"]))
    with pytest.raises(ValueError, match="share one destination"):
        reprice(**chain, inverse=True, call_row=same, put_row=same)
    with pytest.raises(OverflowError, match="2\\*\\*51"):
        reprice(**dict(chain, lot_coin=1e7), inverse=True)
