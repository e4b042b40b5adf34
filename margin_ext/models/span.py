"""The `span16` model: sixteen scenarios, calendar charges, credits between underlyings, short-option minimum.

In USD. Losses are positive, per unit of size held long, over the look-ahead. Scenarios in SPAN order: price moves of
0, +1/3, -1/3, +2/3, -2/3, +1 and -1 scan range, each with vol up and then down; then the two extremes, of which a
share of the loss counts. Formulas and sources: docs/margin.md.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction

import msgspec
import numpy as np

from margin_ext import pricer
from margin_ext.models import span_spreads
from margin_ext.models.matrix_charges import concentration
from margin_ext.models.parameter_files import checked, identity
from margin_ext.models.parameters import PPM
from margin_ext.models.parameters_formula import CreditSet, SpanSet
from margin_ext.models.portfolio import DAYS_PER_YEAR, Floats, Portfolio, PortfolioError
from margin_ext.models.result import Added, MarginResult, Requirement, Scenario, Total, totals
from margin_ext.models.valuation import deltas, marks, unit_values

THIRDS = (0, 1, -1, 2, -2, 3, -3)
COUNT = 16

Sets = SpanSet | Mapping[str, SpanSet]


def scenarios(s: SpanSet) -> tuple[Scenario, ...]:
    """The sixteen columns; weight 1, in the extremes the share that counts."""
    reach = Fraction(s.price_scan_range_ppm, PPM)
    found = []
    for thirds in THIRDS:
        move = float(reach * Fraction(thirds, 3))
        found += [Scenario(f"{thirds:+d}/3 range vol {vol}", move, vol) for vol in ("up", "down")]
    multiple, cover = Fraction(s.extreme_multiple_ppm, PPM), s.extreme_cover_ppm / PPM
    for sign in (1, -1):
        label = f"{float(sign * multiple):+g} ranges, {cover:.0%} of it"
        found.append(Scenario(label, float(sign * multiple * reach), "same", cover, True))
    return tuple(found)


def risk_arrays(p: Portfolio, s: SpanSet) -> Floats:
    """[N, 16] loss in USD per unit of size held long."""
    table = scenarios(s)
    moves = np.array([one.move for one in table])
    vols = _vols(p, s, [one.vol for one in table])
    later = _ahead(p, s)
    base = unit_values(p, np.ones((1, 1)), p.vol[:, None], p.years)
    change = unit_values(p, 1.0 + moves, vols, later) - base
    usd = np.where(p.inverse[:, None], p.index[:, None] * (1.0 + moves), 1.0)
    return -change * usd * np.array([one.weight for one in table])


def composite_deltas(p: Portfolio, s: SpanSet) -> Floats:
    """[N] coins per unit of size: deltas at the seven prices after the look-ahead, weighted."""
    weights = np.array(s.delta_weights_ppm, dtype=np.float64)
    weights /= weights.sum()
    at = p.is_option
    unit = np.where(p.inverse, 1.0 / p.forward, 1.0)
    if at.any():
        moves = s.price_scan_range_ppm / PPM * np.array(THIRDS) / 3.0
        shocked = p.forward[at, None] * (1.0 + moves)
        greeks = pricer.greeks(
            shocked, p.strike[at, None], p.vol[at, None], _ahead(p, s)[at, None], p.is_call[at, None]
        )
        unit[at] = greeks.delta @ weights
    return unit


def _ahead(p: Portfolio, s: SpanSet) -> Floats:
    return np.maximum(p.years - s.look_ahead_days / DAYS_PER_YEAR, 0.0)


def _vols(p: Portfolio, s: SpanSet, kinds: Sequence[str]) -> Floats:
    sign = np.array([{"up": 1.0, "down": -1.0, "same": 0.0}[kind] for kind in kinds])
    shock = s.vol_scan_range_ppm / PPM * sign
    shocked = p.vol[:, None] * (1.0 + shock) if s.vol_scan_kind == "relative" else p.vol[:, None] + shock
    return np.maximum(shocked, 0.0)


def scan_risk(arrays: Floats, sizes: Floats) -> tuple[float, int | None, Floats]:
    """max(0, worst loss), its scenario (0 based, None where nothing is lost) and the losses [S] of a portfolio.

    arrays [N, S] losses per long unit, of any origin; sizes [N] signed.
    """
    losses = np.asarray(sizes, dtype=np.float64) @ np.asarray(arrays, dtype=np.float64)
    worst = int(np.argmax(losses))
    return (float(losses[worst]), worst, losses) if losses[worst] > 0.0 else (0.0, None, losses)


def short_option_minimum(p: Portfolio, s: SpanSet, index: float) -> float:
    """USD: short options x rate x index; all of them, or the larger of calls and puts."""
    short = np.where(p.is_option, np.maximum(-p.size, 0.0), 0.0)
    calls, puts = float(short[p.is_call].sum()), float(short[~p.is_call].sum())
    count = calls + puts if s.short_option_method == "gross" else max(calls, puts)
    return count * s.short_option_minimum_ppm / PPM * index


def delivery_charge(p: Portfolio, s: SpanSet, delta: Floats, index: float) -> float:
    """USD: on the absolute composite delta of each expiry within the delivery days."""
    soon = (p.kind != 0) & (p.days <= s.delivery_days)
    if not s.delivery_ppm or not soon.any():
        return 0.0
    _, rows = np.unique(p.days[soon], return_inverse=True)
    return float(np.abs(np.bincount(rows, delta[soon])).sum()) * s.delivery_ppm / PPM * index


def margin(p: Portfolio, sets: Sets, credit_set: CreditSet | None = None) -> MarginResult:
    """One requirement per underlying, and their sum; credits between underlyings reduce those that they join.

    Per underlying: max(0, max(scan + calendar + delivery - credit, short-option minimum) + concentration - net option
    value), the factors of initial and maintenance margin applied before concentration and option value. The balance
    that meets it holds no option value.
    """
    names = [u.name for u in p.underlyings]
    chosen = dict.fromkeys(names, sets) if isinstance(sets, SpanSet) else dict(sets)
    held = sorted(set(p.underlying.tolist()))
    missing = [names[place] for place in held if names[place] not in chosen]
    if missing:
        raise PortfolioError(f"parameters: none for {', '.join(missing)}")
    for s in (*chosen.values(), *([credit_set] if credit_set else [])):
        checked(s)
    commodities = {names[place]: Commodity(p, place, chosen[names[place]]) for place in held}
    if credit_set is not None:
        legs = {name: (one.price_risk_per_delta, one.net_delta) for name, one in commodities.items()}
        for name, credit in span_spreads.intercommodity(credit_set, legs).items():
            commodities[name].credit = credit
    found = tuple(one.requirement() for one in commodities.values())
    return MarginResult(model="span16", requirements=found, totals=totals(found) or {"USD": Total(0.0, 0.0)})


class Commodity:
    """The positions of one underlying, and every figure of their requirement in USD."""

    def __init__(self, p: Portfolio, place: int, s: SpanSet) -> None:
        self.rows = np.flatnonzero(p.underlying == place)
        self.parameters = s
        part = p.take(self.rows)
        self.name, self.index = p.underlyings[place].name, p.underlyings[place].index_usd
        self.scan, self.active, self.losses = scan_risk(risk_arrays(part, s), part.size)
        delta = part.size * composite_deltas(part, s)
        self.net_delta = float(delta.sum())
        self.calendar, self.spreads = span_spreads.calendar(s, part.days, delta, self.index)
        self.delivery = delivery_charge(part, s, delta, self.index)
        self.short_minimum = short_option_minimum(part, s, self.index)
        value = part.size * marks(part) * np.where(part.inverse, part.index, 1.0)
        self.option_value = float(value[part.is_option].sum())
        self.credit = 0.0
        self.time_risk, self.price_risk = span_spreads.price_risk(self.losses, self.active)
        self.concentration = 0.0
        if s.concentration is not msgspec.UNSET:
            self.concentration = concentration(s.concentration, p, place, deltas(part))

    @property
    def price_risk_per_delta(self) -> float:
        """Weighted futures price risk, USD per coin of net delta."""
        return self.price_risk / abs(self.net_delta) if self.net_delta else 0.0

    def requirement(self) -> Requirement:
        s = self.parameters
        spread = max(0.0, self.scan + self.calendar + self.delivery - self.credit)
        risk = max(spread, self.short_minimum)
        charges = {"calendar": self.calendar, "delivery": self.delivery, "intercommodity_credit": -self.credit}
        lifted = risk - self.scan - sum(charges.values())
        if lifted > 0.0:
            charges["short_option_minimum"] = lifted
        initial_factor, maintenance_factor = s.initial_factor_ppm / PPM, s.maintenance_factor_ppm / PPM
        added = {"net_option_value": Added(-self.option_value, -self.option_value)}
        if s.concentration is not msgspec.UNSET:
            added["concentration"] = Added(self.concentration, self.concentration)
        return Requirement(
            scope=self.name,
            unit="USD",
            parameter_set=identity(s),
            initial=max(0.0, initial_factor * risk + self.concentration - self.option_value),
            maintenance=max(0.0, maintenance_factor * risk + self.concentration - self.option_value),
            scenarios=scenarios(s),
            pnl=-self.losses,
            loss=self.losses,
            worst=self.scan,
            worst_scenario=self.active,
            initial_factor=initial_factor,
            maintenance_factor=maintenance_factor,
            scaled=charges,
            added=added,
            figures={
                "composite_delta_coins": self.net_delta,
                "time_risk": self.time_risk,
                "price_risk": self.price_risk,
                "short_option_minimum": self.short_minimum,
                "calendar_spreads": self.spreads,
            },
            positions=tuple(self.rows.tolist()),
        )
