"""Replay: a small chain and a small path whose every update can be computed by hand, then the real ones."""

import csv
import gzip
import math
from datetime import datetime

import numpy as np
import pytest

import margin_ext
from gateway.feeds.chain import ChainSnapshot, Expiry, ListedOption, UnderlyingChain, default_rules
from gateway.feeds.index_path import IndexPath
from gateway.feeds.marks import conflate
from gateway.feeds.names import option_name, time_ns_of
from gateway.feeds.replay import ReplayFeed, open_replay
from gateway.feeds.surface import YEAR_NS, ShockRule

E8 = 10**8
DAY_NS = 86_400 * 10**9
SECOND_NS = 10**9
START_NS = time_ns_of(datetime.fromisoformat("2026-02-06T04:00:00+00:00"))
EXPIRIES_NS = (START_NS + 4 * 3_600 * SECOND_NS, START_NS + 50 * DAY_NS)
STRIKES = (60_000, 65_000, 70_000)
VOLS = (900_000, 700_000, 750_000, 560_000, 500_000, 520_000)
NO_SHOCK = ShockRule(response=0.0)


def chain_of(name, price, scale=1.0):
    pairs = [(expiry, round(strike * scale * E8)) for expiry in EXPIRIES_NS for strike in STRIKES]
    return UnderlyingChain(
        underlying=name,
        index_price_e8=round(price * E8),
        expiries=tuple(
            Expiry(expiry, round(price * E8 * (1 + premium)), True)
            for expiry, premium in zip(EXPIRIES_NS, (0.0, 0.01), strict=True)
        ),
        options=tuple(
            ListedOption(option_name(name, expiry, strike, side), expiry, strike, side)
            for expiry, strike in pairs
            for side in ("call", "put")
        ),
        pair_expiry_ns=np.array([expiry for expiry, _ in pairs]),
        pair_strike_e8=np.array([strike for _, strike in pairs]),
        pair_vol_e6=np.array(VOLS),
    )


def small_chain():
    return ChainSnapshot(START_NS, {"BTC": chain_of("BTC", 65_000), "ETH": chain_of("ETH", 2_000, 0.03)})


def small_path(prices, seconds=60, origin_ns=1_700_000_000 * SECOND_NS):
    times = origin_ns + np.arange(len(prices)) * seconds * SECOND_NS
    return IndexPath(times.astype(np.int64), np.array(prices, dtype=float))


def test_snapshot_marks_are_the_recorded_ones():
    feed = ReplayFeed(small_chain(), {"BTC": small_path([10, 11])})
    btc, eth = feed.snapshot()
    assert (btc.underlying, btc.time_ns, btc.index_price_e8) == ("BTC", START_NS, 65_000 * E8)
    assert btc.vol_e6.tolist() == list(VOLS)
    assert [expiry for expiry, _ in btc.forwards] == list(EXPIRIES_NS)
    assert [forward for _, forward in btc.forwards] == pytest.approx([65_000 * E8, 65_650 * E8], rel=1e-12)
    assert (eth.underlying, eth.index_price_e8) == ("ETH", 2_000 * E8)


def test_returns_apply_from_the_snapshot_price_and_betas_to_the_rest():
    path = small_path([100, 110, 90, 95])
    feed = ReplayFeed(small_chain(), {"BTC": path}, betas={"ETH": 1.5}, refresh_ns=10**15)
    updates = feed.step(START_NS + 180 * SECOND_NS)
    prices = {
        name: [update.index_price_e8 / E8 for update in updates if update.underlying == name] for name in ("BTC", "ETH")
    }
    assert prices["BTC"] == pytest.approx([65_000 * ratio for ratio in (1.1, 0.9, 0.95)])
    assert prices["ETH"] == pytest.approx([2_000 * ratio**1.5 for ratio in (1.1, 0.9, 0.95)])
    minutes = [(update.time_ns - START_NS) / (60 * SECOND_NS) for update in updates]
    assert minutes == [1, 1, 2, 2, 3, 3]
    assert feed.finished
    assert feed.end_time_ns == START_NS + 180 * SECOND_NS


def test_own_paths_share_one_clock():
    late = small_path([50, 55], origin_ns=1_700_000_090 * SECOND_NS)
    feed = ReplayFeed(small_chain(), {"BTC": small_path([100, 110, 90]), "ETH": late}, refresh_ns=10**15)
    updates = feed.step(START_NS + 600 * SECOND_NS)
    moves = [(update.underlying, (update.time_ns - START_NS) // SECOND_NS) for update in updates[:4]]
    assert moves == [("BTC", 60), ("ETH", 90), ("BTC", 120), ("ETH", 150)]
    assert updates[1].index_price_e8 == 2_000 * E8
    assert updates[3].index_price_e8 == pytest.approx(2_200 * E8)


def test_every_close_is_told_at_high_speed_and_a_long_gap_keeps_its_extremes():
    prices = 100 + np.random.default_rng(4).normal(size=1_000).cumsum()
    feed = ReplayFeed(small_chain(), {"BTC": small_path(prices)}, speed=600.0)
    told = []
    for tick in range(1, 101):  # 20 steps a second of real time: 30 s of venue time each
        updates = feed.step(feed.venue_time_ns(tick * 50_000_000))
        told += [update for update in updates if update.underlying == "BTC"]
    at_closes = [u.index_price_e8 for u in told if (u.time_ns - START_NS) % (60 * SECOND_NS) == 0]
    assert at_closes == [round(65_000 * price / prices[0] * E8) for price in prices[1:51]]
    assert not feed.finished
    gap = [u for u in feed.step(feed.end_time_ns) if u.underlying == "BTC"]
    assert len(gap) <= 3
    rest = 65_000 * prices[51:] / prices[0] * E8
    extremes = sorted([rest.min(), rest.max(), rest[-1]])
    assert sorted(u.index_price_e8 for u in gap) == pytest.approx(extremes, abs=1)
    assert feed.finished


def test_conflation_keeps_lowest_highest_newest_in_order():
    assert conflate([5.0, 9.0, 1.0, 4.0], 4) == [0, 1, 2, 3]
    assert conflate([5.0, 9.0, 1.0, 4.0, 6.0], 4) == [1, 2, 4]
    assert conflate([5.0, 4.0, 3.0, 2.0, 1.0], 3) == [0, 4]
    assert conflate([], 3) == []


def test_price_is_held_and_told_again_between_points_and_after_the_end():
    feed = ReplayFeed(small_chain(), {"BTC": small_path([100, 90])}, refresh_ns=2 * SECOND_NS)
    assert feed.step(START_NS + SECOND_NS) == []
    first = feed.step(START_NS + 3 * SECOND_NS)
    assert [(u.underlying, u.index_price_e8, u.time_ns - START_NS) for u in first] == [
        ("BTC", 65_000 * E8, 3 * SECOND_NS),
        ("ETH", 2_000 * E8, 3 * SECOND_NS),
    ]
    feed.step(START_NS + 60 * SECOND_NS)
    assert feed.finished
    later = feed.step(START_NS + 3_600 * SECOND_NS)
    assert [update.index_price_e8 for update in later] == [58_500 * E8, 1_800 * E8]
    with pytest.raises(ValueError, match="backwards"):
        feed.step(START_NS + 10 * SECOND_NS)


def test_expired_options_and_forwards_are_no_longer_marked():
    feed = ReplayFeed(small_chain(), {"BTC": small_path([100, 101])})
    before = feed.step(EXPIRIES_NS[0] - 1)[-1]
    at = feed.step(EXPIRIES_NS[0] + 2 * SECOND_NS)[-1]
    assert before.underlying == at.underlying == "ETH"
    assert set(before.expiry_ns.tolist()) == set(EXPIRIES_NS)
    assert set(at.expiry_ns.tolist()) == {EXPIRIES_NS[1]}
    assert [expiry for expiry, _ in at.forwards] == [EXPIRIES_NS[1]]
    assert len(at.vol_e6) == 3
    again = feed.step(EXPIRIES_NS[0] + 10 * SECOND_NS)[-1]
    assert again.expiry_ns is at.expiry_ns and again.strike_e8 is at.strike_e8
    gone = feed.step(EXPIRIES_NS[1])[-1]
    assert gone.forwards == [] and len(gone.vol_e6) == 0


def test_forward_basis_decays_to_nothing_at_expiry():
    feed = ReplayFeed(small_chain(), {"BTC": small_path([100, 100])})
    halfway = feed.step(START_NS + 25 * DAY_NS)[-2]
    ((_, forward_e8),) = halfway.forwards
    assert forward_e8 / (65_000 * E8) == pytest.approx(math.sqrt(1.01), rel=1e-9)
    ((_, last_e8),) = feed.step(EXPIRIES_NS[1] - 1)[-2].forwards
    assert last_e8 == pytest.approx(65_000 * E8, rel=1e-9)


def test_sticky_strike_and_sticky_moneyness():
    path = small_path([100, 110])
    moment = START_NS + 60 * SECOND_NS
    strike = ReplayFeed(small_chain(), {"BTC": path}, stickiness="strike", shock_rule=NO_SHOCK)
    assert strike.step(moment)[0].vol_e6.tolist() == list(VOLS)
    floating = ReplayFeed(small_chain(), {"BTC": path}, shock_rule=NO_SHOCK)
    moved = floating.step(moment)[0]
    for place, (expiry, forward) in enumerate(zip(EXPIRIES_NS, (65_000, 65_650), strict=True)):
        here = slice(3 * place, 3 * place + 3)
        knots = np.log(np.array(STRIKES) / forward) / math.sqrt((expiry - START_NS) / YEAR_NS)
        later = np.log(np.array(STRIKES) / (forward * 1.1)) / math.sqrt((expiry - moment) / YEAR_NS)
        assert moved.vol_e6[here] == pytest.approx(np.interp(later, knots, VOLS[here]), abs=60)
    assert moved.vol_e6[0] == VOLS[0]  # beyond the recorded strikes the smile is flat


def test_vol_answers_a_crash_and_forgets_it():
    rule = ShockRule(response=2.0, half_life_ns=DAY_NS, bound=1.2)
    path = small_path([100, 86])
    feed = ReplayFeed(small_chain(), {"BTC": path}, stickiness="strike", shock_rule=rule, refresh_ns=SECOND_NS)
    crash = feed.step(START_NS + 60 * SECOND_NS)[0]
    jump = 2.0 * math.log(100 / 86)
    damp = math.sqrt((30 / 365) / ((EXPIRIES_NS[1] - crash.time_ns) / YEAR_NS))
    assert crash.vol_e6[3:] == pytest.approx(np.array(VOLS[3:]) * math.exp(jump * damp), rel=1e-6)
    assert crash.vol_e6[:3] == pytest.approx(np.array(VOLS[:3]) * math.exp(jump * 1.5), rel=1e-6)
    day = feed.step(START_NS + 60 * SECOND_NS + DAY_NS)[0]
    damp = math.sqrt((30 / 365) / ((EXPIRIES_NS[1] - day.time_ns) / YEAR_NS))
    assert day.vol_e6 == pytest.approx(np.array(VOLS[3:]) * math.exp(jump / 2 * damp), rel=1e-6)
    fall = ShockRule(bound=1.2).along(np.arange(50) * SECOND_NS, 0.8 ** np.arange(50.0))
    assert fall.max() == 1.2


def test_arguments_are_checked():
    chain, path = small_chain(), small_path([1, 2])
    for paths, options in (({}, {}), ({"SOL": path}, {}), ({"BTC": path}, {"betas": {"SOL": 1.0}})):
        with pytest.raises(ValueError):
            ReplayFeed(chain, paths, **options)
    for options in ({"speed": 0.0}, {"refresh_ns": 0}, {"points_per_step": 2}):
        with pytest.raises(ValueError, match="positive"):
            ReplayFeed(chain, {"BTC": path}, **options)
    feed = ReplayFeed(chain, {"BTC": path}, rules=default_rules(["BTC"], linear_kinds=()))
    assert [instrument.name for instrument in feed.instruments()][:2] == ["BTC-PERPETUAL", "BTC-6FEB26"]


def test_real_crash_on_the_real_chain(real_data):
    chain = real_data("options/deribit_options_snapshot_20260206T043012Z.csv.gz")
    klines = [real_data(f"crash/BTCUSD_PERP-1m-2025-10-{day}.zip") for day in ("09", "10")]
    feed = open_replay(chain, {"BTC": klines}, betas={"ETH": 1.3}, speed=600.0)
    with gzip.open(chain, "rt", newline="") as file:
        marks = {row["instrument_name"]: float(row["mark_price"]) for row in csv.DictReader(file)}
    errors, missing = [], set(marks)
    first = {update.underlying: update for update in feed.snapshot()}
    for instrument in feed.instruments():
        if instrument.kind != "option":
            continue
        update = first[instrument.underlying]
        forward = dict(update.forwards)[instrument.expiry_ns] / E8
        at = (update.expiry_ns == instrument.expiry_ns) & (update.strike_e8 == instrument.strike_e8)
        (vol_e6,) = update.vol_e6[at]
        years = (instrument.expiry_ns - update.time_ns) / YEAR_NS
        call = instrument.option_type == "call"
        price = margin_ext.price(forward, instrument.strike_e8 / E8, vol_e6 / 1e6, years, call) / forward
        errors.append(abs(price - marks[instrument.name]))
        missing.discard(instrument.name)
    assert missing == set() and len(errors) == 1_884
    assert np.quantile(errors, 0.99) < 1e-3

    lowest, tick, count = math.inf, 0, 0
    while not feed.finished:
        tick += 1
        for update in feed.step(feed.venue_time_ns(tick * 50_000_000)):
            count += 1
            assert update.vol_e6.min() >= 50_000 and update.vol_e6.max() <= 10_000_000
            if update.underlying == "BTC":
                lowest = min(lowest, update.index_price_e8 / E8)
    assert count >= 2 * 2_881
    assert lowest == pytest.approx(64_774.21 * 104_559.8 / 123_277.830646, rel=5e-3)
