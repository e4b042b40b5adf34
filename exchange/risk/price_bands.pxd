from libc.stdint cimport int64_t, uint32_t

cimport cython

from exchange.market.instrument cimport Instrument, Instruments
from exchange.risk.risk_rows cimport RiskRows

cdef enum AdvancedCode:
    ADVANCED_USD = 1
    ADVANCED_VOL = 2


@cython.final
cdef class PriceBands:
    cdef Instruments instruments
    cdef RiskRows rows
    cdef int64_t price_band_ppm
    cdef int64_t option_band_ppm
    cdef int64_t vol_band_ppm
    cdef int64_t band_ticks
    cdef int64_t max_notional_usd
    cdef int64_t max_delta_e8
    cdef int64_t max_vega_usd
    cdef int _set(self, Instrument* row) except? -1
    cdef int64_t _combo_edge(self, Instrument* row, int side) except? -1
    cdef int64_t _option_band(self, Instrument* row) noexcept
    cdef void _vol_band(self, Instrument* row, int64_t* top_e8, int64_t* bottom_e8) noexcept
    cdef int64_t _order_cap(self, Instrument* row) except? -1
    cdef int64_t _vega_e8(self, Instrument* row) noexcept
    cdef int order_reason(self, Instrument* row, int64_t lots) except -1
    cdef int64_t advanced_price(self, Instrument* row, int side, int kind, int64_t value_e8) except? -1

    cdef inline int64_t highest(self, Instrument* row) except? -1:
        """Highest price a buy may name, on tick. Bands stand in the instrument until its marks move."""
        if row.bands_revision != self.rows.revision[row.underlying]:
            self._set(row)
        return row.highest_units

    cdef inline int64_t lowest(self, Instrument* row) except? -1:
        """Lowest price a sell may name, on tick; at least one tick."""
        if row.bands_revision != self.rows.revision[row.underlying]:
            self._set(row)
        return row.lowest_units

    cdef inline int64_t order_cap(self, Instrument* row) except? -1:
        """Largest order in lots by notional, delta and vega."""
        if row.bands_revision != self.rows.revision[row.underlying]:
            self._set(row)
        return row.order_cap_lots
