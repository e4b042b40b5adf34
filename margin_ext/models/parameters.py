"""Parameter sets of the margin models: what a figure depends on beside the portfolio.

Integers with their unit in the last word of the name (`_ppm` parts per million, `_usd` dollars, `_days`, `_seconds`).
A set says which model it belongs to, its name and its version; `parameter_files` loads and hashes them.
"""

from typing import Annotated, Literal

import msgspec

PPM = 1_000_000
MAX_SCENARIOS = 64

Natural = Annotated[int, msgspec.Meta(ge=0, le=(1 << 53) - 1)]
Positive = Annotated[int, msgspec.Meta(ge=1, le=(1 << 53) - 1)]
Signed = Annotated[int, msgspec.Meta(ge=-(1 << 53) + 1, le=(1 << 53) - 1)]
SharePpm = Annotated[int, msgspec.Meta(ge=0, le=PPM)]
MovePpm = Annotated[int, msgspec.Meta(gt=-PPM, le=1000 * PPM)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=64)]
VolMove = Literal["same", "up", "down"]
Numeraire = Literal["coin", "usd"]


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of every parameter struct: immutable, unknown fields are errors."""

    def faults(self) -> list[tuple[str, str]]:
        """(field path, reason) of everything that the field types alone do not exclude."""
        return []


# ------------------------------------------------------------------------------------------------ matrix


class GridColumn(Parameters, kw_only=True):
    """A column of a grid of one's own."""

    move_ppm: MovePpm
    vol: VolMove = "same"
    extended: bool = False
    """Futures are clamped, coin rows scaled and losses dampened here."""
    weight_ppm: Natural | None = None
    """Of the P&L; None: 1, in an extended column `extended_factor_ppm` x range / |move|."""


class Skew(Parameters, kw_only=True):
    """Two scenarios of the smile's slope and curvature at the unshocked forward; `matrix_columns.skewed_vols`."""

    cap_base_ppm: Signed = 250_000
    cap_slope_ppm: Signed = -100_000
    """cap = base + slope sqrt(T), at least 0."""
    width_ppm: Positive = 4 * PPM
    vol_base_ppm: Natural = 600_000
    vol_slope_ppm: Signed = 0
    """The log-moneyness that gets the whole cap: width sqrt(T) (vol base + vol slope sqrt(T))."""
    minimum_log_moneyness_ppm: Positive = 10_000


class ExpiryBasis(Parameters, kw_only=True):
    """One scenario: each expiry's forward moves alone, the worse way, scaled by add + multiplier x T."""

    move_ppm: Annotated[int, msgspec.Meta(gt=0, lt=PPM)] = 45_000
    add_ppm: Natural = 500_000
    multiplier_ppm: Natural = 2 * PPM


class StaticDiscount(Parameters, kw_only=True):
    """Shocked option values per expiry are counted at a discount (longs) or a surcharge (shorts)."""

    long_base_ppm: Positive = 950_000
    long_multiplier_ppm: Natural = PPM
    long_add_ppm: Natural = 0
    short_base_ppm: Positive = 1_040_000
    short_multiplier_ppm: Natural = 500_000
    short_add_ppm: Natural = 0


class RateTier(Parameters, kw_only=True):
    """A marginal rate of the part above a size in USD, up to the next tier."""

    above_usd: Natural
    rate_ppm: Natural


class Peg(Parameters, kw_only=True):
    """Depeg risk of positions that hedge each other in different settlement currencies."""

    tiers: tuple[RateTier, ...] = ()
    """Of the hedged size at the index; marginal."""
    loss_factor_ppm: Natural = 0
    """Initial margin grows by this x (threshold - price) x worst while a dollar currency is below the threshold."""
    threshold_ppm: SharePpm = 990_000


class Concentration(Parameters, kw_only=True):
    """Charge on an owner's net delta against the underlying's open interest and book depth."""

    open_interest_share_ppm: SharePpm = 100_000
    open_interest_rate_ppm: Natural = 50_000
    """Of the value beyond the share."""
    open_interest_floor_usd: Natural = 0
    """Open interest counts as at least this much."""
    depth_move_ppm: Natural = 10_000
    """The depth given with the market is what the book holds within this move; 0: depth costs nothing."""
    depth_cap_ppm: SharePpm = 200_000
    """The average slippage charged is at most this."""
    depth_floor_usd: Natural = 0
    """Depth counts as at least this much."""


class MatrixSet(Parameters, kw_only=True, tag_field="model", tag="matrix"):
    """Price x vol grid with damped extended moves, roll and delta shocks, and contingencies; of one underlying."""

    name: Name
    version: Positive = 1
    numeraire: Numeraire = "coin"
    price_range_ppm: Annotated[int, msgspec.Meta(gt=0, lt=PPM)] = 160_000
    price_steps_per_side: Annotated[int, msgspec.Meta(ge=1, le=8)] = 4
    vol_up_ppm: Natural = 500_000
    vol_down_ppm: Natural = 250_000
    vol_up_floor_e6: Natural = 500_000
    vega_power_short_ppm: Natural = 300_000
    vega_power_long_ppm: Natural = 130_000
    vega_power_boundary_days: Natural = 30
    vol_multiplier_floor_ppm: SharePpm = 10_000
    extended_moves_ppm: tuple[MovePpm, ...] = ()
    extended_factor_ppm: Natural = PPM
    extended_dampener_usd: Natural = 0
    columns: tuple[GridColumn, ...] = ()
    """A grid of one's own instead of steps x vols and extended moves; the range still scales and clamps."""
    future_clamp: Literal["both", "gains", "none"] = "both"
    """What of a future's P&L in extended columns is bounded by the price range."""
    annualised_move_risk_ppm: Natural = 0
    minimum_move_ppm: Natural = 0
    delta_threshold_usd: Natural = 0
    delta_move_per_coin_e9: Natural = 0
    delta_move_max_ppm: SharePpm = 0
    initial_factor_ppm: Positive = PPM
    maintenance_factor_ppm: Positive = 800_000
    aggregation: Literal["sum", "scenario"] = "sum"
    """USD: underlyings' worst losses are added, or the same column of all is added before the worst is taken."""
    pnl_offset_ppm: SharePpm = 0
    """With "scenario": the share of a gain that may offset other underlyings' losses."""
    pnl_offset_cap_usd: Natural = 0
    """At most this much of it; 0: no cap."""
    future_initial_ppm: Natural = 0
    future_maintenance_ppm: Natural = 0
    """Contingency: of the gross size of futures and perpetuals at the index."""
    short_option_initial_ppm: Natural = 0
    short_option_maintenance_ppm: Natural = 0
    """Contingency: of the net short options per strike and expiry at the index."""
    settlement_basis_ppm: Natural = 0
    """Contingency (USD): of the delta hedged between settlement currencies, at the index."""
    discounted: bool = False
    """Option values are discounted at the underlying's `rate` until expiry."""
    skew: Skew | None = None
    expiry_basis: ExpiryBasis | None = None
    static_discount: StaticDiscount | None = None
    peg: Peg | None = None
    concentration: Concentration | None = None
    horizon_days: Natural = 0
    """The book is also margined without what expires within these days; 0: not."""
    settlement_window_seconds: Natural = 0
    """Length of the average that an expiry settles at; 0: it settles at a single price."""

    def faults(self) -> list[tuple[str, str]]:
        found = []
        if self.columns and self.extended_moves_ppm:
            found.append(("extended_moves_ppm", "must be empty where columns are given"))
        if any(move == 0 for move in self.extended_moves_ppm):
            found.append(("extended_moves_ppm", "a move must not be zero"))
        for place, column in enumerate(self.columns):
            if column.extended and column.move_ppm == 0:
                found.append((f"columns[{place}].move_ppm", "an extended column must move"))
        count = len(self.columns) or 3 * (2 * self.price_steps_per_side + 1) + len(self.extended_moves_ppm)
        if count > MAX_SCENARIOS:
            found.append(("columns" if self.columns else "extended_moves_ppm", f"{count} scenarios, at most 64"))
        if self.maintenance_factor_ppm > self.initial_factor_ppm:
            found.append(("maintenance_factor_ppm", "must not be above initial_factor_ppm"))
        found += [
            (f"{kind}_maintenance_ppm", f"must not be above {kind}_initial_ppm")
            for kind in ("future", "short_option")
            if getattr(self, f"{kind}_maintenance_ppm") > getattr(self, f"{kind}_initial_ppm")
        ]
        if self.numeraire == "coin":
            # each chain stands by itself: nothing is hedged between currencies, and nothing charged for it
            if self.static_discount:
                found.append(("static_discount", "needs numeraire = 'usd'"))
            if self.peg and self.peg.loss_factor_ppm:
                found.append(("peg.loss_factor_ppm", "needs numeraire = 'usd'"))
            if self.aggregation == "scenario":
                found.append(("aggregation", "'scenario' needs numeraire = 'usd'"))
        if self.peg is not None:
            found += rising("peg.tiers", [tier.above_usd for tier in self.peg.tiers])
        return found


def rising(path: str, bounds: list[int]) -> list[tuple[str, str]]:
    """Faults of a tier list whose lower bounds must start at 0 and rise."""
    if bounds and bounds[0] != 0:
        return [(f"{path}[0]", "the first tier must start at 0")]
    for place in range(1, len(bounds)):
        if bounds[place] <= bounds[place - 1]:
            return [(f"{path}[{place}]", "tiers must rise")]
    return []
