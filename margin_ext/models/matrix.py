"""The `matrix` model: portfolio margin from the worst column of a price x vol grid, and charges.

Coin numeraire: one requirement per chain (underlying and settlement currency), in the coin at the shocked index, or in
the dollar currency. USD numeraire: one per underlying over all settlements, cash of all currencies a hedge through
haircuts. Formulas and sources: docs/margin.md.
"""

from collections.abc import Mapping

import msgspec
import numpy as np

from margin_ext.models import matrix_charges
from margin_ext.models.matrix_table import Table
from margin_ext.models.parameter_files import checked, identity
from margin_ext.models.parameters import PPM, MatrixSet
from margin_ext.models.portfolio import Currency, Floats, Places, Portfolio, PortfolioError
from margin_ext.models.result import Added, MarginResult, Requirement, Total, totals
from margin_ext.models.valuation import deltas, equities

Sets = MatrixSet | Mapping[str, MatrixSet]


def margin(p: Portfolio, sets: Sets) -> MarginResult:
    """Requirements under one set for all underlyings, or a set by underlying's name (all of one numeraire).

    PortfolioError where an underlying that is held has no set, ParameterError where a set is wrong.
    """
    by_place = _sets(p, sets)
    if not by_place:
        return MarginResult(model="matrix", requirements=(), totals={})
    numeraires = {s.numeraire for s in by_place.values()}
    if len(numeraires) > 1:
        raise PortfolioError("parameters: sets of different numeraires")
    if numeraires == {"coin"}:
        found = tuple(
            _larger(p, np.flatnonzero((p.underlying == u) & (p.settlement == c)), s, u)
            for u, s in sorted(by_place.items())
            for c in sorted(set(p.settlement[p.underlying == u].tolist()))
        )
        return MarginResult(model="matrix", requirements=found, totals=totals(found))
    found = tuple(_larger(p, np.flatnonzero(p.underlying == u), s, u) for u, s in sorted(by_place.items()))
    if len({s.aggregation for s in by_place.values()}) > 1:
        raise PortfolioError("parameters: sets of different aggregations")
    if next(iter(by_place.values())).aggregation == "sum":
        return MarginResult(model="matrix", requirements=found, totals=totals(found))
    return _aggregated(p, found, [by_place[u] for u in sorted(by_place)])


def _sets(p: Portfolio, sets: Sets) -> dict[int, MatrixSet]:
    """By place of the underlying: all held, and in USD those whose coin is cash."""
    held = set(p.underlying.tolist())
    names = [u.name for u in p.underlyings]
    chosen = dict.fromkeys(names, sets) if isinstance(sets, MatrixSet) else dict(sets)
    if any(s.numeraire == "usd" for s in chosen.values()):
        held |= {names.index(c.underlying) for c in p.currencies if c.underlying is not None and c.cash != 0.0}
    missing = [names[place] for place in sorted(held) if names[place] not in chosen]
    if missing:
        raise PortfolioError(f"parameters: none for {', '.join(missing)}")
    for s in chosen.values():
        checked(s)
    return {place: chosen[names[place]] for place in held}


def _larger(p: Portfolio, rows: Places, s: MatrixSet, place: int) -> Requirement:
    """The requirement of the rows, and of those beyond the horizon: initial and maintenance are the larger ones."""
    whole = _requirement(p, rows, s, place)
    soon = (p.days[rows] <= s.horizon_days) & (p.kind[rows] != 0)
    if not s.horizon_days or not soon.any():
        return whole
    later = _requirement(p, rows[~soon], s, place)
    chosen, book = (later, "beyond the horizon") if later.initial > whole.initial else (whole, "all")
    return msgspec.structs.replace(
        chosen, scope=whole.scope, unit=whole.unit, book=book, positions=whole.positions,
        initial=max(whole.initial, later.initial), maintenance=max(whole.maintenance, later.maintenance),
        figures=chosen.figures | {
            "initial_all": whole.initial, "initial_beyond_horizon": later.initial,
            "maintenance_all": whole.maintenance, "maintenance_beyond_horizon": later.maintenance,
        },
    )  # fmt: skip


def _requirement(p: Portfolio, rows: Places, s: MatrixSet, place: int) -> Requirement:
    part = p.take(rows)
    table, delta = Table(s, part), deltas(part, s.settlement_window_seconds)
    index = p.underlyings[place].index_usd
    in_coin = bool(table.in_coin.any())
    unit_usd = index if in_coin else 1.0
    pnl = table.pnl.sum(axis=0)
    if s.numeraire == "usd":
        pnl = collateral_pnl(p, table, place)
    ratio = np.array([one.dampener_ratio for one in table.scenarios])
    loss = -pnl - np.minimum(np.maximum(-pnl, 0.0), ratio * s.extended_dampener_usd / unit_usd)
    at = int(np.argmax(loss))
    worst = max(0.0, float(loss[at]))
    coins = {
        "roll": matrix_charges.roll_shock(s, part, delta),
        "delta": matrix_charges.delta_shock(s, index, delta),
    }
    scaled = {name: value * index / unit_usd for name, value in coins.items()}
    added = {
        name: Added(charge.initial / unit_usd, charge.maintenance / unit_usd)
        for name, charge in matrix_charges.contingencies(s, part, place, delta, worst * unit_usd).items()
    }
    initial_factor, maintenance_factor = s.initial_factor_ppm / PPM, s.maintenance_factor_ppm / PPM
    risk = worst + sum(scaled.values())
    chain = p.currencies[int(p.settlement[rows[0]])].name if s.numeraire == "coin" and len(rows) else "USD"
    name = p.underlyings[place].name
    return Requirement(
        scope=f"{name}/{chain}" if s.numeraire == "coin" else name,
        unit=chain,
        parameter_set=identity(s),
        initial=initial_factor * risk + sum(charge.initial for charge in added.values()),
        maintenance=maintenance_factor * risk + sum(charge.maintenance for charge in added.values()),
        scenarios=table.scenarios,
        pnl=pnl,
        loss=loss,
        worst=worst,
        worst_scenario=at if worst > 0.0 else None,
        initial_factor=initial_factor,
        maintenance_factor=maintenance_factor,
        scaled=scaled,
        added=added,
        figures={"delta_coins": float(delta.sum()), "gross_delta_coins": float(np.abs(delta).sum())},
        positions=tuple(rows.tolist()),
    )


def collateral_pnl(p: Portfolio, table: Table, place: int) -> Floats:
    """[S] change in USD of all currencies' haircut net value, when one underlying's prices and vols are shocked.

    A currency's net value is its equity (a coin at its shocked, weighted price) with the P&L of its positions; a
    positive one counts less its haircut, a debt times its surcharge. Cash in the coin is thus a position.
    """
    held, table_part = equities(p, table.parameters.settlement_window_seconds), table.portfolio
    total = np.zeros(len(table.scenarios))
    name = p.underlyings[place].name
    for number, currency in enumerate(p.currencies):
        pnl = table.pnl[table_part.settlement == number].sum(axis=0)
        price = _usd(p, currency)
        moves = table.weight * (table.multiplier - 1.0) if currency.underlying == name else 0.0
        net = held[number] * price * (1.0 + moves) + pnl
        total += _haircut(currency, net) - _haircut(currency, np.array(held[number] * price))
    return total


def _usd(p: Portfolio, currency: Currency) -> float:
    return next((u.index_usd for u in p.underlyings if u.name == currency.underlying), 1.0)


def _haircut(currency: Currency, usd: Floats) -> Floats:
    return usd * np.where(usd >= 0.0, 1.0 - currency.haircut_ppm / PPM, currency.debt_ppm / PPM)


def haircut_value(p: Portfolio, held: Floats) -> float:
    """USD: amounts [C] of the portfolio's currencies at the index, after haircuts."""
    values = (_haircut(c, np.array(held[n] * _usd(p, c))) for n, c in enumerate(p.currencies))
    return float(sum(values))


def collateral_value(p: Portfolio, window_seconds: float = 0.0) -> float:
    """USD: what a USD requirement is met with, every currency's equity after haircuts."""
    return haircut_value(p, equities(p, window_seconds))


def offset_gains(pnl: Floats, offset: float, cap: float = 0.0) -> Floats:
    """Gains x offset, at most the cap (0: none); losses whole."""
    gains = np.maximum(pnl, 0.0) * offset
    return np.minimum(pnl, 0.0) + (np.minimum(gains, cap) if cap else gains)


def _aggregated(p: Portfolio, found: tuple[Requirement, ...], sets: list[MatrixSet]) -> MarginResult:
    """Same columns of all underlyings added, gains offset; each underlying's factors, charges stay its own."""
    counts = {len(one.scenarios) for one in found}
    if len(counts) > 1 or any(s.horizon_days for s in sets):
        raise PortfolioError("parameters: scenario aggregation needs equal grids and no horizon")
    amounts = {}
    counted = [
        offset_gains(-one.loss, s.pnl_offset_ppm / PPM, s.pnl_offset_cap_usd)
        for one, s in zip(found, sets, strict=True)
        if one.loss is not None
    ]
    for kind in ("initial", "maintenance"):
        factors = [getattr(one, f"{kind}_factor") for one in found]
        worst = max(0.0, float(-sum(f * pnl for f, pnl in zip(factors, counted, strict=True)).min()))
        charges = sum(f * sum(one.scaled.values()) for f, one in zip(factors, found, strict=True))
        amounts[kind] = worst + charges + sum(getattr(c, kind) for one in found for c in one.added.values())
    return MarginResult(
        model="matrix",
        requirements=found,
        totals={"USD": Total(**amounts)},
        aggregate_pnl=np.sum(counted, axis=0),
    )
