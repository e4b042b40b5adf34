"""A portfolio and its market as numpy arrays: what every model of this package takes.

Prices in USD, quantities in lots times lot size (USD for inverse futures, coins otherwise), amounts of money in units
of their currency, times in days (365 to the year). One row is one instrument; the sign of `lots` is its side.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import msgspec
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Places = NDArray[np.int64]

PERPETUAL, FUTURE, OPTION = 0, 1, 2
KINDS = ("perpetual", "future", "option")
DAYS_PER_YEAR = 365.0


class PortfolioError(ValueError):
    """A portfolio that cannot be margined; the message names the field and the row."""


class Underlying(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A coin and what the market says of it. None: the charge that needs a figure is not made."""

    name: str
    index_usd: float
    rate: float = 0.0
    """Continuously compounded interest per year; only sets that discount use it."""
    open_interest_coins: float | None = None
    depth_coins: float | None = None
    """What the books hold on one side within the set's `depth_move_ppm`."""
    owner_delta_coins: float | None = None
    """Net delta of all accounts of the owner; None: this portfolio's."""


class Currency(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A settlement currency: a coin (`underlying` values it) or a dollar currency; its cash and haircuts."""

    name: str
    underlying: str | None = None
    cash: float = 0.0
    haircut_ppm: int = 0
    debt_ppm: int = 1_000_000
    price_usd: float = 1.0
    """Of a dollar currency on the market: the peg charge alone uses it, scenarios count a dollar as a dollar."""


@dataclass(frozen=True, eq=False)
class Portfolio:
    """Positions [N] with their market. Make one with `portfolio`, which checks and fills in."""

    underlyings: tuple[Underlying, ...]
    currencies: tuple[Currency, ...]
    underlying: Places
    """[N] place in `underlyings`."""
    settlement: Places
    """[N] place in `currencies`."""
    kind: Places
    """[N] PERPETUAL, FUTURE or OPTION."""
    is_call: Flags
    strike: Floats
    days: Floats
    """[N] to expiry; 0 for perpetuals."""
    forward: Floats
    """[N] a future's mark price, an option's forward."""
    vol: Floats
    lots: Floats
    lot_size: Floats
    mark: Floats
    """[N] in the quote unit: USD, for inverse options coins per coin. NaN: the model value."""
    entry: Floats
    """[N] futures' entry price in USD. NaN: the mark, so no unrealised P&L."""
    average_fraction: Floats
    """[N] how much of the settlement average is known, 0 to 1."""
    average_price: Floats
    """[N] mean of what is known of it."""

    def __len__(self) -> int:
        return len(self.lots)

    @cached_property
    def size(self) -> Floats:
        """[N] signed: USD of inverse futures, coins otherwise."""
        return self.lots * self.lot_size

    @cached_property
    def years(self) -> Floats:
        return self.days / DAYS_PER_YEAR

    @cached_property
    def is_option(self) -> Flags:
        return self.kind == OPTION

    @cached_property
    def inverse(self) -> Flags:
        """[N] settled in the coin that it is about."""
        own = [
            -1 if c.underlying is None else [u.name for u in self.underlyings].index(c.underlying)
            for c in self.currencies
        ]
        return np.array(own, dtype=np.int64)[self.settlement] == self.underlying

    @cached_property
    def index(self) -> Floats:
        """[N] index of the position's underlying."""
        return np.array([u.index_usd for u in self.underlyings])[self.underlying]

    @cached_property
    def fixing(self) -> Floats:
        """[N] expected settlement price: known part of the average and the forward for the rest."""
        return self.average_fraction * self.average_price + (1.0 - self.average_fraction) * self.forward

    def take(self, rows: ArrayLike) -> "Portfolio":
        """The portfolio of some rows (places or a mask); market and cash stay."""
        arrays = {f.name: getattr(self, f.name)[rows] for f in fields(self) if f.name not in _MARKET}
        return replace(self, **arrays)


_MARKET = ("underlyings", "currencies")
_POSITION = {f.name for f in fields(Portfolio)} - set(_MARKET)
_DEFAULTS: dict[str, Any] = {
    "is_call": True, "strike": 0.0, "days": 0.0, "vol": 0.0, "lot_size": 1.0, "mark": np.nan,
    "entry": np.nan, "average_fraction": 0.0, "average_price": 0.0,
}  # fmt: skip


def portfolio(
    underlyings: Sequence[Underlying] | Mapping[str, float], currencies: Sequence[Currency] = (), **columns: ArrayLike
) -> Portfolio:
    """A checked portfolio of N positions.

    underlyings: structs, or {name: index in USD}. currencies: structs; settlements that none describes hold no cash
    (a coin where the name is an underlying's). columns: the arrays of `Portfolio`, scalars broadcast; `underlying`,
    `settlement` by name, `kind` by name or number, `settlement` is by default the underlying's coin, `forward` the
    index. PortfolioError names the field and the first row that is wrong.
    """
    if isinstance(underlyings, Mapping):
        underlyings = [Underlying(name=name, index_usd=float(index)) for name, index in underlyings.items()]
    unknown = columns.keys() - _POSITION
    if unknown:
        raise PortfolioError(f"{min(unknown)}: no such column")
    for needed in ("kind", "lots"):
        if needed not in columns:
            raise PortfolioError(f"{needed}: missing")
    names = [u.name for u in underlyings]
    if len(set(names)) != len(names) or not names:
        raise PortfolioError("underlyings: must have different names, at least one")
    default = names[0] if len(names) == 1 else None
    given = {name: np.atleast_1d(np.asarray(value)) for name, value in columns.items()}
    if "underlying" not in given:
        if default is None:
            raise PortfolioError("underlying: missing (there is more than one)")
        given["underlying"] = np.array([default])
    try:
        count = np.broadcast_shapes(*(value.shape for value in given.values()))
    except ValueError:
        sizes = {name: len(value) for name, value in given.items()}
        raise PortfolioError(f"columns of different lengths: {sizes}") from None
    if len(count) != 1:
        raise PortfolioError("columns must be one-dimensional")
    given = {name: np.broadcast_to(value, count) for name, value in given.items()}
    settlement = given.pop("settlement", given["underlying"])
    currencies = _with_settlements(tuple(currencies), names, settlement)
    arrays = {
        "underlying": _places(given.pop("underlying"), names, "underlying"),
        "settlement": _places(settlement, [c.name for c in currencies], "settlement"),
        "kind": _places(given.pop("kind"), KINDS, "kind"),
        "is_call": given.pop("is_call", np.ones(count)).astype(bool),
    }
    index = np.array([u.index_usd for u in underlyings])[arrays["underlying"]]
    for name in ("strike", "days", "forward", "vol", "lots", "lot_size", "mark", "entry", "average_fraction",
                 "average_price"):  # fmt: skip
        value = given.get(name, index if name == "forward" else np.full(count, _DEFAULTS.get(name)))
        try:
            arrays[name] = np.array(value, dtype=np.float64)
        except (TypeError, ValueError):
            raise PortfolioError(f"{name}: must be numbers") from None
    made = Portfolio(tuple(underlyings), currencies, **arrays)
    _check(made)
    return made


def _with_settlements(known: tuple[Currency, ...], coins: list[str], settlement: NDArray[Any]) -> tuple[Currency, ...]:
    names = {currency.name for currency in known}
    if len(names) != len(known):
        raise PortfolioError("currencies: must have different names")
    for currency in known:
        if currency.underlying is not None and currency.underlying not in coins:
            raise PortfolioError(f"currencies: {currency.name} is of no known underlying")
    added = [name for name in dict.fromkeys(str(s) for s in settlement) if name not in names]
    return known + tuple(Currency(name=name, underlying=name if name in coins else None) for name in added)


def _places(values: NDArray[Any], names: Sequence[str], field: str) -> Places:
    if values.dtype.kind in "iu":
        if ((values < 0) | (values >= len(names))).any():
            raise PortfolioError(f"{field}: must be 0 to {len(names) - 1}")
        return values.astype(np.int64)
    place = {name: number for number, name in enumerate(names)}
    for row, value in enumerate(values):
        if str(value) not in place:
            raise PortfolioError(f"{field}[{row}]: {value!s} is none of {', '.join(names)}")
    return np.array([place[str(value)] for value in values], dtype=np.int64)


def _check_market(p: Portfolio) -> None:
    for u in p.underlyings:
        if not 0.0 < u.index_usd < np.inf:
            raise PortfolioError(f"underlyings: index_usd of {u.name} must be finite and positive")
        if not np.isfinite(u.rate):
            raise PortfolioError(f"underlyings: rate of {u.name} must be finite")
        for name in ("open_interest_coins", "depth_coins"):
            if not 0.0 <= (getattr(u, name) or 0.0) < np.inf:
                raise PortfolioError(f"underlyings: {name} of {u.name} must be finite and not negative")
        if u.owner_delta_coins is not None and not np.isfinite(u.owner_delta_coins):
            raise PortfolioError(f"underlyings: owner_delta_coins of {u.name} must be finite")
    for c in p.currencies:
        if not 0 <= c.haircut_ppm <= 1_000_000 <= c.debt_ppm:
            raise PortfolioError(f"currencies: haircut_ppm of {c.name} must be 0 to a million, debt_ppm from there on")
        if not (np.isfinite(c.cash) and 0.0 <= c.price_usd < np.inf):
            raise PortfolioError(f"currencies: cash and price_usd of {c.name} must be finite, the price not negative")


def _check(p: Portfolio) -> None:
    def wrong(field: str, bad: Flags, reason: str) -> None:
        if bad.any():
            raise PortfolioError(f"{field}[{int(np.argmax(bad))}]: {reason}")

    _check_market(p)
    coin_of = np.array([-1 if c.underlying is None else _place(p, c.underlying) for c in p.currencies], dtype=np.int64)
    foreign = (coin_of[p.settlement] >= 0) & (coin_of[p.settlement] != p.underlying)
    wrong("settlement", foreign, "another coin than the underlying: neither inverse nor linear")
    option, dated = p.is_option, p.kind != PERPETUAL
    wrong("lots", ~np.isfinite(p.lots), "must be finite")
    wrong("lot_size", ~((p.lot_size > 0) & (p.lot_size < np.inf)), "must be finite and positive")
    wrong("forward", ~((p.forward > 0) & (p.forward < np.inf)), "must be finite and positive")
    wrong("strike", option & ~((p.strike > 0) & (p.strike < np.inf)), "must be finite and positive")
    wrong("vol", option & ~((p.vol >= 0) & (p.vol < np.inf)), "must be finite and not negative")
    wrong("days", ~((p.days >= 0) & (p.days < np.inf)), "must be finite and not negative")
    wrong("days", ~dated & (p.days != 0), "must be 0 for a perpetual")
    wrong("mark", np.isinf(p.mark) | (p.mark < 0), "must be finite and not negative")
    wrong("entry", np.isinf(p.entry) | (p.entry <= 0), "must be finite and positive")
    known = (p.average_fraction >= 0) & (p.average_fraction <= 1)
    wrong("average_fraction", ~known, "must be 0 to 1")
    wrong("average_fraction", ~dated & (p.average_fraction > 0), "must be 0 for a perpetual")
    wrong("average_price", (p.average_fraction > 0) & ~(p.average_price > 0), "must be positive")


def _place(p: Portfolio, name: str) -> int:
    return [u.name for u in p.underlyings].index(name)
