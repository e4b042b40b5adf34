"""An option chain at one moment, and the instruments that a venue lists from it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from exchange.config import Fees, Instrument, InstrumentKind, ListingRule, TickStep
from gateway.feeds.names import OptionType, future_name, option_name, perpetual_name, prefix

IntArray = npt.NDArray[np.int64]


class ChainError(ValueError):
    """A chain that cannot be used: unreadable file, missing columns, no usable row, no such snapshot."""


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that was left out: its line (1-based, header included) or row number, and why."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Expiry:
    """One expiry: its forward in 1e-8 USD and whether a dated future is listed on it."""

    expiry_ns: int
    forward_e8: int
    has_future: bool


@dataclass(frozen=True, slots=True)
class ListedOption:
    """One option of the chain, under its name there."""

    name: str
    expiry_ns: int
    strike_e8: int
    option_type: OptionType


@dataclass(frozen=True, slots=True, eq=False)
class UnderlyingChain:
    """The chain of one underlying; the pair arrays (shape (pairs,)) ascend by (expiry, strike)."""

    underlying: str
    index_price_e8: int
    expiries: tuple[Expiry, ...]
    options: tuple[ListedOption, ...]
    pair_expiry_ns: IntArray
    pair_strike_e8: IntArray
    pair_vol_e6: IntArray


@dataclass(frozen=True, slots=True, eq=False)
class ChainSnapshot:
    """Chains of all underlyings at one moment, with the rows that were refused."""

    time_ns: int
    underlyings: dict[str, UnderlyingChain]
    bad_rows: tuple[BadRow, ...] = ()


def listing(
    snapshot: ChainSnapshot, rules: Sequence[ListingRule], linear_expiries_ns: frozenset[int] | None = None
) -> list[Instrument]:
    """Instruments of a chain, rule by rule: perpetual, dated futures, options by expiry and strike.

    An inverse rule takes the options under their names in the chain, a linear rule lists their twins
    (`BTC_USDC-...`), on `linear_expiries_ns` alone where that is given. Raises ChainError where a rule names
    an underlying that the chain does not have.
    """
    instruments: list[Instrument] = []
    for rule in rules:
        chain = snapshot.underlyings.get(rule.underlying)
        if chain is None:
            raise ChainError(f"a listing rule names {rule.underlying}, the chain has {sorted(snapshot.underlyings)}")
        stem = prefix(rule.underlying, rule.settlement, rule.inverse)
        if "perpetual" in rule.kinds:
            instruments.append(_future(rule, "perpetual", perpetual_name(stem), 0))
        if "future" in rule.kinds:
            instruments.extend(
                _future(rule, "future", future_name(stem, expiry.expiry_ns), expiry.expiry_ns)
                for expiry in chain.expiries
                if expiry.has_future
            )
        if "option" in rule.kinds:
            twins = None if rule.inverse else linear_expiries_ns
            instruments.extend(
                _option(rule, stem, option) for option in chain.options if twins is None or option.expiry_ns in twins
            )
    return instruments


def _future(rule: ListingRule, kind: InstrumentKind, name: str, expiry_ns: int) -> Instrument:
    return Instrument(
        name=name,
        kind=kind,
        underlying=rule.underlying,
        settlement=rule.settlement,
        inverse=rule.inverse,
        price_unit_e8=rule.future_price_unit_e8,
        lot_size_e8=rule.future_lot_size_e8,
        tick_steps=rule.future_tick_steps,
        expiry_ns=expiry_ns,
        max_price_units=rule.future_max_price_units,
        fees=rule.future_fees,
    )


def _option(rule: ListingRule, stem: str, option: ListedOption) -> Instrument:
    if rule.inverse:
        name = option.name
    else:
        name = option_name(stem, option.expiry_ns, option.strike_e8, option.option_type)
    return Instrument(
        name=name,
        kind="option",
        underlying=rule.underlying,
        settlement=rule.settlement,
        inverse=rule.inverse,
        price_unit_e8=rule.option_price_unit_e8,
        lot_size_e8=rule.option_lot_size_e8,
        tick_steps=rule.option_tick_steps,
        expiry_ns=option.expiry_ns,
        strike_e8=option.strike_e8,
        option_type=option.option_type,
        max_price_units=rule.option_max_price_units,
        fees=rule.option_fees,
    )


_COIN_STEPS = (TickStep(above_units=0, tick_units=1), TickStep(above_units=50, tick_units=5))
# in 1e-8: inverse future tick and lot, inverse option lot; linear future tick and lot, option tick and lot
_UNITS: dict[str, tuple[int, ...]] = {
    "BTC": (50_000_000, 1_000_000_000, 10_000_000, 50_000_000, 10_000, 500_000_000, 1_000_000),
    "ETH": (5_000_000, 100_000_000, 100_000_000, 5_000_000, 100_000, 20_000_000, 10_000_000),
}


def default_rules(
    underlyings: Sequence[str] = ("BTC", "ETH"),
    linear_kinds: tuple[InstrumentKind, ...] = ("perpetual",),
    linear_settlement: str = "USDC",
) -> tuple[ListingRule, ...]:
    """Rules in the sizes customary for these coins, with linear twins settled in a USD coin.

    Inverse futures of 10 USD (BTC) or 1 USD (ETH) a lot; option ticks of 0.0001 coin, from 0.005 on 0.0005.

    Raises ChainError for a coin whose sizes are not known here: write its rule out.
    """
    rules: list[ListingRule] = []
    for name in underlyings:
        if name not in _UNITS:
            raise ChainError(f"no default listing rule for {name}; known: {sorted(_UNITS)}")
        tick, lot, option_lot, linear_tick, linear_lot, linear_option_tick, linear_option_lot = _UNITS[name]
        fees: dict[str, Any] = {
            "future_fees": Fees(maker_ppm=0, taker_ppm=500),
            "option_fees": Fees(maker_ppm=300, taker_ppm=300),
        }
        rules.append(
            ListingRule(
                underlying=name,
                settlement=name,
                inverse=True,
                future_price_unit_e8=tick,
                future_lot_size_e8=lot,
                option_price_unit_e8=10_000,
                option_lot_size_e8=option_lot,
                option_tick_steps=_COIN_STEPS,
                **fees,
            )
        )
        if linear_kinds:
            rules.append(
                ListingRule(
                    underlying=name,
                    settlement=linear_settlement,
                    inverse=False,
                    kinds=linear_kinds,
                    future_price_unit_e8=linear_tick,
                    future_lot_size_e8=linear_lot,
                    option_price_unit_e8=linear_option_tick,
                    option_lot_size_e8=linear_option_lot,
                    **fees,
                )
            )
    return tuple(rules)
