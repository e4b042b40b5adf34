"""Parameter sets of `span16` and of the formula models `standard` and `isolated`."""

from itertools import pairwise
from typing import Annotated, Literal

import msgspec

from margin_ext.models.parameters import (
    PPM,
    Concentration,
    MatrixSet,
    Name,
    Natural,
    Parameters,
    Positive,
    SharePpm,
    rising,
)

RatePpm = Annotated[int, msgspec.Meta(gt=0, lt=PPM)]


# ------------------------------------------------------------------------------------------------ span16


class SpanTier(Parameters, kw_only=True):
    """Expiries from `from_days` on, up to (not with) `to_days`, as one side of a spread; perpetuals are day 0."""

    name: Name
    from_days: Natural
    to_days: Positive


class CalendarSpread(Parameters, kw_only=True):
    """A spread between two tiers (or within one), served in ascending `priority`."""

    priority: Positive
    first: Name
    second: Name
    first_ratio_ppm: Positive = PPM
    second_ratio_ppm: Positive = PPM
    """Deltas in one spread."""
    rate_ppm: Natural
    """Charge per spread, of the index."""


class SpanSet(Parameters, kw_only=True, tag_field="model", tag="span16"):
    """Sixteen scenarios in SPAN order, of one underlying."""

    name: Name
    version: Positive = 1
    price_scan_range_ppm: RatePpm = 160_000
    vol_scan_range_ppm: SharePpm = 250_000
    vol_scan_kind: Literal["relative", "points"] = "relative"
    look_ahead_days: Natural = 1
    extreme_multiple_ppm: Positive = 2 * PPM
    """The move of scenarios 15 and 16, in scan ranges."""
    extreme_cover_ppm: SharePpm = 350_000
    """The share of their loss that counts."""
    delta_weights_ppm: tuple[Natural, ...] = (270_000, 217_000, 217_000, 110_000, 110_000, 37_000, 37_000)
    """Of the composite delta, in the order of the price moves; scaled to add to one."""
    tiers: tuple[SpanTier, ...] = ()
    calendar: tuple[CalendarSpread, ...] = ()
    delivery_ppm: Natural = 0
    delivery_days: Natural = 0
    """Charge on the absolute delta of futures and options that expire within these days, of the index."""
    short_option_minimum_ppm: Natural = 0
    """Per short option, of the index."""
    short_option_method: Literal["gross", "maximum"] = "gross"
    """All short options, or the larger of short calls and short puts."""
    initial_factor_ppm: Positive = PPM
    maintenance_factor_ppm: Positive = PPM
    concentration: Concentration | msgspec.UnsetType = msgspec.UNSET
    """Added after the factors."""

    def faults(self) -> list[tuple[str, str]]:
        found = []
        if self.price_scan_range_ppm * self.extreme_multiple_ppm >= PPM * PPM:
            found.append(("extreme_multiple_ppm", "the extreme move must be below 100 %"))
        if len(self.delta_weights_ppm) != 7 or sum(self.delta_weights_ppm) == 0:
            found.append(("delta_weights_ppm", "must be 7 weights, not all zero"))
        names = [tier.name for tier in self.tiers]
        if len(set(names)) != len(names):
            found.append(("tiers", "names must differ"))
        spans = sorted((tier.from_days, tier.to_days) for tier in self.tiers)
        if any(start >= end for start, end in spans):
            found.append(("tiers", "from_days must be below to_days"))
        if any(before[1] > after[0] for before, after in pairwise(spans)):
            found.append(("tiers", "must not overlap"))
        for place, spread in enumerate(self.calendar):
            found += [
                (f"calendar[{place}].{side}", f"no tier {getattr(spread, side)!r}")
                for side in ("first", "second")
                if getattr(spread, side) not in names
            ]
        if self.maintenance_factor_ppm > self.initial_factor_ppm:
            found.append(("maintenance_factor_ppm", "must not be above initial_factor_ppm"))
        return found


class SpreadLeg(Parameters, kw_only=True):
    """One underlying's part of a spread between underlyings."""

    underlying: Name
    ratio_ppm: Positive
    """Deltas in one spread."""
    side: Literal["long", "short"]
    """Which way it stands in the spread; all legs turned round count as well."""


class InterCommodityCredit(Parameters, kw_only=True):
    """A credit for opposite deltas of several underlyings, served in ascending `priority`."""

    priority: Positive
    legs: tuple[SpreadLeg, ...]
    rate_ppm: SharePpm


class CreditSet(Parameters, kw_only=True, tag_field="model", tag="span16_credits"):
    """Credits between underlyings margined by `span16`."""

    name: Name
    version: Positive = 1
    credits: tuple[InterCommodityCredit, ...] = ()

    def faults(self) -> list[tuple[str, str]]:
        found = []
        for place, credit in enumerate(self.credits):
            names = [leg.underlying for leg in credit.legs]
            if len(set(names)) != len(names) or len({leg.side for leg in credit.legs}) < 2:
                found.append((f"credits[{place}].legs", "must name different underlyings on both sides"))
        return found


# ------------------------------------------------------------------------------------------------ formulas


class FutureTier(Parameters, kw_only=True):
    """Rates from a position of `above_coins` on; they apply to the whole position."""

    above_coins: Natural = 0
    initial_ppm: RatePpm
    maintenance_ppm: RatePpm
    slope_ppb_per_coin: Natural = 0
    """Added to both rates per coin of the whole position, in 1e-9."""


class FutureSchedule(Parameters, kw_only=True):
    """Tiers of futures and perpetuals on one underlying."""

    underlying: Name
    settlement: Name = "*"
    """A settlement currency, or all that have no schedule of their own."""
    tiers: tuple[FutureTier, ...]


class StandardSet(Parameters, kw_only=True, tag_field="model", tag="standard"):
    """Formulas per position (cross margin): rates of one coin, or of the index for dollar-settled options."""

    name: Name
    version: Positive = 1
    option_initial_ppm: SharePpm = 150_000
    """Of a short option, less what it is out of the money..."""
    option_initial_floor_ppm: SharePpm = 100_000
    """... but at least this."""
    call_maintenance_ppm: SharePpm = 75_000
    put_maintenance_ppm: SharePpm = 75_000
    put_maintenance_of_mark_ppm: SharePpm = 75_000
    put_initial_over_maintenance_ppm: Natural = PPM
    """A short put's initial margin is at least this x maintenance."""
    liquidation_fee_ppm: SharePpm = 0
    """Added to a short option's maintenance margin."""
    cap_spreads: bool = False
    """Dollar-settled options of one expiry need no more than they can lose there."""
    unpaired_initial_ppm: Natural = 0
    unpaired_maintenance_ppm: Natural = 0
    """Of the forward, per net short call, in that loss; 0: an expiry that is net short calls is not capped."""
    futures: tuple[FutureSchedule, ...]

    def faults(self) -> list[tuple[str, str]]:
        found = []
        if self.unpaired_maintenance_ppm > self.unpaired_initial_ppm:
            found.append(("unpaired_maintenance_ppm", "must not be above unpaired_initial_ppm"))
        if self.call_maintenance_ppm + self.liquidation_fee_ppm > self.option_initial_floor_ppm:
            found.append(
                ("call_maintenance_ppm", "with liquidation_fee_ppm must not be above option_initial_floor_ppm")
            )
        keys = [(schedule.underlying, schedule.settlement) for schedule in self.futures]
        if len(set(keys)) != len(keys):
            found.append(("futures", "two schedules of one underlying and settlement"))
        for place, schedule in enumerate(self.futures):
            path = f"futures[{place}].tiers"
            if not schedule.tiers:
                found.append((path, "at least one tier"))
            found += rising(path, [tier.above_coins for tier in schedule.tiers])
            found += [
                (f"{path}[{n}].maintenance_ppm", "must not be above initial_ppm")
                for n, tier in enumerate(schedule.tiers)
                if tier.maintenance_ppm > tier.initial_ppm
            ]
        return found


class LeverageTier(Parameters, kw_only=True):
    """Rates of the part of a position's notional above `above_usd`."""

    above_usd: Natural
    initial_ppm: Annotated[int, msgspec.Meta(gt=0, le=PPM)]
    """Of the whole notional: one over the largest leverage allowed here."""
    maintenance_ppm: RatePpm
    """Marginal; the deduction that keeps the requirement continuous follows from the tiers below."""


class IsolatedSet(Parameters, kw_only=True, tag_field="model", tag="isolated"):
    """Leverage tiers of futures and perpetuals with a collateral bucket of their own."""

    name: Name
    version: Positive = 1
    maintenance_basis: Literal["mark", "entry"] = "mark"
    """Maintenance is a rate of the notional at the mark, or at the entry price."""
    tiers: tuple[LeverageTier, ...]

    def faults(self) -> list[tuple[str, str]]:
        found = [] if self.tiers else [("tiers", "at least one tier")]
        found += rising("tiers", [tier.above_usd for tier in self.tiers])
        for place, tier in enumerate(self.tiers):
            if tier.maintenance_ppm > tier.initial_ppm:
                found.append((f"tiers[{place}].maintenance_ppm", "must not be above initial_ppm"))
            if place and tier.maintenance_ppm < self.tiers[place - 1].maintenance_ppm:
                found.append((f"tiers[{place}].maintenance_ppm", "must not fall with size"))
        return found


ParameterSet = MatrixSet | SpanSet | CreditSet | StandardSet | IsolatedSet
