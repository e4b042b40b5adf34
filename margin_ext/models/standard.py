"""The `standard` model: formulas per position, summed against the whole account (cross margin).

Inverse contracts need coins, dollar-settled ones dollars: option rates are of one coin, or of the index. The balance
that meets the requirement is cash, futures' unrealised P&L and funding, no option value: shorts carry their mark in
the formula. Formulas and sources: docs/margin.md.
"""

import math
from collections.abc import Mapping

import numpy as np

from margin_ext.models.parameter_files import checked, identity
from margin_ext.models.parameters import PPM
from margin_ext.models.parameters_formula import FutureSchedule, FutureTier, StandardSet
from margin_ext.models.portfolio import Floats, Places, Portfolio, PortfolioError
from margin_ext.models.result import Added, MarginResult, Requirement, totals
from margin_ext.models.valuation import marks


def option_rates(p: Portfolio, s: StandardSet) -> tuple[Floats, Floats]:
    """[N] initial and maintenance per unit of size sold, marks included; 0 for futures.

    Short call: initial max(a - OTM, b) + mark, maintenance c + mark. Short put: maintenance max(d, e x mark) +
    mark, initial max(max(a - OTM, b) + mark, f x maintenance). a to e are rates of the unit: a coin, or the index.
    """
    mark = marks(p)
    unit = np.where(p.inverse, 1.0, p.index)
    otm = np.maximum(np.where(p.is_call, p.strike - p.index, p.index - p.strike), 0.0) / p.index
    fee = s.liquidation_fee_ppm / PPM * unit
    initial = np.maximum(s.option_initial_ppm / PPM - otm, s.option_initial_floor_ppm / PPM) * unit + mark
    call = s.call_maintenance_ppm / PPM * unit
    put = np.maximum(s.put_maintenance_ppm / PPM * unit, s.put_maintenance_of_mark_ppm / PPM * mark)
    maintenance = np.where(p.is_call, call, put) + mark + fee
    least = np.where(p.is_call, 0.0, s.put_initial_over_maintenance_ppm / PPM * maintenance)
    at = p.is_option
    return np.where(at, np.maximum(initial, least), 0.0), np.where(at, maintenance, 0.0)


def future_rates(tiers: tuple[FutureTier, ...], coins: float) -> tuple[float, float]:
    """Initial and maintenance rate of a position of so many coins: its tier's, plus slope x coins, at most 1."""
    tier = [one for one in tiers if one.above_coins <= coins][-1]
    slope = tier.slope_ppb_per_coin / 1e9 * coins
    return min(1.0, tier.initial_ppm / PPM + slope), min(1.0, tier.maintenance_ppm / PPM + slope)


def schedule_of(s: StandardSet, underlying: str, settlement: str) -> FutureSchedule:
    """The schedule of the settlement currency, else of all; PortfolioError where there is none."""
    found = {one.settlement: one for one in s.futures if one.underlying == underlying}
    for key in (settlement, "*"):
        if key in found:
            return found[key]
    raise PortfolioError(f"parameters: no futures schedule for {underlying} settled in {settlement}")


def position_margins(p: Portfolio, s: StandardSet) -> tuple[Floats, Floats]:
    """[N] initial and maintenance margin of each position alone, in its settlement currency. Long options: 0.

    Futures: value at the mark x rate, the size that the rate follows in coins (inverse: at the index).
    """
    short = np.maximum(-p.size, 0.0)
    option_initial, option_maintenance = option_rates(p, s)
    initial, maintenance = option_initial * short, option_maintenance * short
    for row in np.flatnonzero(~p.is_option).tolist():
        size, price = abs(float(p.size[row])), float(p.fixing[row])
        inverse = bool(p.inverse[row])
        coins = size / float(p.index[row]) if inverse else size
        settlement = p.currencies[int(p.settlement[row])].name
        schedule = schedule_of(s, p.underlyings[int(p.underlying[row])].name, settlement)
        value = size / price if inverse else size * price
        rates = future_rates(schedule.tiers, coins)
        initial[row], maintenance[row] = value * rates[0], value * rates[1]
    return initial, maintenance


def spread_loss(p: Portfolio, s: StandardSet) -> tuple[float, float]:
    """(initial, maintenance) USD: the most that options of one expiry can lose there, beyond what they are worth.

    The lowest payoff over 0 and the strikes. Where calls are net short the loss has no bound; a set may put a share of
    the forward for each of them instead (source of that form: Derive v2-core, StandardManager).
    """
    at = np.concatenate([[0.0], np.unique(p.strike)])
    sign = np.where(p.is_call, 1.0, -1.0)
    payoff = np.maximum(sign[:, None] * (at[None, :] - p.strike[:, None]), 0.0)
    lowest = float((p.size[:, None] * payoff).sum(axis=0).min())
    naked = max(0.0, -float(p.size[p.is_call].sum()))
    rates = (s.unpaired_initial_ppm, s.unpaired_maintenance_ppm)
    if naked == 0.0:
        return max(0.0, -lowest), max(0.0, -lowest)
    if 0 in rates:
        return math.inf, math.inf
    initial, maintenance = (max(0.0, -lowest) + rate / PPM * naked * float(p.forward.max()) for rate in rates)
    return initial, maintenance


def spread_credit(p: Portfolio, s: StandardSet, initial: Floats, maintenance: Floats) -> Added:
    """USD, not positive: how far the expiries' largest losses lie below the sums of their positions' margins."""
    saved = [0.0, 0.0]
    for days in np.unique(p.days[p.is_option]):
        at = p.is_option & (p.days == days)
        loss = spread_loss(p.take(at), s)
        saved = [
            before + min(0.0, most - float(alone[at].sum()))
            for before, most, alone in zip(saved, loss, (initial, maintenance), strict=True)
        ]
    return Added(*saved)


def margin(p: Portfolio, sets: StandardSet | Mapping[str, StandardSet]) -> MarginResult:
    """One requirement per settlement currency, in it; where each underlying has a set of its own (by name), one per
    underlying and currency. Spread caps hold for dollar-settled options only.

    PortfolioError where an underlying that is held has no set, ParameterError where a set is wrong.
    """
    if isinstance(sets, StandardSet):
        parts = [(sets, np.flatnonzero(p.settlement == c), "") for c in sorted(set(p.settlement.tolist()))]
    else:
        names = [u.name for u in p.underlyings]
        missing = [names[u] for u in sorted(set(p.underlying.tolist())) if names[u] not in sets]
        if missing:
            raise PortfolioError(f"parameters: none for {', '.join(missing)}")
        chains = sorted(set(zip(p.underlying.tolist(), p.settlement.tolist(), strict=True)))
        parts = [
            (sets[names[u]], np.flatnonzero((p.underlying == u) & (p.settlement == c)), f"{names[u]}/")
            for u, c in chains
        ]
    found = tuple(_requirement(p, checked(s), rows, prefix) for s, rows, prefix in parts)  # type: ignore[arg-type]
    return MarginResult(model="standard", requirements=found, totals=totals(found))


def _requirement(whole: Portfolio, s: StandardSet, rows: Places, prefix: str) -> Requirement:
    """Of rows that settle in one currency."""
    p, currency = whole.take(rows), whole.currencies[int(whole.settlement[rows[0]])]
    initial, maintenance = position_margins(p, s)
    added = {}
    if s.cap_spreads and currency.underlying is None:
        saved = [
            spread_credit(p.take(part), s, initial[part], maintenance[part])
            for part in (np.flatnonzero(p.underlying == u) for u in sorted(set(p.underlying.tolist())))
        ]
        added["spread_cap"] = Added(sum(c.initial for c in saved), sum(c.maintenance for c in saved))
    return Requirement(
        scope=prefix + currency.name,
        unit=currency.name,
        parameter_set=identity(s),
        initial=float(initial.sum()) + sum(c.initial for c in added.values()),
        maintenance=float(maintenance.sum()) + sum(c.maintenance for c in added.values()),
        added=added,
        positions=tuple(rows.tolist()),
        position_initial=initial,
        position_maintenance=maintenance,
    )
