"""Exact conversion between numbers on the wire and the engine's integers.

A JSON number means the decimal that its shortest representation shows: 0.1 is one tenth exactly. Nothing is
rounded on the way in; on the way out an integer ratio becomes the nearest double, whose shortest form is the
decimal again.
"""

from decimal import Decimal, InvalidOperation

E8 = 100_000_000
E12 = 10**12
PPM = 1_000_000
_UNAMBIGUOUS_E8 = 10**15
"""Below this many 1e-8 steps (15 digits) every decimal has a double of its own."""


class NotExact(ValueError):
    """The number is no whole multiple of the unit (or not a finite number)."""


def to_e8(number: float | int | str) -> int:
    """`number` in 1e-8; NotExact where more than eight decimals would be needed."""
    if type(number) is float:
        if not -1e22 < number < 1e22:
            raise NotExact(number)
        scaled = round(number * E8)
        if -_UNAMBIGUOUS_E8 < scaled < _UNAMBIGUOUS_E8 and scaled / E8 == number:
            return scaled
        return to_scaled(repr(number), 8)
    return to_scaled(number, 8)


def to_scaled(number: float | int | str, exponent: int) -> int:
    """`number` times 10**exponent as an exact integer; NotExact where it is none."""
    try:
        value = Decimal(repr(number) if isinstance(number, float) else number)
    except (InvalidOperation, ValueError, TypeError) as error:
        raise NotExact(number) from error
    if not value.is_finite() or value.adjusted() > 40 or (value and value.adjusted() < -40):
        raise NotExact(number)
    numerator, denominator = value.as_integer_ratio()
    scaled, rest = divmod(numerator * 10**exponent, denominator)
    if rest:
        raise NotExact(number)
    return scaled


def whole_units(number: float | int | str, unit_e8: int) -> int:
    """`number` as a count of units of `unit_e8`; NotExact where it is no whole multiple."""
    units, rest = divmod(to_e8(number), unit_e8)
    if rest:
        raise NotExact(number)
    return units


def price(units: int, unit_e8: int) -> float:
    """Price of `units` price units in the quote currency."""
    return units * unit_e8 / E8


def from_e8(value_e8: int) -> float:
    """A figure in 1e-8 as a number."""
    return value_e8 / E8


def money(amount_minor: int, exponent: int) -> float:
    """Minor units as coins."""
    return amount_minor / 10**exponent


def to_minor(number: float | int | str, exponent: int) -> int:
    """Coins as minor units; NotExact where finer than the currency's exponent."""
    return to_scaled(number, exponent)


def ms(time_ns: int) -> int:
    """Milliseconds of a time in nanoseconds."""
    return time_ns // 1_000_000
