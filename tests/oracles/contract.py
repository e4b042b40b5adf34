"""What one lot of an instrument costs and pays, in Python integers of any size."""

from dataclasses import dataclass, field

from exchange.config import Instrument

PPM = 1_000_000
E8 = 10**8


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


@dataclass
class Contract:
    """A listed instrument with its marks. `exponent` is that of its settlement currency."""

    slot: int
    instrument_id: int
    spec: Instrument
    underlying: int
    currency: int
    exponent: int
    state: str = "open"
    marked: bool = False
    mark_price_e8: int = 0
    mark_minor: int = 0
    vol_e6: int = 0
    delta_e10: int = 0
    charged_e10: int = 0
    """The delta that margin charges are on."""
    coin_delta: float = 0.0
    row_cap: int = 0
    rows_coin: list[int] = field(default_factory=list)
    rows_usd: list[int] = field(default_factory=list)
    shifts_coin: list[int] = field(default_factory=list)
    shifts_usd: list[int] = field(default_factory=list)
    basis_e8: int = 0
    funding_rate_e12: int = 0
    funding_index: int = 0
    last_price_units: int = 0
    tick_direction: int = 0
    trade_seq: int = 0
    auction_until_ns: int = 0
    forward_e8: int = 0
    priced_ns: int = 0
    """Of the last marks."""
    averaged: bool = False
    known_e8: int | None = None
    """Mean of its settlement average so far, where that has begun."""
    edges: tuple[int, int] | None = None
    """Price bands, worked out once a mark."""

    legs: list[tuple["Contract", int]] = field(default_factory=list)
    """Of a combo, with their ratios."""

    @property
    def is_option(self) -> bool:
        return self.spec.kind == "option"

    @property
    def is_inverse_future(self) -> bool:
        return self.spec.inverse and not self.is_option

    @property
    def chain(self) -> tuple[int, int]:
        return self.underlying, self.currency

    @property
    def lot_scale_minor(self) -> int:
        return self.spec.lot_size_e8 * 10**self.exponent // E8

    def trade_cost(self, price_units: int, lots: int) -> int:
        """Minor units that buying `lots` > 0 costs: the price; inverse futures: minus the coin value, half up."""
        if self.is_inverse_future:
            lot_value = self.spec.lot_size_e8 * 10**self.exponent // self.spec.price_unit_e8
            return -((2 * lots * lot_value + price_units) // (2 * price_units))
        price_e8 = price_units * self.spec.price_unit_e8
        return price_e8 * self.spec.lot_size_e8 * 10**self.exponent * lots // E8**2

    def fee(self, cost: int, lots: int, rate_ppm: int, index_e8: int) -> int:
        """Rate of value; options: of the coin (linear: the index) up to a share of premium; rounded up."""
        share = ceil_div(abs(cost) * rate_ppm, PPM)
        if not self.is_option or rate_ppm == 0:
            return share
        base = self.lot_scale_minor * lots
        if not self.spec.inverse:
            base = ceil_div(base * index_e8, E8)
        return min(ceil_div(base * rate_ppm, PPM), ceil_div(abs(cost) * self.spec.fees.option_cap_ppm, PPM))

    def fill(self, price_units: int, lots: int, taker: bool, index_e8: int) -> tuple[int, int]:
        """(cost of buying, fee) of a fill."""
        cost = self.trade_cost(price_units, lots)
        fees = self.spec.fees
        return cost, self.fee(cost, lots, fees.taker_ppm if taker else fees.maker_ppm, index_e8)

    def parts(self, signed_lots: int) -> list[tuple["Contract", int]]:
        """The contracts that a fill gives a position in, with the lots."""
        return [(leg, ratio * signed_lots) for leg, ratio in self.legs] or [(self, signed_lots)]

    def tick(self, price_units: int) -> int:
        """Tick size in force at a price; below the first step that of the first step."""
        fitting = [s.tick_units for s in self.spec.tick_steps if price_units >= s.above_units]
        return fitting[-1] if fitting else self.spec.tick_steps[0].tick_units

    def tick_floor(self, units: int) -> int:
        """The highest price on tick that is not above; 0 where there is none."""
        units = min(units, self.spec.max_price_units)
        while units > 0 and units % self.tick(units):
            units -= units % self.tick(units)
        return max(units, 0)

    def tick_ceil(self, units: int) -> int:
        """The lowest price on tick that is not below and at least one; the highest there is where that is too high."""
        units = max(units, 1)
        while units <= self.spec.max_price_units and units % self.tick(units):
            units += self.tick(units) - units % self.tick(units)
        return units if units <= self.spec.max_price_units else self.tick_floor(self.spec.max_price_units)
