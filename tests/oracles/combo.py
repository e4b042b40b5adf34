"""A naive combo: an instrument of which every figure is a sum over its legs. Rules: docs/orders.md."""

from dataclasses import dataclass

from exchange.config import Instrument
from tests.oracles.contract import Contract


def mark_units(c: Contract) -> int:
    """The mark to the nearest price unit that exists."""
    unit = c.spec.price_unit_e8
    return min(max((c.mark_price_e8 + unit // 2) // unit, 1), c.spec.max_price_units)


@dataclass
class Combo(Contract):
    """Bought by buying `ratio` lots of each leg."""

    @property
    def is_premium(self) -> bool:
        return self.spec.kind == "option_combo"

    def sum_legs(self) -> None:
        """Marks, rows and deltas, where all legs are marked."""
        if not all(leg.marked for leg, _ in self.legs):
            return
        self.mark_price_e8 = sum(ratio * leg.mark_price_e8 for leg, ratio in self.legs)
        self.mark_minor = sum(ratio * leg.mark_minor for leg, ratio in self.legs)
        self.delta_e10 = sum(ratio * leg.delta_e10 for leg, ratio in self.legs)
        self.charged_e10 = sum(ratio * leg.charged_e10 for leg, ratio in self.legs)
        self.row_cap = sum(abs(ratio) * leg.row_cap for leg, ratio in self.legs)
        size = len(self.legs[0][0].rows_usd)
        self.rows_usd = [sum(ratio * leg.rows_usd[j] for leg, ratio in self.legs) for j in range(size)]
        self.rows_coin = [sum(ratio * leg.rows_coin[j] for leg, ratio in self.legs) for j in range(size)]
        self.marked = True

    def leg_prices(self, price_units: int) -> tuple[list[int], bool]:
        """What the legs are booked at, and whether that comes to the price: if not, as near as one leg allows."""
        prices = [mark_units(leg) for leg, _ in self.legs]
        rest = price_units - self.spec.zero_units
        rest -= sum(ratio * price for (_, ratio), price in zip(self.legs, prices, strict=True))
        if rest == 0:
            return prices, True
        nearest: tuple[int, int, int] | None = None
        for i, (leg, ratio) in enumerate(self.legs):
            if abs(ratio) != 1:
                continue
            price = min(max(prices[i] + ratio * rest, 1), leg.spec.max_price_units)
            taken = ratio * (price - prices[i])
            if taken == rest:
                prices[i] = price
                return prices, True
            if nearest is None or abs(taken) > nearest[0]:
                nearest = (abs(taken), i, price)
        prices[nearest[1]] = nearest[2]
        return prices, False

    def reach(self) -> tuple[int, int]:
        """Lowest and highest price at which a fill can be booked."""
        at_marks = self.spec.zero_units + sum(ratio * mark_units(leg) for leg, ratio in self.legs)
        down = up = 0
        for leg, ratio in self.legs:
            below, above = mark_units(leg) - 1, leg.spec.max_price_units - mark_units(leg)
            if ratio == 1:
                down, up = max(down, below), max(up, above)
            elif ratio == -1:
                down, up = max(down, above), max(up, below)
        most = self.spec.max_price_units
        return min(max(at_marks - down, 1), most), min(max(at_marks + up, 1), most)

    def leg_fills(self, price_units: int, lots: int, taker: bool, index_e8: int) -> list[tuple[int, int, int]]:
        """(price, cost of buying that many, fee) of each leg: of bought and sold legs the cheaper side is free."""
        prices, _ = self.leg_prices(price_units)
        fills = []
        for (leg, ratio), price in zip(self.legs, prices, strict=True):
            fills.append((price, *leg.fill(price, lots * abs(ratio), taker, index_e8)))
        bought = sum(fee for (_, ratio), (*_, fee) in zip(self.legs, fills, strict=True) if ratio > 0)
        sold = sum(fee for (_, ratio), (*_, fee) in zip(self.legs, fills, strict=True) if ratio < 0)
        free = [(ratio > 0) == (bought < sold) for _, ratio in self.legs]
        return [(price, cost, 0 if waived else fee) for (price, cost, fee), waived in zip(fills, free, strict=True)]

    def fill(self, price_units: int, lots: int, taker: bool, index_e8: int) -> tuple[int, int]:
        fills = self.leg_fills(price_units, lots, taker, index_e8)
        cost = sum(cost if ratio > 0 else -cost for (_, ratio), (_, cost, _) in zip(self.legs, fills, strict=True))
        return cost, sum(fee for *_, fee in fills)

    def trade_cost(self, price_units: int, lots: int) -> int:
        return self.fill(price_units, lots, False, 10**8)[0]


def contract_of(spec: Instrument, known: dict[str, Contract], **fields: int) -> Contract:
    """A contract or a combo of known ones."""
    if not spec.legs:
        return Contract(spec=spec, **fields)
    combo = Combo(spec=spec, **fields)
    combo.legs = [(known[leg.instrument], leg.ratio) for leg in spec.legs]
    combo.sum_legs()
    return combo
