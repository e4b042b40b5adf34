"""An account of a venue as a case file of the margin library, and the library's figures beside the venue's.

The case carries the venue's parameter sets and, under `source`, what the venue says of the same portfolio, so that
whoever has the file can compute every figure again without the venue.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from exchange.what_if import parameters_hash
from gateway.library_sets import grid_set, isolated_set, own_set, span_set, standard_set, venue_hash
from gateway.units import E8, money
from margin_ext import models

DAY_NS = 86_400_000_000_000
USD_UNIT = 1e-4
FIGURES = ("balance", "initial", "maintenance")


# ------------------------------------------------------------------------------------------------ the case


def document(engine: Any, account_id: int) -> dict[str, Any]:
    """The account's positions, cash and market at the current marks as a case file's plain values.

    KeyError for an unknown account, ParameterError where the library cannot express the venue's parameters.
    """
    account = engine.account(account_id)
    config, model = engine.config, account.margin_model
    known = [(n, u) for n, u in enumerate(engine.margin_plan.in_force) if engine.index_price(n)]
    names = {u.name for _, u in known}
    positions = [_position(engine, view) for view in engine.positions(account_id) if view.quantity_lots]
    sets = _sets(known, model, {row["underlying"] for row in positions})
    if model == "isolated":
        _into_buckets(engine, account_id, positions)
        sets = {name: own for name, own in sets.items() if name == positions[0]["underlying"]} if positions else sets
    funding = dict.fromkeys((c.name for c in config.currencies), 0)
    for view in engine.positions(account_id):
        funding[engine.instrument(view.instrument).settlement] += view.funding_accrued_minor
    currencies = [
        {
            "name": c.name,
            **({"underlying": c.underlying} if c.underlying else {}),
            "cash": money(view.cash_minor + funding[c.name], c.exponent),
            "haircut_ppm": c.haircut_ppm,
            "debt_ppm": c.debt_ppm,
        }
        for c, view in zip(config.currencies, account.currencies, strict=True)
        if c.underlying is None or c.underlying in names
    ]
    return {
        "parameters": _parameters(sets, model),
        "underlyings": [
            {"name": u.name, "index_usd": engine.index_price(n) / E8} | _size(engine, account, n) for n, u in known
        ],
        "currencies": currencies,
        "positions": positions,
        "source": _source(engine, account),
    }


def _parameters(sets: dict[str, models.ParameterSet], model: str) -> dict[str, Any]:
    """By underlying's name; leverage tiers are of one underlying, and stand alone."""
    found = {name: msgspec.to_builtins(own) for name, own in sets.items()}
    return next(iter(found.values())) if model == "isolated" else found


def _sets(known: list[tuple[int, Any]], model: str, held: set[str]) -> dict[str, models.ParameterSet]:
    """The venue's sets by underlying; the library takes those of one model, that of what is held."""
    if model == "isolated":
        return {u.name: isolated_set(u.isolated) for _, u in known}
    if not model.endswith("_pm"):
        return {u.name: standard_set(u.standard, u.name) for _, u in known}
    numeraire = "usd" if model.startswith("cross") else "coin"
    spans = {u.name: span_set(u.span) for _, u in known if u.span is not msgspec.UNSET}
    if any(u.settlement_averaging is True and u.name in held for _, u in known if u.span is not msgspec.UNSET):
        raise models.ParameterError("parameters: the library's span16 knows no settlement averages")
    grids = {u.name: grid_set(u, numeraire) for _, u in known if u.span is msgspec.UNSET}
    if held & set(spans) and held & set(grids):
        raise models.ParameterError("parameters: the library margins underlyings of matrix and span16 apart")
    return dict(spans) if not grids or held & set(spans) else dict(grids)


def _size(engine: Any, account: Any, underlying: int) -> dict[str, float]:
    """Of the market and of the owner's net delta in it, where the underlying's set charges for concentration."""
    figures = engine.market_size.figures(underlying)
    if figures is None:
        return {}
    owned = [a for a in engine.account_ids() if engine.account(a).owner_id == account.owner_id]
    held = [one for a in owned for one in engine.what_if.position_greeks(a) if one.underlying == underlying]
    return {
        "open_interest_coins": figures[0] / 1e10,
        "depth_coins": figures[1] / 1e10,
        "owner_delta_coins": sum(one.delta for one in held),
    }


def _into_buckets(engine: Any, account_id: int, positions: list[dict[str, Any]]) -> None:
    """Collateral, accrued funding in it, and chosen leverage of a bucket's position."""
    (view,) = [b for b in engine.buckets(engine.holder(account_id)) if b.bucket_account_id == account_id]
    held = sum(p.funding_accrued_minor for p in engine.positions(account_id)) + view.collateral_minor
    settlement = engine.instrument(view.instrument).settlement
    exponent = next(c.exponent for c in engine.config.currencies if c.name == settlement)
    for row in positions:
        row |= {"bucket": money(held, exponent), "leverage": view.leverage_e2 / 100}


def _position(engine: Any, view: Any) -> dict[str, Any]:
    """A position as a row of a case: prices as the marks have them, options at their model value."""
    spec, market = engine.instrument(view.instrument), engine.market(view.instrument)
    lot_size = spec.lot_size_e8 / E8
    found = {
        "underlying": spec.underlying,
        "settlement": spec.settlement,
        "kind": spec.kind,
        "lots": view.quantity_lots,
        "lot_size": lot_size,
    }
    if spec.expiry_ns:
        marked_ns = engine.marks_time_ns(engine.underlying_index(spec.underlying))
        found["days"] = max(0, spec.expiry_ns - marked_ns) / DAY_NS
    average = engine.settlement_average(view.instrument)
    if average is not None:
        found |= {"average_fraction": 1.0 - average[0], "average_price": average[1] / E8}
    if spec.kind == "option":
        return found | {
            "option_type": spec.option_type,
            "strike": spec.strike_e8 / E8,
            "forward": market.forward_e8 / E8,
            "vol": market.mark_vol_e6 / 1e6,
        }
    exponent = next(c.exponent for c in engine.config.currencies if c.name == spec.settlement)
    if average is not None:  # of the mark a part is known
        found["forward"] = market.forward_e8 / E8
    size, cost = abs(view.quantity_lots) * lot_size, abs(view.cost_minor) / 10**exponent
    if cost:
        found["entry"] = size / cost if spec.inverse else cost / size
    return {"forward": market.mark_price_e8 / E8} | found


def _source(engine: Any, account: Any) -> dict[str, Any]:
    """Where the case comes from and what the venue's engine says of it; amounts in units of `currency`."""
    table = engine.what_if.explain(account.account_id)
    exponents = {c.name: c.exponent for c in engine.config.currencies}
    entities = []
    for entity in table["entities"]:
        scale = 10 ** exponents[entity["currency"]] if entity["currency"] in exponents else 10**4
        if account.margin_model.startswith("cross"):
            scale = 10**4
        entities.append(
            {
                "currency": entity["currency"],
                "balance": entity["equity"] / scale,
                "initial": entity["initial_of_positions"] / scale,
                "maintenance": entity["maintenance"] / scale,
            }
        )
    return {
        "venue": engine.config.venue_id,
        "account": account.name,
        "account_id": account.account_id,
        "margin_model": account.margin_model,
        "seq": table["seq"],
        "time_ns": table["time_ns"],
        "parameters": [
            {
                "underlying": u.name,
                "name": own.name,
                "version": own.version,
                "sha256": parameters_hash(own),
            }
            for u in engine.margin_plan.in_force
            for own in (own_set(u, account.margin_model),)
        ],
        "entities": entities,
    }


# ------------------------------------------------------------------------------------------------ side by side


def comparison(case: models.Case, result: models.MarginResult) -> list[dict[str, Any]]:
    """[{currency, figure, venue, library, difference, rounding}] of a case that says where it comes from, else [].

    `rounding`: the largest difference that the venue's integers explain (docs/margin.md).
    """
    source = case.source or {}
    found: list[dict[str, Any]] = []
    if result.model == "span16":
        return found  # in USD and without collateral there; a venue's are in the account's numeraire, coins a position
    for entity in source.get("entities", ()):
        unit = entity["currency"]
        figures = _figures(case, result, str(source["margin_model"]), unit)
        allowed = rounding(case, str(source["margin_model"]), unit)
        for name in FIGURES:
            venue, library = float(entity[name]), figures[name]
            if name == "balance" and result.model == "isolated":
                continue  # of the bucket, which the library is told
            if venue or library:
                found.append(
                    {
                        "currency": unit,
                        "figure": name,
                        "venue": venue,
                        "library": library,
                        "difference": venue - library,
                        "rounding": allowed + 1e-9 * abs(library),
                    }
                )
    return found


def _figures(case: models.Case, result: models.MarginResult, model: str, unit: str) -> dict[str, float]:
    """The library's balance and requirements in one unit; a cross account's formulas added up in USD."""
    p, balances = case.portfolio, models.balances(case.portfolio, case.sets)
    if model != "cross_sm":
        total = result.totals.get(unit)
        return {
            "balance": balances.get(unit, 0.0),
            "initial": total.initial if total else 0.0,
            "maintenance": total.maintenance if total else 0.0,
        }
    index = {u.name: u.index_usd for u in p.underlyings}
    price = {c.name: index.get(c.underlying or "", 1.0) for c in p.currencies}
    return {
        "balance": models.matrix.haircut_value(p, np.array([balances[c.name] for c in p.currencies])),
        "initial": sum(total.initial * price[name] for name, total in result.totals.items()),
        "maintenance": sum(total.maintenance * price[name] for name, total in result.totals.items()),
    }


def rounding(case: models.Case, model: str, unit: str) -> float:
    """How far integers may lie from the library's doubles, in the unit: a row is off by up to a unit per lot, a
    requirement adds another (as many of both as a factor above one carries along); marks, charges on deltas and
    conversions are rounded once."""
    p = case.portfolio
    in_coin = any(c.name == unit and c.underlying is not None for c in p.currencies)
    part = (
        p
        if model.startswith("cross")
        else p.take(np.array([p.currencies[c].name == unit for c in p.settlement], dtype=bool))
    )
    lots = float(np.abs(part.lots).sum())
    if model == "cross_sm":
        return 3e-6 * lots + 1e-3
    coins = np.abs(part.size / np.where(part.is_option | ~part.inverse, 1.0, part.forward))
    worth = float((coins * (1.0 if in_coin else part.index)).sum())
    return (2.0 * _lot_units(case.sets) * lots + 10.0) * (1e-10 if in_coin else USD_UNIT) + 1e-9 * worth


def _lot_units(sets: models.ParameterSet | Mapping[str, models.ParameterSet]) -> int:
    """Rounding units a lot of the set with the largest factor; 1 where none is above one."""
    chosen = sets.values() if isinstance(sets, Mapping) else (sets,)
    factors = [getattr(one, f"{kind}_factor_ppm", 0) for one in chosen for kind in ("initial", "maintenance")]
    return max(1, -(-max(factors) // 1_000_000))


def shown_hashes(sets: models.ParameterSet | Mapping[str, models.ParameterSet]) -> dict[str, str]:
    """The venue's hash by underlying's name, of sets that a venue can have."""
    found = {}
    if isinstance(sets, models.IsolatedSet):
        sets = {sets.name: sets}
    if isinstance(sets, Mapping):
        for name, own in sets.items():
            digest = venue_hash(own, name)
            if digest is not None:
                found[name] = digest
    return found
