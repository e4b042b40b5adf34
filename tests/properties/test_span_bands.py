"""Safe bands of accounts margined by `span16`: what time alone does to its charges, how many accounts keep theirs."""

from typing import Any

import msgspec
import numpy as np
import pytest

from exchange.parameters_span import CalendarSpread, SpanParameters, SpanTier
from tests.oracles import crowd
from tests.oracles.world import START_NS
from tests.properties.test_band_kinds import CREDITS, POINTS, with_span
from tests.properties.test_safe_bands import Pair, run

TIERS = (
    SpanTier(name="near", from_days=0, to_days=30),
    SpanTier(name="middle", from_days=30, to_days=93),
    SpanTier(name="far", from_days=93, to_days=400),
)
ORDINARY = SpanParameters(
    tiers=TIERS,
    calendar=tuple(
        CalendarSpread(priority=priority, first=first, second=second, rate_ppm=rate)
        for priority, (first, second, rate) in enumerate(
            (
                ("near", "near", 5_000), ("middle", "middle", 10_000), ("far", "far", 20_000),
                ("near", "middle", 15_000), ("middle", "far", 25_000), ("near", "far", 30_000),
            ),
            1,
        )
    ),
    short_option_minimum_ppm=10_000,
)  # fmt: skip
DEARER = tuple(msgspec.structs.replace(spread, rate_ppm=spread.rate_ppm * 4) for spread in ORDINARY.calendar)
MOVING = {
    "tier": msgspec.structs.replace(ORDINARY, calendar=DEARER),
    "delivery": msgspec.structs.replace(ORDINARY, tiers=(), calendar=(), delivery_ppm=80_000, delivery_days=30),
}


class Segregated(crowd.Crowd):
    """Ten seconds before an expiry is thirty days away."""

    models = ("segregated_pm", "segregated_pm")
    start_ns = START_NS - 10 * 10**9


class Ordinary(crowd.Crowd):
    """Most members have about twice their initial margin, 3 % hardly more than it."""

    def spread(self, number: int) -> float:
        near = self.rng.random() < 0.03
        return float(self.rng.uniform(0.0005, 0.1)) if near else float(np.exp(self.rng.normal(0.2, 1.0)))


class OrdinarySegregated(Ordinary):
    models = ("segregated_pm", "segregated_pm")


@pytest.mark.parametrize("what", MOVING)
def test_time_alone_moves_charges(what: str, seed: int) -> None:
    """An expiry comes into another tier or near its delivery while no price moves."""
    crowded = Segregated(seed, 160, **with_span(MOVING[what], msgspec.UNSET))
    pair = Pair(crowded)
    for coin in ("ETH", "BTC", "BTC"):
        pair.same(crowded.move(0.0, coin, seconds=1.0))
    bands = pair.bands.monitor.bands
    assert sum(bands.band(account, 0) is not None for account in crowded.members) > 100
    before = pair.kinds["LEVEL_CHANGED"]
    pair.same(crowded.move(0.0, seconds=1.0))
    assert pair.kinds["LEVEL_CHANGED"] == before
    for _ in range(4):
        pair.same(crowded.move(0.0, seconds=3.0))
    assert pair.kinds["LEVEL_CHANGED"] > before + 3
    pair.finish()


def test_widths_that_points_leave_are_measured(seed: int) -> None:
    """Vols that most of their points are taken from change by several times their share."""
    steep = msgspec.structs.replace(POINTS, vol_scan_range_ppm=450_000, short_option_minimum_ppm=0, delivery_ppm=0)
    run(seed, 200, 300, 0.0006, Segregated, 0.9, **with_span(steep, msgspec.UNSET))


def looked_at(kind: type[crowd.Crowd], seed: int, accounts: int, marks: int, **changes: Any) -> float:
    """The share of accounts that a calm mark looks at, once they have bands; events are compared."""
    crowded = kind(seed, accounts, **changes)
    pair = Pair(crowded)
    for number in range(marks):
        pair.same(crowded.move(0.0003, ("BTC", "BTC", "BTC", "ETH")[number % 4], seconds=10.0))
    pair.finish()
    shares = np.array([seen for number, seen in enumerate(pair.visited) if number > marks // 4 and number % 4 != 3])
    found = float(shares.mean()) / accounts
    print(f"seed {seed}: {kind.__name__}, {accounts} accounts, {marks} calm marks of BTC: {found:.2%} looked at")
    return found


SETS: dict[str, dict[str, Any]] = {
    "span": with_span(ORDINARY, ORDINARY) | {"span_credits": CREDITS},
    "points": with_span(POINTS, msgspec.UNSET),
}


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", [Ordinary, OrdinarySegregated])
def test_most_accounts_keep_their_band(kind: type[crowd.Crowd], name: str, seed: int) -> None:
    assert looked_at(kind, seed, 160, 40, **SETS[name]) < 0.25


@pytest.mark.full
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("kind", [Ordinary, OrdinarySegregated])
def test_most_accounts_keep_their_band_at_length(kind: type[crowd.Crowd], name: str, seed: int) -> None:
    assert looked_at(kind, seed, 5_000, 300, **SETS[name]) < 0.12
