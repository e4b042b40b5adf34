"""Whether a batch of instruments can be listed: all of them, or none."""

import math
from collections.abc import Sequence
from typing import Any

from exchange.config import COMBO_KINDS, Instrument
from exchange.reasons import Reason

MAX_LEGS = 4
MAX_RATIO = 10


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
    return _combos_fit(engine, [spec for spec in specs if spec.legs])


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
    if bool(spec.legs) != (spec.kind in COMBO_KINDS) or (spec.zero_units and not spec.legs):
        return Reason.BAD_CONFIGURATION
    return _combo(engine, spec) if spec.legs else Reason.NONE


def _combos_fit(engine: Any, specs: Sequence[Instrument]) -> Reason:
    """Combos of different legs, and no more than may be: idle ones make room."""
    known = {engine.listing.spec(slot).legs for slot in engine.listing.combo_slots()} if specs else set()
    for spec in specs:
        if spec.legs in known:
            return Reason.DUPLICATE_NAME
        known.add(spec.legs)
    surplus = engine.listing.combo_count + len(specs) - engine.config.limits.max_combos
    if specs and surplus > len(engine.settlement.idle_combos()):
        return Reason.COMBO_LIMIT
    return Reason.NONE


def _combo(engine: Any, spec: Instrument) -> Reason:
    """Legs: 2 to 4 different ones, listed before, of one chain and kind, with the combo's units and its expiry the
    first of theirs; ratios in canonical form; prices within what may be counted from `zero_units`."""
    slots = [engine.instrument_slot(leg.instrument) for leg in spec.legs]
    ratios = [leg.ratio for leg in spec.legs]
    if not 2 <= len(slots) <= MAX_LEGS or len(set(slots)) != len(slots) or min(slots) < 0:
        return Reason.COMBO_LEGS
    if ratios[0] < 1 or any(not 1 <= abs(ratio) <= MAX_RATIO for ratio in ratios):
        return Reason.COMBO_LEGS
    if math.gcd(*ratios) != 1 or 1 not in [abs(ratio) for ratio in ratios]:
        return Reason.COMBO_LEGS
    legs = [engine.listing.spec(slot) for slot in slots]
    kinds = ("option",) if spec.kind == "option_combo" else ("perpetual", "future")
    shared = (spec.underlying, spec.settlement, spec.inverse, spec.price_unit_e8, spec.lot_size_e8)
    for leg, ratio in zip(legs, ratios, strict=True):
        if leg.kind not in kinds or shared != (
            leg.underlying, leg.settlement, leg.inverse, leg.price_unit_e8, leg.lot_size_e8
        ):  # fmt: skip
            return Reason.COMBO_LEGS
        if (
            spec.min_quantity_lots < leg.min_quantity_lots
            or spec.max_quantity_lots * abs(ratio) > leg.max_quantity_lots
        ):
            return Reason.COMBO_LEGS
    if spec.expiry_ns != min((leg.expiry_ns for leg in legs if leg.expiry_ns), default=0):
        return Reason.COMBO_LEGS
    if len(spec.tick_steps) != 1 or not 1 <= spec.zero_units <= spec.max_price_units:
        return Reason.COMBO_LEGS
    return Reason.COMBO_LEGS if spec.zero_units % spec.tick_steps[0].tick_units else Reason.NONE
