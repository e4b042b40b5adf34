"""Parameter sets of `span16`, the portfolio model's other grid; field names as in the library's TOML sets."""

from itertools import pairwise
from typing import Literal

import msgspec

from exchange.parameters import Concentration, Struct, concentration_fault

PPM = 1_000_000
DAY_NS = 86_400_000_000_000


class SpanTier(Struct, frozen=True, kw_only=True):
    """Expiries from `from_days` on, up to (not with) `to_days`, as one side of a spread; perpetuals are day 0."""

    name: str
    from_days: int
    to_days: int


class CalendarSpread(Struct, frozen=True, kw_only=True):
    """A spread between two tiers (or within one), served in ascending `priority`."""

    priority: int
    first: str
    second: str
    first_ratio_ppm: int = PPM
    second_ratio_ppm: int = PPM
    """Deltas in one spread."""
    rate_ppm: int
    """Charge per spread, of the index."""


class SpanParameters(Struct, frozen=True, kw_only=True):
    """Sixteen scenarios of one underlying, and the charges beside them."""

    name: str = "span16"
    version: int = 1
    price_scan_range_ppm: int = 160_000
    vol_scan_range_ppm: int = 250_000
    vol_scan_kind: Literal["relative", "points"] | msgspec.UnsetType = msgspec.UNSET
    """Of the vol of the mark (also where unset), or points that are added to it: 1,000,000 ppm are 100 of them."""
    look_ahead_days: int = 1
    extreme_multiple_ppm: int = 2_000_000
    """The move of scenarios 15 and 16, in scan ranges."""
    extreme_cover_ppm: int = 350_000
    """The share of their loss that counts."""
    delta_weights_ppm: tuple[int, ...] = (270_000, 217_000, 217_000, 110_000, 110_000, 37_000, 37_000)
    """Of the composite delta, in the order of the price moves; scaled to add to one."""
    tiers: tuple[SpanTier, ...] = ()
    calendar: tuple[CalendarSpread, ...] = ()
    delivery_ppm: int = 0
    delivery_days: int = 0
    """Charge on the absolute delta of each expiry within these days, of the index."""
    short_option_minimum_ppm: int = 0
    """Per short option, of the index."""
    short_option_method: Literal["gross", "maximum"] = "gross"
    """All short options, or the larger of short calls and short puts."""
    initial_factor_ppm: int = 1_100_000
    maintenance_factor_ppm: int = PPM
    concentration: Concentration | msgspec.UnsetType = msgspec.UNSET
    """Added after the factors: of what an owner's accounts hold together beyond what the market carries."""


class SpreadLeg(Struct, frozen=True, kw_only=True):
    """One underlying's part of a spread between underlyings."""

    underlying: str
    ratio_ppm: int
    """Deltas in one spread."""
    side: Literal["long", "short"]
    """Which way it stands in the spread; all legs turned round count as well."""


class SpanCredit(Struct, frozen=True, kw_only=True):
    """A credit for opposite deltas of several underlyings, served in ascending `priority`."""

    priority: int
    legs: tuple[SpreadLeg, ...]
    rate_ppm: int
    """Of each leg's price risk."""


class SpanCredits(Struct, frozen=True, kw_only=True):
    """Credits between the underlyings of a venue that are margined by `span16`."""

    name: str = "span16_credits"
    version: int = 1
    credits: tuple[SpanCredit, ...] = ()


MAX_TIERS = 8
MAX_SPREADS = 32
MAX_CREDITS = 16
MAX_CREDIT_LEGS = 4
MAX_RATIO = 1_000 * PPM
MAX_DAYS = 36_500


def faults(p: SpanParameters) -> list[str]:
    """Everything that is wrong with a set, as "field: reason"; [] when nothing is."""
    found: list[str] = []
    if not 0 < p.price_scan_range_ppm < PPM:
        found.append("price_scan_range_ppm: must be between 0 and 1,000,000")
    if not 0 <= p.vol_scan_range_ppm < PPM:
        found.append("vol_scan_range_ppm: must be 0 to below 1,000,000")
    if not 0 <= p.look_ahead_days <= 30:
        found.append("look_ahead_days: must be 0 to 30")
    if not PPM <= p.extreme_multiple_ppm <= 100 * PPM or p.price_scan_range_ppm * p.extreme_multiple_ppm >= PPM * PPM:
        found.append("extreme_multiple_ppm: must be at least 1,000,000, and the extreme move below 100 %")
    if not 0 <= p.extreme_cover_ppm <= PPM:
        found.append("extreme_cover_ppm: must be 0 to 1,000,000")
    weights = p.delta_weights_ppm
    if len(weights) != 7 or not all(0 <= weight <= PPM for weight in weights) or sum(weights) == 0:
        found.append("delta_weights_ppm: must be 7 weights of 0 to 1,000,000, not all zero")
    if not 0 <= p.delivery_ppm <= PPM or not 0 <= p.delivery_days <= MAX_DAYS:
        found.append(f"delivery_ppm: must be 0 to 1,000,000, delivery_days 0 to {MAX_DAYS:,}")
    if not 0 <= p.short_option_minimum_ppm <= PPM:
        found.append("short_option_minimum_ppm: must be 0 to 1,000,000")
    if not 0 < p.maintenance_factor_ppm <= p.initial_factor_ppm <= 100 * PPM or p.initial_factor_ppm < PPM:
        found.append("initial_factor_ppm: must be at least 1,000,000 and not below maintenance_factor_ppm")
    if p.concentration is not msgspec.UNSET and (fault := concentration_fault(p.concentration)):
        found.append(fault)
    return [*found, *_tier_faults(p), *_spread_faults(p)]


def _tier_faults(p: SpanParameters) -> list[str]:
    found: list[str] = []
    if len(p.tiers) > MAX_TIERS:
        found.append(f"tiers: at most {MAX_TIERS}")
    if len({tier.name for tier in p.tiers}) != len(p.tiers):
        found.append("tiers: names must differ")
    spans = sorted((tier.from_days, tier.to_days) for tier in p.tiers)
    if any(not 0 <= start < end <= MAX_DAYS for start, end in spans):
        found.append(f"tiers: from_days must be below to_days, both 0 to {MAX_DAYS:,}")
    if any(before[1] > after[0] for before, after in pairwise(spans)):
        found.append("tiers: must not overlap")
    return found


def _spread_faults(p: SpanParameters) -> list[str]:
    found: list[str] = []
    names = {tier.name for tier in p.tiers}
    if len(p.calendar) > MAX_SPREADS:
        found.append(f"calendar: at most {MAX_SPREADS}")
    for place, spread in enumerate(p.calendar):
        at = f"calendar[{place}]"
        found += [f"{at}: no tier {name!r}" for name in (spread.first, spread.second) if name not in names]
        if not all(1_000 <= ratio <= MAX_RATIO for ratio in (spread.first_ratio_ppm, spread.second_ratio_ppm)):
            found.append(f"{at}: ratios must be 1,000 to {MAX_RATIO:,} ppm")
        if spread.priority < 1 or not 0 <= spread.rate_ppm <= PPM:
            found.append(f"{at}: priority must be at least 1, rate_ppm 0 to 1,000,000")
    return found


def credit_faults(terms: SpanCredits, spans: set[str]) -> list[str]:
    """What is wrong with credits; `spans`: underlyings that are margined by `span16`."""
    found: list[str] = []
    if len(terms.credits) > MAX_CREDITS:
        found.append(f"credits: at most {MAX_CREDITS}")
    for place, credit in enumerate(terms.credits):
        at = f"credits[{place}]"
        names = [leg.underlying for leg in credit.legs]
        found += [f"{at}.legs: {name} is not margined by span16" for name in names if name not in spans]
        if len(set(names)) != len(names) or len({leg.side for leg in credit.legs}) < 2 or len(names) > MAX_CREDIT_LEGS:
            found.append(f"{at}.legs: 2 to {MAX_CREDIT_LEGS} different underlyings, on both sides")
        if any(not 1_000 <= leg.ratio_ppm <= MAX_RATIO for leg in credit.legs):
            found.append(f"{at}.legs: ratio_ppm must be 1,000 to {MAX_RATIO:,}")
        if credit.priority < 1 or not 0 <= credit.rate_ppm <= PPM:
            found.append(f"{at}: priority must be at least 1, rate_ppm 0 to 1,000,000")
    return found
