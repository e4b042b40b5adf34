"""The simulated market: determinism, moments, listing and an arbitrage-free surface."""

import itertools
import math
from datetime import datetime

import numpy as np
import pytest

import margin_ext
from gateway.feeds.names import expiry_label, time_ns_of
from gateway.feeds.sim import SimFeed
from gateway.feeds.sim_chain import ChainRule, expiries, generated_chain, strikes, terms
from gateway.feeds.sim_path import BLOCK, Shock, SimParameters, SimPath, SimUnderlying
from gateway.feeds.surface import YEAR_NS, Grid, Live, Smile, SsviSurface, years_between

E8 = 10**8
SECOND_NS = 10**9
DAY_NS = 86_400 * SECOND_NS
START_NS = time_ns_of(datetime.fromisoformat("2026-02-04T10:00:00+00:00"))  # a Wednesday
ZEROS = np.zeros(401, dtype=np.int64)


def content(updates):
    return [(u.underlying, u.time_ns, u.index_price_e8, tuple(u.forwards), u.vol_e6.tobytes()) for u in updates]


def test_path_depends_on_seed_and_time_not_on_the_steps():
    fine, coarse, other = SimFeed(START_NS), SimFeed(START_NS), SimFeed(START_NS, SimParameters(seed=2))
    told = {}
    for quarter in range(1, 3 * BLOCK):
        told |= {(u.underlying, u.time_ns): u for u in fine.step(START_NS + quarter * SECOND_NS // 4)}
    seen = []
    for second in range(0, 3 * BLOCK // 4, 7):
        seen += coarse.step(START_NS + second * SECOND_NS)
    assert len(seen) > 200
    assert content(seen) == content([told[u.underlying, u.time_ns] for u in seen])
    assert content(other.step(START_NS + SECOND_NS)) != content(SimFeed(START_NS).step(START_NS + SECOND_NS))


def test_a_venue_that_was_down_gets_extremes_and_newest():
    awake, asleep = SimFeed(START_NS), SimFeed(START_NS)
    hour_ns = START_NS + 3_600 * SECOND_NS
    prices = []
    for second in range(1, 3_601):
        updates = awake.step(START_NS + second * SECOND_NS)
        prices += [u.index_price_e8 for u in updates if u.underlying == "BTC"]
    assert len(prices) == 4 * 3_600
    woken = [u for u in asleep.step(hour_ns) if u.underlying == "BTC"]
    assert len(woken) <= 3
    assert {min(prices), max(prices), prices[-1]} == {u.index_price_e8 for u in woken}
    assert woken[-1].time_ns == hour_ns
    with pytest.raises(ValueError, match="backwards"):
        asleep.step(hour_ns - 1)


def test_moments_of_the_path():
    coins = tuple(
        SimUnderlying(name=name, start_price=100.0, vol_of_vol=0.0, shock_per_jump=0.0, market_loading=0.9)
        for name in ("BTC", "ETH")
    )
    parameters = SimParameters(underlyings=coins, interval_ns=60 * SECOND_NS, jumps_per_year=0.0)
    path = SimPath(parameters)
    prices = np.concatenate([path.next_block()[0] for _ in range(100)], axis=1)
    returns = np.diff(np.log(prices), axis=1)
    yearly = returns.std(axis=1) * math.sqrt(YEAR_NS / (60 * SECOND_NS))
    assert yearly == pytest.approx([0.55, 0.55], rel=0.02)
    assert np.corrcoef(returns)[0, 1] == pytest.approx(0.81, abs=0.01)


def test_jumps_arrive_at_their_rate_and_raise_vol():
    coin = SimUnderlying(name="BTC", start_price=100.0, vol_of_vol=0.0, smile=Smile(volatility=0.01))
    parameters = SimParameters(
        underlyings=(coin,), interval_ns=60 * SECOND_NS, jumps_per_year=2_000.0, jump_deviation=0.05
    )
    path = SimPath(parameters)
    blocks = [path.next_block() for _ in range(100)]
    prices = np.concatenate([block[0][0] for block in blocks])
    shocks = np.concatenate([block[1][0] for block in blocks])
    returns = np.diff(np.log(prices))
    jumped = np.abs(returns) > 1e-3
    expected = 2_000 * len(returns) * 60 * SECOND_NS / YEAR_NS
    assert jumped.sum() == pytest.approx(expected, abs=4 * math.sqrt(expected))
    free = jumped & (shocks[1:] < 1.4)  # not at the bound
    rise = shocks[1:][free] - shocks[:-1][free]
    assert rise == pytest.approx(4.0 * np.abs(returns[free]), abs=0.02)


def test_scripted_shock_moves_both_coins_at_its_moment():
    parameters = SimParameters(shocks=(Shock(after_ns=300 * SECOND_NS, log_return=-0.15),), jumps_per_year=0.0)
    feed = SimFeed(START_NS, parameters)
    before = {u.underlying: u for u in feed.step(START_NS + 300 * SECOND_NS - 1)}
    after = {u.underlying: u for u in feed.step(START_NS + 300 * SECOND_NS)}
    for name, move in (("BTC", -0.15), ("ETH", -0.15 * 1.3)):
        fall = math.log(after[name].index_price_e8 / before[name].index_price_e8)
        assert fall == pytest.approx(move, abs=2e-3)
        atm = np.abs(np.log(after[name].strike_e8 / after[name].index_price_e8)).argmin()
        same = np.abs(np.log(before[name].strike_e8 / before[name].index_price_e8)).argmin()
        assert after[name].vol_e6[atm] > 1.2 * before[name].vol_e6[same]


def test_expiries_follow_the_cycles():
    labels = [(expiry_label(expiry), has_future) for expiry, has_future in expiries(START_NS, ChainRule())]
    assert labels == [
        ("5FEB26", False),
        ("6FEB26", True),
        ("7FEB26", False),
        ("13FEB26", True),
        ("20FEB26", True),
        ("27FEB26", True),
        ("27MAR26", True),
        ("26JUN26", True),
        ("25SEP26", True),
    ]
    minutes_before = time_ns_of(datetime.fromisoformat("2026-02-05T07:30:00+00:00"))
    assert expiry_label(expiries(minutes_before, ChainRule())[0][0]) == "6FEB26"


def test_strikes_are_round_and_straddle_the_forward():
    near, far = strikes(100_000, 0.01, ChainRule()), strikes(100_000, 0.5, ChainRule())
    for chosen, step in ((near, 500), (far, 10_000)):
        assert {(b - a) / E8 for a, b in itertools.pairwise(chosen)} == {step}
        assert 12 <= len(chosen) <= 49
        assert chosen[0] < 100_000 * E8 < chosen[-1]
    assert [strike / E8 for strike in strikes(0.5, 0.1, ChainRule())][:2] == [0.39, 0.4]


def test_listing_covers_inverse_and_linear_contracts():
    feed = SimFeed(START_NS)
    instruments = feed.instruments()
    names = [instrument.name for instrument in instruments]
    assert len(set(names)) == len(names)
    for name in ("BTC-PERPETUAL", "ETH-PERPETUAL", "BTC_USDC-PERPETUAL", "ETH_USDC-PERPETUAL", "BTC-27MAR26"):
        assert name in names
    assert "BTC-6FEB26-100000-C" in names and "BTC_USDC-6FEB26-100000-P" in names
    linear = {expiry_label(i.expiry_ns) for i in instruments if not i.inverse and i.kind == "option"}
    assert linear == {"6FEB26", "13FEB26"}
    marked = {
        (update.underlying, expiry, strike)
        for update in feed.snapshot()
        for expiry, strike in zip(update.expiry_ns.tolist(), update.strike_e8.tolist(), strict=True)
    }
    listed = {(i.underlying, i.expiry_ns, i.strike_e8) for i in instruments if i.kind == "option"}
    assert listed == marked
    assert len(listed) > 250


def test_chain_is_extended_at_each_expiry_and_marked():
    parameters = SimParameters(interval_ns=10 * SECOND_NS, linear_expiries=1)
    feed, late = SimFeed(START_NS, parameters), SimFeed(START_NS, parameters)
    first = {one.name for one in feed.instruments()}
    assert feed.listings_due() == []
    told, days = {}, 9
    for hour in range(1, 24 * days):
        now_ns = START_NS + hour * 3_600 * SECOND_NS
        updates = feed.step(now_ns)
        fresh = feed.listings_due()
        if fresh:
            assert hour % 24 == 22  # 08:00 UTC
            assert all(one.kind != "perpetual" and one.expiry_ns > now_ns for one in fresh)
            assert not {one.name for one in fresh} & (told.keys() | first)
            told |= {one.name: one for one in fresh}
        newest = {update.underlying: update for update in updates}
        wanted = {
            (one.underlying, one.expiry_ns, one.strike_e8)
            for one in feed.instruments()
            if one.kind == "option" and one.expiry_ns > now_ns
        }
        marked = {
            (name, expiry, strike)
            for name, update in newest.items()
            for expiry, strike in zip(update.expiry_ns.tolist(), update.strike_e8.tolist(), strict=True)
        }
        assert marked == wanted
    assert {"8FEB26", "14FEB26", "15FEB26", "6MAR26"} <= {name.split("-")[1] for name in told}
    assert "BTC-6MAR26" in told and "BTC-14FEB26" not in told
    assert any(name.startswith("BTC_USDC-20FEB26") for name in told)
    last_ns = START_NS + (24 * days - 1) * 3_600 * SECOND_NS
    caught_up = late.step(last_ns)
    assert content(caught_up[-2:]) == content(updates[-2:])
    due = {one.name for one in late.listings_due()}
    assert due == {name for name, one in told.items() if one.expiry_ns > last_ns}
    assert {one.name for one in late.instruments()} == {one.name for one in feed.instruments()}


@pytest.mark.parametrize("shock", [-1.5, 0.0, 1.5])
@pytest.mark.parametrize("smile", [Smile(), Smile(rho=-0.6, eta=1.25, volatility=1.2, long_volatility=0.4)])
def test_surface_has_neither_butterfly_nor_calendar_arbitrage(smile, shock):
    listed = terms(START_NS, 100_000.0, 0.0, smile.volatility, ChainRule())
    chain = generated_chain("BTC", START_NS, 100_000.0, 0.0, smile, listed)
    live = Grid(chain).live(START_NS)
    years = years_between(START_NS, live.expiry_ns)
    surface = SsviSurface(smile)
    variance_before = np.zeros(401)
    strike = 100_000.0 * np.exp(np.linspace(-2.0, 2.0, 401))
    for place, tenor in enumerate(years):
        one = Live(0, 0, live.expiry_ns[place : place + 1], ZEROS, ZEROS, ZEROS, np.log(strike))
        vols = surface.vols(one, np.array([tenor]), np.array([100_000.0]), shock)
        calls = margin_ext.price(np.full(401, 100_000.0), strike, vols, np.full(401, tenor), True)
        slopes = np.diff(calls) / np.diff(strike)
        assert np.all(slopes <= 1e-9) and np.all(slopes >= -1 - 1e-9)
        assert np.all(np.diff(slopes) >= -1e-9)
        assert np.all(vols**2 * tenor >= variance_before - 1e-12)
        variance_before = vols**2 * tenor


def test_skew_leans_down_and_vols_stay_bounded():
    feed = SimFeed(START_NS, SimParameters(interval_ns=60 * SECOND_NS))
    for update in feed.snapshot():
        for expiry, forward in update.forwards:
            smile = update.vol_e6[update.expiry_ns == expiry]
            strike = update.strike_e8[update.expiry_ns == expiry]
            assert smile[0] > smile[np.abs(strike - forward).argmin()]
    for day in range(1, 120):
        for update in feed.step(START_NS + day * DAY_NS):
            if len(update.vol_e6):
                assert 10_000 <= update.vol_e6.min() <= update.vol_e6.max() <= 10_000_000
            assert min(update.expiry_ns.tolist(), default=update.time_ns + 1) > update.time_ns
    assert not feed.finished


def test_parameters_are_checked():
    coin = SimUnderlying(name="BTC", start_price=1.0)
    for wrong in (
        {"interval_ns": 0},
        {"underlyings": ()},
        {"jumps_per_year": 1e9},
        {"shocks": (Shock(after_ns=0, log_return=-0.1),)},
        {"interval_ns": 10 * DAY_NS, "jumps_per_year": 1.0, "underlyings": (coin,)},
        {"underlyings": (SimUnderlying(name="BTC", start_price=0.0),)},
        {"underlyings": (SimUnderlying(name="BTC", start_price=1.0, market_loading=1.1),)},
        {"underlyings": (SimUnderlying(name="BTC", start_price=1.0, smile=Smile(eta=1.9)),)},
    ):
        with pytest.raises(ValueError):
            SimFeed(START_NS, SimParameters(**wrong))
