"""Combos of listed contracts: canonical legs, names as Deribit gives them, definitions, leg prices.

A set of legs has one canonical form, so that the same combo is always the same instrument, whoever asks for it and in
whatever order and direction: `Shape.sign` says whether the legs asked for are the combo bought or sold.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from exchange import config
from gateway.listing import Listing

MAX_LEGS = 4
MAX_RATIO = 10
LARGEST_UNITS = 1 << 23
"""A combo's prices reach no further from zero than this many price units."""


class CannotCombine(ValueError):
    """Legs that make no combo; the message says why."""


class Leg(NamedTuple):
    listing: Listing
    ratio: int


class Shape(NamedTuple):
    """A combo: its name, its canonical legs, and 1 where the legs asked for buy it, -1 where they sell it."""

    name: str
    legs: tuple[Leg, ...]
    sign: int


def shape(wanted: Sequence[tuple[Listing, int]]) -> tuple[Shape, int]:
    """The combo of signed lots of contracts, and how many lots of it they are. CannotCombine where there is none."""
    if not 2 <= len(wanted) <= MAX_LEGS or len({listing.slot for listing, _ in wanted}) != len(wanted):
        raise CannotCombine(f"2 to {MAX_LEGS} different instruments are needed")
    if len({_family(listing) for listing, _ in wanted}) != 1:
        raise CannotCombine("legs must be all options, or all futures, of one underlying and settlement currency")
    lots = math.gcd(*(lots for _, lots in wanted))
    legs = [Leg(listing, signed // lots) for listing, signed in wanted]
    if any(not 1 <= abs(leg.ratio) <= MAX_RATIO for leg in legs) or 1 not in (abs(leg.ratio) for leg in legs):
        raise CannotCombine(f"ratios must be 1 to {MAX_RATIO}, at least one of them 1")
    for sign in (1, -1):
        turned = _sorted([Leg(leg.listing, sign * leg.ratio) for leg in legs])
        name = _name(turned)
        if name:
            return Shape(name, turned, sign), lots
    turned = _sorted(legs)
    # neither side has a name of its own: the one whose first contract is bought stands for both
    first = min(legs, key=lambda leg: _place(leg.listing))
    sign = 1 if first.ratio > 0 else -1
    turned = _sorted([Leg(leg.listing, sign * leg.ratio) for leg in legs])
    text = ",".join(f"{leg.ratio}x{leg.listing.name}" for leg in turned)
    return Shape(f"{_stem(turned)}-CUSTOM-{hashlib.sha256(text.encode()).hexdigest()[:10].upper()}", turned, sign), lots


def _family(listing: Listing) -> tuple[Any, ...]:
    view = listing.view
    if listing.is_combo:
        raise CannotCombine("a combo cannot be a leg")
    return view.underlying, view.settlement, listing.is_option, view.price_unit_e8, view.lot_size_e8


def _place(listing: Listing) -> tuple[int, int, str]:
    view = listing.view
    return view.expiry_ns, view.strike_e8, view.option_type or ""


def _sorted(legs: Sequence[Leg]) -> tuple[Leg, ...]:
    """Legs bought first, each group by expiry, strike and type."""
    return tuple(sorted(legs, key=lambda leg: (leg.ratio < 0, *_place(leg.listing))))


def _stem(legs: Sequence[Leg]) -> str:
    """`BTC`, or `BTC_USDC` where linear."""
    return legs[0].listing.name.split("-")[0]


def _expiry(listing: Listing) -> str:
    return "PERP" if listing.view.kind == "perpetual" else listing.name.split("-")[1]


def _strike(listing: Listing) -> str:
    return listing.name.split("-")[2]


# What is bought, by (type and strike rank, ratio); C and P of ascending strikes 1 .. n of one expiry.
_PATTERNS: dict[tuple[tuple[str, int], ...], str] = {
    (("C1", 1), ("C2", -1)): "CS",
    (("P1", -1), ("P2", 1)): "PS",
    (("C1", 1), ("P1", 1)): "STRD",
    (("C2", 1), ("P1", 1)): "STRG",
    (("C2", 1), ("P1", -1)): "RR",
    (("C1", 1), ("C2", -2), ("C3", 1)): "CBUT",
    (("P1", 1), ("P2", -2), ("P3", 1)): "PBUT",
    (("C1", 1), ("C2", -1), ("C3", -1), ("C4", 1)): "CCOND",
    (("P1", 1), ("P2", -1), ("P3", -1), ("P4", 1)): "PCOND",
    (("C3", -1), ("C4", 1), ("P1", 1), ("P2", -1)): "ICOND",
    (("C2", -1), ("C3", 1), ("P1", 1), ("P2", -1)): "IBUT",
    (("C1", 1), ("C2", -1), ("P1", -1), ("P2", 1)): "BOX",
    **{(("C1", 1), ("C2", -b)): f"CSR1{b}" for b in (2, 3)},
    **{(("P1", -b), ("P2", 1)): f"PSR1{b}" for b in (2, 3)},
}


def _name(legs: Sequence[Leg]) -> str:
    """The name of a known strategy that these legs buy, empty where they are none."""
    expiries = sorted({leg.listing.view.expiry_ns for leg in legs})
    if not legs[0].listing.is_option:
        return _spread(legs, lambda near, far: f"FS-{_expiry(far)}_{_expiry(near)}")
    if len(expiries) == 2:
        return _spread(legs, _calendar)
    if len(expiries) > 2:
        return ""
    strikes = sorted({leg.listing.view.strike_e8 for leg in legs})
    ranked = []
    for listing, ratio in legs:
        letter = "C" if listing.view.option_type == "call" else "P"
        ranked.append((f"{letter}{strikes.index(listing.view.strike_e8) + 1}", ratio))
    code = _PATTERNS.get(tuple(sorted(ranked)))
    if code is None:
        return ""
    words = {leg.listing.view.strike_e8: _strike(leg.listing) for leg in legs}
    shown = "_".join(words[strike] for strike in strikes)
    return f"{_stem(legs)}-{code}-{_expiry(legs[0].listing)}-{shown}"


def _spread(legs: Sequence[Leg], render: Callable[[Listing, Listing], str]) -> str:
    """Two legs of which the later expiry is bought; a perpetual counts as the nearest."""
    if len(legs) != 2 or [leg.ratio for leg in legs] != [1, -1]:
        return ""
    far, near = legs[0].listing, legs[1].listing
    if far.view.expiry_ns <= near.view.expiry_ns:
        return ""
    word = render(near, far)
    return word and f"{_stem(legs)}-{word}"


def _calendar(near: Listing, far: Listing) -> str:
    if near.view.option_type != far.view.option_type:
        return ""
    letter = "C" if near.view.option_type == "call" else "P"
    expiries = f"{_expiry(far)}_{_expiry(near)}"
    if near.view.strike_e8 == far.view.strike_e8:
        return f"{letter}CAL-{expiries}-{_strike(near)}"
    return f"{letter}DIAG-{expiries}-{_strike(far)}_{_strike(near)}"


def definition(found: Shape) -> config.Instrument:
    """The instrument to list: prices may go as far as those of its legs, limits are the tightest of theirs."""
    views = [leg.listing.view for leg in found.legs]
    below = sum(-leg.ratio * leg.listing.view.max_price_units for leg in found.legs if leg.ratio < 0)
    above = sum(leg.ratio * leg.listing.view.max_price_units for leg in found.legs if leg.ratio > 0)
    options = found.legs[0].listing.is_option
    tick = 1 if options else max(view.tick_steps[0][1] for view in views)
    zero_units = (min(below, LARGEST_UNITS) // tick + 1) * tick
    return config.Instrument(
        name=found.name,
        kind="option_combo" if options else "future_combo",
        underlying=views[0].underlying,
        settlement=views[0].settlement,
        inverse=views[0].inverse,
        price_unit_e8=views[0].price_unit_e8,
        lot_size_e8=views[0].lot_size_e8,
        tick_steps=(config.TickStep(above_units=0, tick_units=tick),),
        expiry_ns=min(view.expiry_ns for view in views if view.expiry_ns),
        min_quantity_lots=max(view.min_quantity_lots for view in views),
        max_quantity_lots=min(leg.listing.view.max_quantity_lots // abs(leg.ratio) for leg in found.legs),
        max_price_units=zero_units + min(above, LARGEST_UNITS),
        fees=config.Fees(maker_ppm=views[0].maker_ppm, taker_ppm=views[0].taker_ppm),
        legs=tuple(config.Leg(leg.listing.name, leg.ratio) for leg in found.legs),
        zero_units=zero_units,
    )


def leg_prices(marks: Sequence[tuple[int, int, int]], price_units: int) -> list[int] | None:
    """Prices that the legs would be booked at, None where they cannot be: (ratio, mark, largest price) of each leg and
    the combo's price, all in price units. As the engine does it (docs/orders.md)."""
    prices = [mark for _, mark, _ in marks]
    rest = price_units - sum(ratio * mark for ratio, mark, _ in marks)
    if rest == 0:
        return prices
    for i, (ratio, mark, largest) in enumerate(marks):
        if abs(ratio) == 1 and 1 <= mark + ratio * rest <= largest:
            prices[i] = mark + ratio * rest
            return prices
    return None
