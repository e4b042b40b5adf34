"""Whether a batch of instruments can be listed: all of them, or none."""

from collections.abc import Sequence
from typing import Any

from exchange.config import Instrument
from exchange.reasons import Reason


def refusal(engine: Any, specs: Sequence[Instrument]) -> Reason:
    """Why not all of `specs` can be listed by an exchange.engine.Engine, NONE when they can."""
    names: set[str] = set()
    expiries: dict[int, set[int]] = {}
    lots: dict[tuple[int, int], int] = {}
    if engine.listing.live + len(specs) > engine.config.limits.max_instruments:
        return Reason.LIMIT_REACHED
    for spec in specs:
        if spec.name in names:
            return Reason.DUPLICATE_NAME
        names.add(spec.name)
        reason = _one(engine, spec, lots)
        if reason:
            return reason
        expiries.setdefault(engine.underlying_index(spec.underlying), set()).add(spec.expiry_ns)
    for underlying, wanted in expiries.items():
        if len((engine.rows.expiries(underlying) | wanted) - {0}) > engine.rows.max_expiries():
            return Reason.LIMIT_REACHED
    return Reason.NONE


def _one(engine: Any, spec: Instrument, lots: dict[tuple[int, int], int]) -> Reason:
    """Why one of them cannot; `lots` are the option lot sizes of the batch so far."""
    underlying, currency = engine.underlying_index(spec.underlying), engine.currency_index(spec.settlement)
    if underlying < 0:
        return Reason.UNKNOWN_UNDERLYING
    if currency < 0:
        return Reason.UNKNOWN_CURRENCY
    if engine.instrument_slot(spec.name) >= 0:
        return Reason.DUPLICATE_NAME
    if spec.expiry_ns and spec.expiry_ns <= engine.time_ns:
        return Reason.INSTRUMENT_EXPIRED
    coin = engine.config.currencies[currency].underlying
    if spec.inverse != (coin is not None) or (spec.inverse and coin != spec.underlying):
        return Reason.BAD_CONFIGURATION
    if spec.kind == "option" and lots.setdefault((underlying, currency), spec.lot_size_e8) != spec.lot_size_e8:
        return Reason.BAD_CONFIGURATION
    try:
        engine.listing.check(spec, engine.config.currencies[currency].exponent)
    except ValueError:
        return Reason.BAD_CONFIGURATION
    if engine.rows.chain_accepts(engine.rows.add_chain(underlying, currency), spec):
        return Reason.BAD_CONFIGURATION
    return Reason.NONE
