"""Instruments as a trading client needs them: ticks, amounts, and which options lie near the money.

Prices and amounts are integers of 1e-8 (`_e8`) here and become numbers only on the wire.
"""

import math
from collections.abc import Iterable
from typing import Any, Self

import msgspec

E8 = 100_000_000


def to_e8(value: float) -> int:
    """A wire number in 1e-8 (all of the venue's units are whole multiples of it)."""
    return round(value * E8)


class Contract(msgspec.Struct, frozen=True):
    """One instrument. `kind`: perpetual, future or option; amounts: USD for inverse futures, else coins."""

    name: str
    kind: str
    base: str
    settlement: str
    inverse: bool
    index_name: str
    tick_e8: int
    tick_steps_e8: tuple[tuple[int, int], ...]
    """(above price, tick) beyond the first tick, ascending."""
    step_e8: int
    """Smallest change of an amount."""
    min_amount_e8: int
    strike: float
    expiry_ms: int

    @classmethod
    def from_wire(cls, found: dict[str, Any]) -> Self:
        """From an instrument object of the API."""
        perpetual = found["settlement_period"] == "perpetual"
        steps = [(to_e8(step["above_price"]), to_e8(step["tick_size"])) for step in found.get("tick_size_steps") or ()]
        return cls(
            name=found["instrument_name"],
            kind="perpetual" if perpetual else found["kind"],
            base=found["base_currency"],
            settlement=found["settlement_currency"],
            inverse=found["instrument_type"] == "reversed",
            index_name=found["price_index"],
            tick_e8=to_e8(found["tick_size"]),
            tick_steps_e8=tuple(sorted(steps)),
            step_e8=to_e8(found.get("qty_tick_size", found["min_trade_amount"])),
            min_amount_e8=to_e8(found["min_trade_amount"]),
            strike=float(found.get("strike", 0.0)),
            expiry_ms=found["expiration_timestamp"],
        )

    def tick_at_e8(self, price_e8: int) -> int:
        """The tick that holds at a price."""
        tick_e8 = self.tick_e8
        for above_e8, step_e8 in self.tick_steps_e8:
            if price_e8 >= above_e8:
                tick_e8 = step_e8
        return tick_e8

    def price_down_e8(self, price: float) -> int:
        """The highest price on tick not above `price`; 0 where there is none."""
        price_e8 = math.floor(price * E8 + 1e-3)
        return max(0, price_e8 - price_e8 % self.tick_at_e8(price_e8))

    def price_up_e8(self, price: float) -> int:
        """The lowest price on tick not below `price`; at least one tick."""
        price_e8 = math.ceil(price * E8 - 1e-3)
        tick_e8 = self.tick_at_e8(price_e8)
        return max(self.tick_e8, -(-price_e8 // tick_e8) * tick_e8)

    def amount_e8(self, usd: float, index: float) -> int:
        """The amount worth about `usd` of the underlying, whole steps, at least the minimum."""
        exact = usd if self.inverse and self.kind != "option" else usd / index
        steps = round(exact * E8 / self.step_e8)
        return max(self.min_amount_e8, steps * self.step_e8)

    def whole_e8(self, amount: float) -> int:
        """`amount` rounded down to whole steps (0 where it is less than the minimum)."""
        found = int(amount * E8 + 1e-3)
        found -= found % self.step_e8
        return found if found >= self.min_amount_e8 else 0


def number(value_e8: int) -> float:
    """A figure in 1e-8 as the wire number whose decimal is exactly that."""
    return value_e8 / E8


def near_the_money(
    contracts: Iterable[Contract],
    index: float,
    now_ms: int,
    expiries: int,
    strikes: int,
    min_life_ms: int = 600_000,
) -> list[Contract]:
    """Calls and puts of the `strikes` strikes nearest `index` in each of the first `expiries` expiries.

    Expiries with less than `min_life_ms` to live are passed over.
    """
    chain: dict[int, dict[float, list[Contract]]] = {}
    for contract in contracts:
        if contract.kind == "option" and contract.expiry_ms > now_ms + min_life_ms:
            chain.setdefault(contract.expiry_ms, {}).setdefault(contract.strike, []).append(contract)
    found: list[Contract] = []
    for expiry_ms in sorted(chain)[:expiries]:
        by_strike = chain[expiry_ms]
        nearest = sorted(by_strike, key=lambda strike: (abs(math.log(strike / index)), strike))[:strikes]
        for strike in sorted(nearest):
            found.extend(sorted(by_strike[strike], key=lambda one: one.name))
    return found
