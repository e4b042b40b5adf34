"""Safe bands where it is time that moves charges: tiers, deliveries and horizons; and of vols that move by points."""

import msgspec
import pytest

from exchange.parameters_span import CalendarSpread, SpanParameters, SpanTier
from tests.oracles import crowd
from tests.oracles.world import START_NS
from tests.properties.test_band_kinds import POINTS, with_sets, with_span
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
DELIVERED = msgspec.structs.replace(ORDINARY, tiers=(), calendar=(), delivery_ppm=80_000, delivery_days=30)
MOVING = {
    "tier": with_span(msgspec.structs.replace(ORDINARY, calendar=DEARER), msgspec.UNSET),
    "delivery": with_span(DELIVERED, msgspec.UNSET),
    "horizon": with_sets(horizon_days=30),
}


class Segregated(crowd.Crowd):
    """Ten seconds before an expiry is thirty days away."""

    models = ("segregated_pm", "segregated_pm")
    start_ns = START_NS - 10 * 10**9


@pytest.mark.parametrize("what", MOVING)
def test_time_alone_moves_charges(what: str, seed: int) -> None:
    """An expiry comes into another tier, near its delivery or within a horizon while no price moves."""
    crowded = Segregated(seed, 160, **MOVING[what])
    pair = Pair(crowded)
    for coin in ("ETH", "BTC", "BTC"):
        pair.same(crowded.move(0.0, coin, seconds=1.0))
    bands = pair.bands.monitor.bands
    assert sum(bands.band(account, 0) is not None for account in crowded.members) > 60
    before = pair.kinds["LEVEL_CHANGED"]
    pair.same(crowded.move(0.0, seconds=1.0))
    assert pair.kinds["LEVEL_CHANGED"] == before
    for _ in range(4):
        pair.same(crowded.move(0.0, seconds=3.0))
    assert pair.kinds["LEVEL_CHANGED"] > before
    pair.finish()


def test_widths_that_points_leave_are_measured(seed: int) -> None:
    """Vols that most of their points are taken from change by several times their share."""
    steep = msgspec.structs.replace(POINTS, vol_scan_range_ppm=450_000, short_option_minimum_ppm=0, delivery_ppm=0)
    run(seed, 200, 300, 0.0006, Segregated, 0.9, **with_span(steep, msgspec.UNSET))
