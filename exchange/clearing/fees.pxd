from libc.stdint cimport int64_t

from exchange.market.instrument cimport Instrument

cdef int64_t trade_fee(Instrument* row, int64_t cost, int64_t lots, int64_t rate_ppm, int64_t index_price_e8,
                       int* bad) noexcept
