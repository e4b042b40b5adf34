"""Safe bands of the account kinds beside the plain grid, against brute force on every mark.

As in test_safe_bands, two engines get the same records, one with bands from the first account on, one without: margin
by formula, with and without haircuts, sets with charges beside the grid, and grids of one's own.
"""

from typing import Any

import msgspec
import pytest

from exchange import config
from exchange.parameters import Concentration, ExpiryBasis, GridColumn, Peg, RateTier, Skew
from exchange.parameters_span import (
    CalendarSpread,
    SpanCredit,
    SpanCredits,
    SpanParameters,
    SpanTier,
    SpreadLeg,
)
from tests.oracles import crowd
from tests.properties.test_safe_bands import into_corners, run

HAIRCUTS = (
    config.Currency(name="BTC", exponent=10, underlying="BTC", haircut_ppm=60_000, debt_ppm=1_040_000),
    config.Currency(name="USDC", exponent=6, haircut_ppm=10_000, debt_ppm=1_020_000),
    config.Currency(name="ETH", exponent=10, underlying="ETH", haircut_ppm=90_000, debt_ppm=1_060_000),
)
CHARGES = {
    "future_initial_ppm": 12_000,
    "future_maintenance_ppm": 8_000,
    "short_option_initial_ppm": 20_000,
    "short_option_maintenance_ppm": 9_000,
    "settlement_basis_ppm": 6_000,
    "peg": Peg(tiers=(RateTier(above_usd=0, rate_ppm=2_000), RateTier(above_usd=20_000, rate_ppm=9_000))),
    "concentration": Concentration(open_interest_share_ppm=100, depth_floor_usd=100_000, depth_cap_ppm=30_000),
}
# scenarios that are worse than the columns for somebody, and a horizon beyond the first two expiries
BESIDE = {
    "skew": Skew(cap_base_ppm=400_000, width_ppm=2_000_000, vol_slope_ppm=100_000),
    "expiry_basis": ExpiryBasis(move_ppm=60_000, add_ppm=900_000),
}
# columns so narrow that the smile is what most options are margined by
SKEWED = {
    "skew": Skew(cap_base_ppm=600_000, width_ppm=300_000), "price_range_ppm": 16_000, "vol_up_ppm": 20_000,
    "vol_down_ppm": 20_000, "vol_up_floor_e6": 0, "extended_moves_ppm": (),
}  # fmt: skip
HORIZON = {**BESIDE, **CHARGES, "horizon_days": 20}
# no column without a shock but the padding, one that weighs more than the loss, one that moves a perpetual further
OWN = (
    *[GridColumn(move_ppm=move, vol=vol) for move in (-150_000, -75_000, 80_000, 160_000) for vol in ("up", "down")],
    GridColumn(move_ppm=-60_000, weight_ppm=1_300_000),
    GridColumn(move_ppm=70_000, vol="up", weight_ppm=700_000),
    GridColumn(move_ppm=-450_000, vol="up", extended=True),
    GridColumn(move_ppm=1_200_000, vol="up", extended=True, weight_ppm=140_000),
)

# every charge binds for somebody; the first two expiries come into other tiers and near their delivery within a run
SPAN = SpanParameters(
    tiers=(
        SpanTier(name="near", from_days=0, to_days=2),
        SpanTier(name="middle", from_days=2, to_days=60),
        SpanTier(name="far", from_days=60, to_days=400),
    ),
    calendar=(
        CalendarSpread(priority=1, first="near", second="near", rate_ppm=4_000),
        CalendarSpread(priority=2, first="near", second="middle", rate_ppm=9_000),
        CalendarSpread(
            priority=3, first="middle", second="far", first_ratio_ppm=1_000_000, second_ratio_ppm=1_100_000,
            rate_ppm=15_000,
        ),
        CalendarSpread(priority=4, first="near", second="far", rate_ppm=20_000),
    ),
    delivery_ppm=6_000, delivery_days=1, short_option_minimum_ppm=12_000,
)  # fmt: skip
POINTS = msgspec.structs.replace(
    SPAN, vol_scan_kind="points", vol_scan_range_ppm=150_000, short_option_minimum_ppm=120_000,
    short_option_method="maximum", look_ahead_days=2,
    maintenance_factor_ppm=1_150_000, initial_factor_ppm=1_300_000, concentration=CHARGES["concentration"],
)  # fmt: skip
CREDITS = SpanCredits(
    credits=(
        SpanCredit(
            priority=1, rate_ppm=600_000,
            legs=(
                SpreadLeg(underlying="BTC", ratio_ppm=1_000_000, side="long"),
                SpreadLeg(underlying="ETH", ratio_ppm=21_000_000, side="short"),
            ),
        ),
    ),
)  # fmt: skip


class ByFormula(crowd.Crowd):
    models = ("segregated_sm", "cross_sm")


class Mixed(crowd.Crowd):
    models = ("segregated_pm", "cross_sm")


class Late(crowd.Crowd):
    """Three quarters of an hour before the first expiry, in a market beside itself."""

    start_ns = crowd.START_NS + crowd.EXPIRY_HOURS[0] * crowd.HOUR_NS - 45 * 60 * 10**9
    first_vol = 3.0


class Indebted(crowd.Crowd):
    """Cross accounts, two in three with all their collateral in one currency: what they buy in others is a debt."""

    models = ("cross_pm", "segregated_pm")

    def _account(self, name: str, model: str, **cash: float) -> int:
        kind = int(name.split("-")[1]) % 3 if name.startswith("member") else 0
        if model == "cross_pm" and kind:
            cash = {"BTC": 40.0} if kind == 1 else {"USDC": 2_500_000.0}
        return super()._account(name, model, **cash)


def with_sets(**fields: Any) -> dict[str, Any]:
    """The crowd's underlyings with other fields of their matrix."""
    before = crowd.configuration(1).underlyings
    made = tuple(msgspec.structs.replace(u, matrix=msgspec.structs.replace(u.matrix, **fields)) for u in before)
    return {"underlyings": made}


def averaged(underlyings: tuple[config.Underlying, ...]) -> tuple[config.Underlying, ...]:
    """The same, settled on averages."""
    return tuple(msgspec.structs.replace(one, settlement_averaging=True) for one in underlyings)


def with_span(*spans: SpanParameters | msgspec.UnsetType) -> dict[str, Any]:
    """The crowd's underlyings, BTC and ETH, margined by `span16` where a set is given."""
    before = crowd.configuration(1).underlyings
    return {"underlyings": tuple(msgspec.structs.replace(u, span=s) for u, s in zip(before, spans, strict=True))}


KINDS: dict[str, tuple[type[crowd.Crowd], dict[str, Any]]] = {
    "formula": (ByFormula, {}),
    "haircuts": (ByFormula, {"currencies": HAIRCUTS}),
    "charges": (crowd.Crowd, with_sets(**CHARGES)),
    "grid": (crowd.Crowd, with_sets(columns=OWN, extended_moves_ppm=())),
    "span": (crowd.Crowd, with_span(SPAN, SPAN) | {"span_credits": CREDITS}),
    "points": (crowd.Crowd, with_span(POINTS, msgspec.UNSET)),
    "collateral": (Indebted, {"currencies": HAIRCUTS}),
    "span collateral": (Indebted, with_span(SPAN, SPAN) | {"span_credits": CREDITS, "currencies": HAIRCUTS}),
    "beside": (crowd.Crowd, with_sets(**BESIDE)),
    "skew": (crowd.Crowd, with_sets(**SKEWED)),
    "late skew": (Late, {"underlyings": averaged(with_sets(**SKEWED)["underlyings"])}),
    "horizon": (crowd.Crowd, with_sets(**HORIZON)),
    "collateral beside": (Indebted, with_sets(**BESIDE, **CHARGES) | {"currencies": HAIRCUTS}),
    "collateral horizon": (Indebted, with_sets(**HORIZON) | {"currencies": HAIRCUTS}),
    "mixed": (Mixed, with_sets(**CHARGES, columns=OWN, extended_moves_ppm=())),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_crossing_is_found(name: str, seed: int) -> None:
    kind, changes = KINDS[name]
    run(seed, 200, 1_000 if name in ("formula", "charges") else 300, 0.0006, kind, 0.9, **changes)


@pytest.mark.full
@pytest.mark.parametrize("name", KINDS)
def test_every_crossing_is_found_at_length(name: str, seed: int) -> None:
    kind, changes = KINDS[name]
    run(seed, 3_000, 2_000, 0.0006, kind, 0.9, **changes)


@pytest.mark.parametrize("name", KINDS)
def test_no_corner_of_a_box_holds_a_crossing(name: str, seed: int) -> None:
    kind, changes = KINDS[name]
    ranks, bands, inside = into_corners(kind(seed, 400, **changes), 120)
    assert len(bands) > 130
    assert inside > 5_000
    if name in ("formula", "grid"):
        assert any(ranks[account] for account in bands)


@pytest.mark.full
@pytest.mark.parametrize("warning_ppm", [(1_000_000,), (2_000_000, 1_500_000, 1_250_000, 1_100_000)])
@pytest.mark.parametrize("name", KINDS)
def test_no_corner_holds_a_crossing_at_length(name: str, warning_ppm: tuple[int, ...], seed: int) -> None:
    kind, changes = KINDS[name]
    into_corners(kind(seed, 1_500, liquidation=config.Liquidation(warning_ppm=warning_ppm), **changes), 500)
