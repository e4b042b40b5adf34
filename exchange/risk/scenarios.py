"""The scenario grids of the portfolio model as columns, from their integer parameters.

`matrix`: price buckets (steps each side of zero) x vol {up, same, down}, then the extended moves (vol up only), each
with the weight `factor x range / |move|`. In the coin numeraire an extended column is also scaled by
`(1 + move) / (1 + sign(move) x range)`; its futures move no further than the price range. A loss in an extended column
is reduced by at most `(|move| / range - 1) x dampener`. Source of the form: published portfolio-margin documentation.

`span16`: price moves of 0, +1/3, -1/3, +2/3, -2/3, +1 and -1 scan range, each with vol up and then down; then the two
extremes, vol unchanged, of which a share counts. Source of the form: descriptions of SPAN.
"""

from fractions import Fraction
from itertools import pairwise

import msgspec
from msgspec import UNSET

from exchange.config import Underlying
from exchange.parameters import (
    MAX_USD,
    ExpiryBasis,
    GridColumn,
    MatrixParameters,
    Peg,
    Skew,
    concentration_fault,
)
from exchange.parameters_span import SpanParameters

PPM = 1_000_000
LANES = 8
MAX_TIERS = 16
MAX_HORIZON_DAYS = 365
CHARGES = ("futures", "short_options", "settlement_basis", "peg", "concentration")
"""What a set may add to the factored sum, by name; see exchange/risk/charges.pyx."""
RIVALS = ("skew_tilted", "skew_bent", "expiry_basis")
"""Scenarios beside the columns, by name."""
VOL_SAME, VOL_UP, VOL_DOWN = 0, 1, 2
VOLS = ("same", "up", "down")
THIRDS = (0, 1, -1, 2, -2, 3, -3)
"""Of the scan range: the price moves of `span16` in order."""


class Column(msgspec.Struct, frozen=True):
    """One scenario. Rational figures as (numerator, denominator)."""

    move_ppm: int
    vol: int
    extended: bool
    weight: tuple[int, int]
    coin_factor: tuple[int, int]
    dampener: tuple[int, int]
    """Multiple of the dampener amount that a loss here is reduced by."""
    exact_move: tuple[int, int] | None = None
    """The move where it is no whole number of ppm."""

    @property
    def spot_multiplier(self) -> float:
        """1 + move."""
        top, bottom = self.exact_move or (self.move_ppm, PPM)
        return (bottom + top) / bottom


def _pair(value: Fraction) -> tuple[int, int]:
    return value.numerator, value.denominator


def columns(parameters: MatrixParameters) -> list[Column]:
    """The grid, padded with weightless columns to a multiple of 8; the unshocked column comes first, unless a set has
    columns of its own."""
    one, zero = (1, 1), (0, 1)
    if parameters.columns is not UNSET:
        grid = [_own_column(parameters, column) for column in parameters.columns]
        return grid + [Column(0, VOL_SAME, False, zero, one, zero)] * (-len(grid) % LANES)
    steps = parameters.price_steps_per_side
    grid = []
    moves = sorted(range(-steps, steps + 1), key=lambda step: (abs(step), step))
    for step in moves:
        move = parameters.price_range_ppm * step // steps
        grid += [Column(move, vol, False, one, one, zero) for vol in (VOL_SAME, VOL_UP, VOL_DOWN)]
    grid += [_extended(parameters, move_ppm, VOL_UP) for move_ppm in parameters.extended_moves_ppm]
    return grid + [Column(0, VOL_SAME, False, zero, one, zero)] * (-len(grid) % LANES)


def _extended(parameters: MatrixParameters, move_ppm: int, vol: int) -> Column:
    price_range = Fraction(parameters.price_range_ppm, PPM)
    jump = Fraction(move_ppm, PPM)
    edge = 1 + (price_range if jump > 0 else -price_range)
    ratio = max(abs(jump) / price_range, Fraction(1)) - 1
    weight = Fraction(parameters.extended_factor_ppm, PPM) * price_range / abs(jump)
    return Column(move_ppm, vol, True, _pair(weight), _pair((1 + jump) / edge), _pair(ratio))


def _own_column(parameters: MatrixParameters, own: GridColumn) -> Column:
    vol = VOLS.index(own.vol)
    made = Column(own.move_ppm, vol, False, (1, 1), (1, 1), (0, 1))
    if own.extended:
        made = _extended(parameters, own.move_ppm, vol)
    return made if own.weight_ppm is None else msgspec.structs.replace(made, weight=(own.weight_ppm, PPM))


def span_columns(parameters: SpanParameters) -> list[Column]:
    """The sixteen columns of `span16`, in SPAN order."""
    one, zero = (1, 1), (0, 1)
    reach, grid = parameters.price_scan_range_ppm, []
    for thirds in THIRDS:
        move = (reach * thirds, 3 * PPM)
        grid += [Column(reach * thirds // 3, vol, False, one, one, zero, move) for vol in (VOL_UP, VOL_DOWN)]
    for sign in (1, -1):
        move = (sign * reach * parameters.extreme_multiple_ppm, PPM * PPM)
        cover = (parameters.extreme_cover_ppm, PPM)
        grid.append(Column(move[0] // PPM, VOL_SAME, False, cover, one, zero, move))
    return grid


def span_names(parameters: SpanParameters) -> list[str]:
    """What the sixteen scenarios are called, in order."""
    names = [f"{thirds:+d}/3 range, vol {vol}" for thirds in THIRDS for vol in ("up", "down")]
    whole, rest = divmod(parameters.extreme_multiple_ppm, PPM)
    multiple = f"{whole}.{rest:06}".rstrip("0").rstrip(".")
    cover = f"{parameters.extreme_cover_ppm // 10_000}.{parameters.extreme_cover_ppm % 10_000:04}"
    cover = cover.rstrip("0").rstrip(".")
    return names + [f"{sign}{multiple} ranges, {cover} % of it" for sign in "+-"]


def grid_of(underlying: Underlying) -> list[Column]:
    """The columns of an underlying's own parameter set."""
    return columns(underlying.matrix) if underlying.span is UNSET else span_columns(underlying.span)


def grids(underlyings: tuple[Underlying, ...]) -> list[list[Column]]:
    """The columns of every underlying, all as many: shorter grids end in weightless columns."""
    found = [grid_of(underlying) for underlying in underlyings]
    size = max(len(grid) for grid in found)
    padding = Column(0, VOL_SAME, False, (0, 1), (1, 1), (0, 1))
    return [grid + [padding] * (size - len(grid)) for grid in found]


def check(parameters: MatrixParameters) -> str:
    """What is wrong with a parameter set, '' when nothing is."""
    if not 0 < parameters.price_range_ppm < PPM:
        return "price_range_ppm must be between 0 and 1,000,000"
    if not 1 <= parameters.price_steps_per_side <= 8:
        return "price_steps_per_side must be 1 to 8"
    if any(move <= -PPM or move == 0 for move in parameters.extended_moves_ppm):
        return "extended moves must be above -100 % and not zero"
    if parameters.columns is not UNSET and (fault := _check_columns(parameters)):
        return fault
    if len(columns(parameters)) > 64:
        return "more than 64 scenarios"
    if parameters.vol_multiplier_floor_ppm <= 0:
        return "vol_multiplier_floor_ppm must be positive"
    if not 0 < parameters.maintenance_factor_ppm <= parameters.initial_factor_ppm:
        return "factors must satisfy 0 < maintenance <= initial"
    return check_parts(parameters)


def _check_columns(parameters: MatrixParameters) -> str:
    """What is wrong with a set's own columns."""
    own = parameters.columns or ()
    if not 1 <= len(own) <= 64:
        return "columns: 1 to 64"
    if parameters.extended_moves_ppm:
        return "extended_moves_ppm must be empty where columns are given"
    for place, column in enumerate(own):
        if not -PPM < column.move_ppm <= 1_000 * PPM or (column.extended and column.move_ppm == 0):
            return f"columns[{place}].move_ppm must be above -100 %, and an extended column must move"
        if column.weight_ppm is not None and not 0 <= column.weight_ppm <= 100 * PPM:
            return f"columns[{place}].weight_ppm must be 0 to 100,000,000"
    return ""


def beside_grid(parameters: MatrixParameters) -> bool:
    """Whether a set asks for anything beside grid, roll and delta shock."""
    p = parameters
    charges = p.future_initial_ppm or p.short_option_initial_ppm or p.settlement_basis_ppm or p.peg
    return bool(charges or p.skew or p.expiry_basis or p.horizon_days or p.concentration is not UNSET)


def check_parts(parameters: MatrixParameters) -> str:
    """What is wrong with the parts that a set has beside the grid, '' when nothing is.

    Every field that a set can name is used: unknown ones are refused when it is decoded, and what a part cannot be
    used with is refused here.
    """
    for kind in ("future", "short_option"):
        initial, maintenance = (getattr(parameters, f"{kind}_{name}_ppm") for name in ("initial", "maintenance"))
        if not 0 <= maintenance <= initial <= PPM:
            return f"{kind} contingencies must satisfy 0 <= maintenance <= initial <= 1,000,000 ppm"
    if not 0 <= parameters.settlement_basis_ppm <= PPM:
        return "settlement_basis_ppm must be 0 to 1,000,000"
    if not 0 <= parameters.horizon_days <= MAX_HORIZON_DAYS:
        return f"horizon_days must be 0 to {MAX_HORIZON_DAYS}"
    faults = (
        _check_peg(parameters.peg) if parameters.peg is not None else "",
        _check_skew(parameters.skew) if parameters.skew is not None else "",
        _check_expiry_basis(parameters.expiry_basis) if parameters.expiry_basis is not None else "",
        concentration_fault(parameters.concentration) if parameters.concentration is not UNSET else "",
    )
    return next((fault for fault in faults if fault), "")


def _check_skew(skew: Skew) -> str:
    if not 0 <= skew.cap_base_ppm <= PPM or not -10 * PPM <= skew.cap_slope_ppm <= 0:
        return "skew: cap_base_ppm must be 0 to 1,000,000 and cap_slope_ppm -10,000,000 to 0"
    if not 0 < skew.width_ppm <= 100 * PPM or not 0 < skew.minimum_log_moneyness_ppm <= 10 * PPM:
        return "skew: width_ppm must be 1 to 100,000,000 and minimum_log_moneyness_ppm 1 to 10,000,000"
    if not 0 <= skew.vol_base_ppm <= 20 * PPM or not 0 <= skew.vol_slope_ppm <= 20 * PPM:
        return "skew: vol_base_ppm and vol_slope_ppm must be 0 to 20,000,000"
    return ""


def _check_expiry_basis(basis: ExpiryBasis) -> str:
    if not 0 < basis.move_ppm < PPM:
        return "expiry_basis: move_ppm must be between 0 and 1,000,000"
    if not 0 <= basis.add_ppm <= 10 * PPM or not 0 <= basis.multiplier_ppm <= 10 * PPM:
        return "expiry_basis: add_ppm and multiplier_ppm must be 0 to 10,000,000"
    return ""


def _check_peg(peg: Peg) -> str:
    bounds = [tier.above_usd for tier in peg.tiers]
    if not 1 <= len(bounds) <= MAX_TIERS or bounds[0] != 0 or any(a >= b for a, b in pairwise(bounds)):
        return f"peg: 1 to {MAX_TIERS} tiers, the first from 0 USD, the others rising"
    if bounds[-1] > MAX_USD or any(not 0 <= tier.rate_ppm <= PPM for tier in peg.tiers):
        return f"peg: tiers must start at no more than {MAX_USD:,} USD and have rates of 0 to 1,000,000 ppm"
    return ""
