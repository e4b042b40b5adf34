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
    row_cap: int = 0
    rows_coin: list[int] = field(default_factory=list)
    rows_usd: list[int] = field(default_factory=list)
    basis_e8: int = 0
    funding_rate_e12: int = 0
    funding_index: int = 0
    last_price_units: int = 0
    tick_direction: int = 0
    trade_seq: int = 0

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

    def tick(self, price_units: int) -> int:
        """Tick size in force at a price; below the first step that of the first step."""
        fitting = [s.tick_units for s in self.spec.tick_steps if price_units >= s.above_units]
        return fitting[-1] if fitting else self.spec.tick_steps[0].tick_units

    def highest(self, band_ppm: int, option_band_ppm: int, index_e8: int) -> int:
        """Highest price a buy may name: mark plus band, down to a tick, at least one tick."""
        top = self.mark_price_e8 + self._band(band_ppm, option_band_ppm, index_e8)
        units = min(top // self.spec.price_unit_e8, self.spec.max_price_units)
        units -= units % self.tick(units)
        return units if units > 0 else self.tick(1)

    def lowest(self, band_ppm: int, option_band_ppm: int, index_e8: int) -> int:
        """Lowest price a sell may name: mark minus band, up to a tick, at least one tick."""
        bottom = self.mark_price_e8 - self._band(band_ppm, option_band_ppm, index_e8)
        units = max(ceil_div(bottom, self.spec.price_unit_e8), 1)
        tick = self.tick(units)
        return min(ceil_div(units, tick) * tick, self.spec.max_price_units)

    def _band(self, band_ppm: int, option_band_ppm: int, index_e8: int) -> int:
        band = self.mark_price_e8 * band_ppm // PPM
        if self.is_option:
            band += (E8 if self.spec.inverse else index_e8) * option_band_ppm // PPM
        return band
