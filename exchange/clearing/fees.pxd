from libc.stdint cimport int64_t

from exchange.market.instrument cimport Instrument, Instruments

cdef int64_t trade_fee(Instrument* row, int64_t cost, int64_t lots, int64_t rate_ppm, int64_t index_price_e8,
                       int* bad) noexcept
cdef int64_t combo_fees(Instruments instruments, Instrument* combo, const int64_t* prices, int64_t lots, bint taker,
                        int64_t index_price_e8, int64_t* fees, int* bad) noexcept
