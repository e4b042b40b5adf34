"""Greeks, the margin table and liquidation prices as wire objects: vega per vol point, theta per day, rho per point."""

import math
from typing import Any

from exchange.parameters import StandardParameters
from exchange.views import TENOR_DAYS, ChainGreeks, InstrumentView, MarketView, PositionGreeks, PositionView
from gateway.units import E8, money


def _greeks(one: PositionGreeks | ChainGreeks) -> dict[str, float]:
    return {
        "delta": one.delta,
        "net_delta": one.net_delta,
        "gamma": one.gamma,
        "vega": one.vega / 100.0,
        "theta": one.theta / 365.0,
        "rho": one.rho / 100.0,
    }


def greeks(engine: Any, what_if: Any, account_id: int) -> dict[str, Any]:
    """Greeks by underlying and settlement currency with vega by tenor (days to expiry), and of each position."""
    config = engine.config
    chains = [
        {
            "underlying": config.underlyings[one.underlying].name,
            "currency": config.currencies[one.currency].name,
            **_greeks(one),
            "vega_by_tenor": [value / 100.0 for value in one.vega_by_tenor],
        }
        for one in what_if.greeks(account_id)
    ]
    positions = [
        {"instrument_name": engine.instrument(one.instrument).name, **_greeks(one)}
        for one in what_if.position_greeks(account_id)
    ]
    return {"tenor_days": list(TENOR_DAYS), "totals": chains, "positions": positions}


def margin_table(engine: Any, what_if: Any, account_id: int) -> dict[str, Any]:
    """Everything a requirement is made of (WhatIf.explain), and Greeks."""
    table: dict[str, Any] = what_if.explain(account_id)
    return table | {"greeks": greeks(engine, what_if, account_id)}


def liquidation_price(
    cash: float,
    exponent: int,
    view: PositionView,
    instrument: InstrumentView,
    market: MarketView,
    p: StandardParameters,
) -> float | None:
    """Mark at which balance = maintenance margin, for a future that stands alone against `cash` (coins) under the
    formulas of `p`; None where no mark above zero does that.

    The index is taken to keep its ratio to the mark, vols and funding to stand still. With A the balance less the
    position's value: linear A + q F = |q| F r; inverse, x = 1 / F, k = index / mark, A - Q x = m |Q| x + s Q^2 x^2 / k.
    """
    lot = instrument.lot_size_e8 / E8
    size, mark = view.quantity_lots * lot, market.mark_price_e8 / E8
    if not size or not mark:
        return None
    rest = cash + money(view.funding_accrued_minor - view.cost_minor, exponent)
    base, slope = p.future_maintenance_ppm / 1e6, p.per_coin_ppm / 1e6
    if not instrument.inverse:
        rate = min(1.0, base + slope * abs(size))
        gap = size - abs(size) * rate
        price = -rest / gap if gap else 0.0
        return price if price > 0.0 else None
    square = slope * size * size * mark / (market.index_price_e8 / E8)
    linear = size + base * abs(size)
    root = linear * linear + 4.0 * square * rest
    if root < 0.0 or linear == 0.0:
        return None
    under = 2.0 * rest / (linear + math.copysign(math.sqrt(root), linear))
    return 1.0 / under if under > 0.0 else None
