"""Instrument names: `BTC-PERPETUAL`, `BTC-5AUG27`, `BTC-25DEC26-100000-C`, `XRP_USDC-30JUN26-0d625-C`."""

from datetime import UTC, datetime, timedelta
from typing import Literal

OptionType = Literal["call", "put"]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EXPIRY_HOUR_UTC = 8
E8 = 100_000_000
MONTHS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")


def time_ns_of(moment: datetime) -> int:
    """UTC nanoseconds of an aware datetime, exact to the microsecond (floats are not)."""
    return (moment - EPOCH) // timedelta(microseconds=1) * 1_000


def prefix(underlying: str, settlement: str, inverse: bool) -> str:
    """`BTC` for contracts settled in the coin, `BTC_USDC` for linear ones."""
    return underlying if inverse else f"{underlying}_{settlement}"


def expiry_label(expiry_ns: int) -> str:
    """`5AUG27`: the day is not zero-padded."""
    day = EPOCH + timedelta(microseconds=expiry_ns // 1_000)
    return f"{day.day}{MONTHS[day.month - 1]}{day.year % 100:02d}"


def strike_label(strike_e8: int) -> str:
    """`100000`, or `0d625` where the strike has decimals."""
    whole, fraction = divmod(strike_e8, E8)
    return str(whole) if fraction == 0 else f"{whole}d{fraction:08d}".rstrip("0")


def perpetual_name(stem: str) -> str:
    """Name of the perpetual of a `prefix`."""
    return f"{stem}-PERPETUAL"


def future_name(stem: str, expiry_ns: int) -> str:
    """Name of a dated future of a `prefix`."""
    return f"{stem}-{expiry_label(expiry_ns)}"


def option_name(stem: str, expiry_ns: int, strike_e8: int, option_type: OptionType) -> str:
    """Name of an option of a `prefix`."""
    letter = "C" if option_type == "call" else "P"
    return f"{stem}-{expiry_label(expiry_ns)}-{strike_label(strike_e8)}-{letter}"
