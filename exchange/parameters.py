"""Parameter sets of the margin models that the engine runs, as its configuration carries them, one per underlying."""

from typing import Literal

import msgspec

MAX_USD = 10**12


class Struct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all configuration: immutable, unknown fields are errors."""


class RateTier(Struct):
    """A marginal rate of the part above a size in USD, up to the next tier."""

    above_usd: int
    rate_ppm: int


class Peg(Struct):
    """Depeg risk of positions that hedge each other in different settlement currencies."""

    tiers: tuple[RateTier, ...]
    """Of the hedged size at the index; marginal. The first starts at 0, the others rise."""


class Skew(Struct):
    """Two scenarios of the smile's slope and curvature at the unshocked forward; exchange/risk/shifted_rows.pyx."""

    cap_base_ppm: int = 250_000
    cap_slope_ppm: int = -100_000
    """cap = base + slope sqrt(T), at least 0: the most that a vol changes."""
    width_ppm: int = 4_000_000
    vol_base_ppm: int = 600_000
    vol_slope_ppm: int = 0
    """The log-moneyness that gets the whole cap: width sqrt(T) (vol base + vol slope sqrt(T))."""
    minimum_log_moneyness_ppm: int = 10_000


class ExpiryBasis(Struct):
    """One scenario: each expiry's forward moves alone, the worse way, scaled by add + multiplier x T."""

    move_ppm: int = 45_000
    add_ppm: int = 500_000
    multiplier_ppm: int = 2_000_000


class Concentration(Struct):
    """Charge on an owner's net delta against the underlying's open interest and books, both as of its last marks."""

    open_interest_share_ppm: int = 100_000
    open_interest_rate_ppm: int = 50_000
    """Of the value beyond the share; 0: open interest costs nothing."""
    open_interest_floor_usd: int = 0
    """Open interest counts as at least this much."""
    depth_move_ppm: int = 10_000
    """Depth is what the books of futures hold on one side within this move of the mark; 0: depth costs nothing."""
    depth_cap_ppm: int = 200_000
    """The average slippage charged is at most this."""
    depth_floor_usd: int = 0
    """Depth counts as at least this much."""


def concentration_fault(own: Concentration) -> str:
    """What is wrong with such terms, '' when nothing is."""
    for name in ("open_interest_share_ppm", "open_interest_rate_ppm", "depth_cap_ppm"):
        if not 0 <= getattr(own, name) <= 1_000_000:
            return f"concentration: {name} must be 0 to 1,000,000"
    if not 0 <= own.depth_move_ppm < 1_000_000:
        return "concentration: depth_move_ppm must be 0 to 999,999"
    for name in ("open_interest_floor_usd", "depth_floor_usd"):
        if not 0 <= getattr(own, name) <= MAX_USD:
            return f"concentration: {name} must be 0 to {MAX_USD:,}"
    return ""


class GridColumn(Struct, frozen=True):
    """A column of a grid of one's own."""

    move_ppm: int
    vol: Literal["same", "up", "down"] = "same"
    extended: bool = False
    """Futures are clamped, coin rows scaled and losses dampened here."""
    weight_ppm: int | None = None
    """Of the P&L; None: 1, in an extended column `extended_factor_ppm` x range / |move|."""


class MatrixParameters(Struct):
    """The `matrix` grid of the portfolio model (price steps x vol moves, damped extended moves, roll, delta)."""

    name: str = "matrix"
    version: int = 1
    price_range_ppm: int = 160_000
    price_steps_per_side: int = 4
    vol_up_ppm: int = 500_000
    vol_down_ppm: int = 250_000
    vol_up_floor_e6: int = 500_000
    vega_power_short_ppm: int = 300_000
    vega_power_long_ppm: int = 130_000
    vega_power_boundary_days: int = 30
    vol_multiplier_floor_ppm: int = 10_000
    extended_moves_ppm: tuple[int, ...] = (
        -660_000,
        -330_000,
        500_000,
        1_000_000,
        2_000_000,
        3_000_000,
        4_000_000,
        5_000_000,
    )
    extended_factor_ppm: int = 1_000_000
    extended_dampener_usd: int = 100_000
    annualised_move_risk_ppm: int = 75_000
    minimum_move_ppm: int = 10_000
    delta_threshold_usd: int = 20_000_000
    delta_move_per_coin_e9: int = 50_000
    delta_move_max_ppm: int = 100_000
    initial_factor_ppm: int = 1_000_000
    maintenance_factor_ppm: int = 800_000
    future_initial_ppm: int = 0
    future_maintenance_ppm: int = 0
    """Contingency: of the gross size of futures and perpetuals at the index. 0: none, as with all that follows."""
    short_option_initial_ppm: int = 0
    short_option_maintenance_ppm: int = 0
    """Contingency: of the net short options per strike and expiry at the index."""
    settlement_basis_ppm: int = 0
    """Cross accounts: of the delta hedged between settlement currencies, at the index."""
    peg: Peg | None = None
    """Cross accounts: of the same hedged delta, by tiers."""
    skew: Skew | None = None
    """Competes with the worst column, as does the next."""
    expiry_basis: ExpiryBasis | None = None
    horizon_days: int = 0
    """The account is also margined without what expires within these days; 0: not."""
    columns: tuple[GridColumn, ...] | msgspec.UnsetType = msgspec.UNSET
    """A grid of one's own instead of steps x vols and extended moves; the range still scales and clamps."""
    concentration: Concentration | msgspec.UnsetType = msgspec.UNSET
    """Contingency: of what an owner's accounts hold together beyond what the market carries."""


class StandardParameters(Struct):
    """The formulas of the `_sm` models; shares of the coin (of the index for linear contracts)."""

    name: str = "standard"
    version: int = 1
    short_initial_ppm: int = 150_000
    """Less the distance out of the money, as a share of the index."""
    short_floor_ppm: int = 100_000
    short_maintenance_ppm: int = 75_000
    put_mark_ppm: int = 75_000
    """A short put's maintenance is at least this share of its mark, before the mark is added."""
    future_initial_ppm: int = 20_000
    future_maintenance_ppm: int = 10_000
    per_coin_ppm: int = 50
    """Added to both rates for every coin of the position."""


class LeverageTier(Struct):
    """A range of isolated notional, from `above_usd` to the next tier's."""

    above_usd: int
    initial_ppm: int
    maintenance_ppm: int


class IsolatedParameters(Struct):
    """Leverage tiers of isolated positions, by notional in USD. Maintenance margin is continuous where tiers meet."""

    name: str = "isolated"
    version: int = 1
    tiers: tuple[LeverageTier, ...] = (
        LeverageTier(0, 10_000, 5_000),
        LeverageTier(1_000_000, 20_000, 10_000),
        LeverageTier(5_000_000, 50_000, 25_000),
        LeverageTier(20_000_000, 100_000, 50_000),
        LeverageTier(100_000_000, 200_000, 100_000),
    )
