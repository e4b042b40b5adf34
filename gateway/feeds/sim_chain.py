"""Chains by rule: the expiries and strikes that an exchange would list around a price."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from gateway.feeds.chain import Expiry, ListedOption, UnderlyingChain
from gateway.feeds.names import E8, EXPIRY_HOUR_UTC, OptionType, option_name, time_ns_of
from gateway.feeds.surface import YEAR_NS, Grid, Smile, SsviSurface, years_between

FRIDAY = 4
SIDES: tuple[OptionType, ...] = ("call", "put")


class ChainRule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many expiries of each cycle, and how far and how densely strikes stand around the forward."""

    days: int = 3
    weeks: int = 3
    months: int = 2
    quarters: int = 3
    strike_deviations: float = 2.5
    """Half-width of the strikes in standard deviations of the log forward at expiry."""
    width_min: float = 0.06
    width_max: float = 1.2
    """Bounds of that half-width, in log moneyness."""
    strikes_per_expiry: int = 24
    """About so many strikes; their step is 1, 2 or 5 times a power of ten."""


def expiry_moment(time_ns: int) -> datetime:
    """The first 08:00 UTC at or after a moment."""
    moment = datetime.fromtimestamp(-(-time_ns // 1_000_000_000), UTC)
    first = moment.replace(hour=EXPIRY_HOUR_UTC, minute=0, second=0)
    return first if first >= moment else first + timedelta(days=1)


def expiries(start_ns: int, rule: ChainRule) -> list[tuple[int, bool]]:
    """(expiry_ns, has_future), ascending: next days, Fridays, last Fridays of months and quarters, 08:00 UTC.

    Dated futures are listed on Fridays. An expiry less than an hour away is not listed.
    """
    first = expiry_moment(start_ns + 3_600_000_000_000)
    chosen = {first + timedelta(days=day) for day in range(rule.days)}
    friday = first + timedelta(days=(FRIDAY - first.weekday()) % 7)
    fridays = [friday + timedelta(weeks=week) for week in range(rule.weeks + 5 * (rule.months + 3 * rule.quarters + 3))]
    month_ends = [day for day in fridays if (day + timedelta(days=7)).month != day.month]
    quarter_ends = [day for day in month_ends if day.month % 3 == 0]
    chosen.update(fridays[: rule.weeks], month_ends[: rule.months], quarter_ends[: rule.quarters])
    return [(time_ns_of(day), day.weekday() == FRIDAY) for day in sorted(chosen)]


def strikes(forward: float, deviation: float, rule: ChainRule) -> list[int]:
    """Strikes in 1e-8 USD around a forward whose log has that standard deviation, ascending."""
    width = min(max(rule.strike_deviations * deviation, rule.width_min), rule.width_max)
    low, high = forward * math.exp(-width), forward * math.exp(width)
    rough = (high - low) / rule.strikes_per_expiry
    power = 10.0 ** math.floor(math.log10(rough))
    step = min((power * nice for nice in (1, 2, 5, 10)), key=lambda size: abs(math.log(size / rough)))
    step_e8 = round(step * E8)
    first = math.ceil(low * E8 / step_e8)
    last = math.floor(high * E8 / step_e8)
    return [step_e8 * number for number in range(max(first, 1), last + 1)]


Terms = tuple[dict[int, bool], set[tuple[int, int]]]
"""Expiries, each with whether it has a dated future, and (expiry_ns, strike_e8) pairs."""


def terms(now_ns: int, price: float, carry_per_year: float, volatility: float, rule: ChainRule) -> Terms:
    """What is listed at a moment and an index price by the rule."""
    listed = dict(expiries(now_ns, rule))
    pairs: set[tuple[int, int]] = set()
    for expiry_ns in listed:
        years = (expiry_ns - now_ns) / YEAR_NS
        forward = price * math.exp(carry_per_year * years)
        deviation = volatility * math.sqrt(years)
        pairs.update((expiry_ns, strike_e8) for strike_e8 in strikes(forward, deviation, rule))
    return listed, pairs


def generated_chain(
    name: str, start_ns: int, start_price: float, carry_per_year: float, smile: Smile, listed: Terms
) -> UnderlyingChain:
    """The chain of given terms as it stands at `start_ns`: forwards I exp(carry T), SSVI vols."""
    futures, pair_set = listed
    pairs = sorted(pair_set)
    quoted = tuple(
        Expiry(
            expiry_ns,
            round(start_price * math.exp(carry_per_year * (expiry_ns - start_ns) / YEAR_NS) * E8),
            futures[expiry_ns],
        )
        for expiry_ns in sorted(futures)
    )
    chain = UnderlyingChain(
        underlying=name,
        index_price_e8=round(start_price * E8),
        expiries=quoted,
        options=tuple(
            ListedOption(option_name(name, expiry_ns, strike_e8, side), expiry_ns, strike_e8, side)
            for expiry_ns, strike_e8 in pairs
            for side in SIDES
        ),
        pair_expiry_ns=np.array([expiry for expiry, _ in pairs], dtype=np.int64),
        pair_strike_e8=np.array([strike for _, strike in pairs], dtype=np.int64),
        pair_vol_e6=np.zeros(len(pairs), dtype=np.int64),
    )
    live = Grid(chain).live(start_ns)
    forwards = np.array([expiry.forward_e8 for expiry in quoted], dtype=np.float64) / E8
    vols = SsviSurface(smile).vols(live, years_between(start_ns, live.expiry_ns), forwards, 0.0)
    return replace(chain, pair_vol_e6=np.rint(vols * 1e6).astype(np.int64))
