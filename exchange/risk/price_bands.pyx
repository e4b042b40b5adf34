"""What follows from an instrument's marks before a trade: price bands, the largest order, prices of advanced orders.

Bands and the largest order are made once per marks and instrument, when first asked for, and stand in the instrument's
row (`bands_revision` says which marks they belong to). Prices in vol come from the kernel that makes marks.
"""

from exchange.market.instrument cimport KIND_OPTION
from exchange.records cimport R_NONE, R_ORDER_DELTA_LIMIT, R_ORDER_NOTIONAL_LIMIT, R_ORDER_VEGA_LIMIT
from exchange.wide cimport size_of, wide_mul_div_ceil, wide_mul_div_floor

cdef int64_t LARGEST = (<int64_t>1 << 62)
cdef int64_t VALUE_MAX_E8 = 10**17          # as of marks: 1e9 USD
cdef int64_t VOL_MAX_E8 = 2_000_000_000     # as of marks: 2,000 %


cdef class PriceBands:
    """Over the marks of all instruments."""

    def __cinit__(self, Instruments instruments, RiskRows rows, limits):
        self.instruments = instruments
        self.rows = rows
        self.price_band_ppm = limits.price_band_ppm
        self.option_band_ppm = limits.option_band_coin_ppm
        self.vol_band_ppm = limits.option_band_vol_ppm
        self.band_ticks = limits.option_band_ticks
        self.max_notional_usd = limits.max_order_notional_usd
        self.max_delta_e8 = limits.max_order_delta_e8
        self.max_vega_usd = limits.max_order_vega_usd

    cdef int _set(self, Instrument* row) except? -1:
        """Bands and largest order at the marks as they are."""
        cdef int bad = 0
        cdef int64_t top, bottom, band
        row.order_cap_lots = self._order_cap(row)
        if row.leg_count:
            row.highest_units = self._combo_edge(row, 0)
            row.lowest_units = self._combo_edge(row, 1)
            row.bands_revision = self.rows.revision[row.underlying]
            return 0
        band = wide_mul_div_floor(row.mark_price_e8, self.price_band_ppm, 1_000_000, &bad)
        if row.kind == KIND_OPTION:
            band += self._option_band(row)
        top = row.mark_price_e8 + band
        bottom = row.mark_price_e8 - band
        if row.kind == KIND_OPTION and self.vol_band_ppm:
            self._vol_band(row, &top, &bottom)
        row.highest_units = self.instruments.tick_floor(row, top // row.price_unit_e8)
        if row.highest_units == 0:
            row.highest_units = self.instruments.tick_at(row, 1)
        row.lowest_units = self.instruments.tick_ceil(
            row, (bottom + row.price_unit_e8 - 1) // row.price_unit_e8 if bottom > 0 else 1)
        row.bands_revision = self.rows.revision[row.underlying]
        return 0

    cdef int64_t _combo_edge(self, Instrument* row, int side) except? -1:
        """A combo's band: what its legs come to at the edges of their own bands, within what can be booked."""
        cdef int64_t units = row.zero_units, tick = row.tick_units[0], low, high
        cdef Instrument* leg
        cdef int i
        for i in range(row.leg_count):
            leg = &self.instruments.at[row.leg_slot[i]]
            units += row.leg_ratio[i] * (
                self.highest(leg) if (row.leg_ratio[i] > 0) == (side == 0) else self.lowest(leg))
        self.instruments.combo_range(row, &low, &high)
        units = min(max(units, low), high)
        if side == 0:
            return max(units // tick * tick, tick)
        return min((units + tick - 1) // tick * tick, row.max_price_units // tick * tick)

    cdef int64_t _option_band(self, Instrument* row) noexcept:
        # a share of one coin, in the option's quote currency
        cdef int bad = 0
        cdef int64_t coin = 100_000_000
        if not row.inverse:
            coin = self.rows.index_e8[row.underlying]
        return wide_mul_div_floor(coin, self.option_band_ppm, 1_000_000, &bad)

    cdef void _vol_band(self, Instrument* row, int64_t* top_e8, int64_t* bottom_e8) noexcept:
        """Draw the edges in to the prices at mark vol x (1 +- band), no closer to the mark than `option_band_ticks`."""
        cdef double vol[2]
        cdef int64_t price_e8[2]
        cdef int64_t tick = self.instruments.tick_at(row, row.mark_price_e8 // row.price_unit_e8)
        cdef int64_t least = self.band_ticks * tick * row.price_unit_e8
        cdef int64_t vol_e6 = self.rows.vol_e6[row - self.instruments.at]
        vol[0] = vol_e6 * (1_000_000 + self.vol_band_ppm) / 1e12
        vol[1] = vol_e6 * max(0, 1_000_000 - self.vol_band_ppm) / 1e12
        if self.rows.price_at_vols(<uint32_t>(row - self.instruments.at), vol, price_e8, 2):
            top_e8[0] = min(top_e8[0], max(price_e8[0], row.mark_price_e8 + least))
            bottom_e8[0] = max(bottom_e8[0], min(price_e8[1], row.mark_price_e8 - least))

    # ------------------------------------------------------------------ the largest order

    cdef int64_t _order_cap(self, Instrument* row) except? -1:
        """The most lots that pass the limits on notional, delta and vega."""
        cdef uint32_t slot = <uint32_t>(row - self.instruments.at)
        cdef int64_t cap = LARGEST
        if self.max_notional_usd:
            cap = min(cap, int(self.max_notional_usd) * 10**16 // self.notional_e16(slot))
        if self.max_delta_e8 and self.rows.delta_e10[slot]:
            cap = min(cap, self.max_delta_e8 * 100 // size_of(self.rows.delta_e10[slot]))
        if self.max_vega_usd and self._vega_e8(row):
            cap = min(cap, self.max_vega_usd * 100_000_000 // size_of(self._vega_e8(row)))
        return cap

    cdef int64_t _vega_e8(self, Instrument* row) noexcept:
        """Of a lot; of a combo net over its legs."""
        cdef int64_t net = 0
        cdef int i
        for i in range(row.leg_count):
            net += row.leg_ratio[i] * self._vega_e8(&self.instruments.at[row.leg_slot[i]])
        if row.leg_count:
            return net
        return self.rows.vega_e8(<uint32_t>(row - self.instruments.at), self.rows.priced_ns[row.underlying])

    def notional_e16(self, uint32_t slot):
        """Value of what a lot is on, in 1e-16 USD: its coins at the index, or an inverse future's own USD; of a combo
        the largest leg's."""
        cdef Instrument* row = &self.instruments.at[slot]
        cdef int i
        if row.leg_count:
            return max([abs(row.leg_ratio[i]) * self.notional_e16(row.leg_slot[i]) for i in range(row.leg_count)])
        if row.inverse and row.kind != KIND_OPTION:
            return int(row.lot_size_e8) * 10**8
        return int(row.lot_size_e8) * int(self.rows.index_e8[row.underlying])

    cdef int order_reason(self, Instrument* row, int64_t lots) except -1:
        """Which of the limits an order above `order_cap` passes."""
        cdef uint32_t slot = <uint32_t>(row - self.instruments.at)
        if self.max_notional_usd and int(lots) * self.notional_e16(slot) > int(self.max_notional_usd) * 10**16:
            return R_ORDER_NOTIONAL_LIMIT
        if self.max_delta_e8 and int(lots) * size_of(self.rows.delta_e10[slot]) > int(self.max_delta_e8) * 100:
            return R_ORDER_DELTA_LIMIT
        if self.max_vega_usd and int(lots) * size_of(self._vega_e8(row)) > int(self.max_vega_usd) * 10**8:
            return R_ORDER_VEGA_LIMIT
        return R_NONE

    # ------------------------------------------------------------------ advanced orders

    cdef int64_t advanced_price(self, Instrument* row, int side, int kind, int64_t value_e8) except? -1:
        """The price in units that an advanced order's value means at the last mark, within its band and on tick;
        0 where the instrument is no marked option or the value is none."""
        cdef bint buy = side == 0
        cdef int bad = 0
        cdef int64_t price_e8, units
        cdef double vol = value_e8 / 1e8
        if row.kind != KIND_OPTION or not row.marked or not 0 < value_e8 <= VALUE_MAX_E8:
            return 0
        if kind == ADVANCED_USD and row.inverse:
            if buy:
                price_e8 = wide_mul_div_floor(value_e8, 100_000_000, self.rows.index_e8[row.underlying], &bad)
            else:
                price_e8 = wide_mul_div_ceil(value_e8, 100_000_000, self.rows.index_e8[row.underlying], &bad)
            if bad:
                price_e8 = LARGEST
        elif kind == ADVANCED_VOL and value_e8 <= VOL_MAX_E8:
            if not self.rows.price_at_vols(<uint32_t>(row - self.instruments.at), &vol, &price_e8, 1):
                return 0
        else:
            return 0
        if buy:
            units = self.instruments.tick_floor(row, price_e8 // row.price_unit_e8)
            return max(min(units, self.highest(row)), self.instruments.tick_at(row, 1))
        units = self.instruments.tick_ceil(row, price_e8 // row.price_unit_e8 + (price_e8 % row.price_unit_e8 != 0))
        return max(units, self.lowest(row))
