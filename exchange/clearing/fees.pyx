"""Trading and delivery fees, rounded up to the minor unit."""

from exchange.market.instrument cimport KIND_OPTION, Instrument, Instruments
from exchange.wide cimport wide_mul, wide_mul_div_ceil


cdef int64_t trade_fee(Instrument* row, int64_t cost, int64_t lots, int64_t rate_ppm, int64_t index_price_e8,
                       int* bad) noexcept:
    """Fee in minor units on `lots` (> 0) that cost `cost` (sign ignored).

    Futures: rate x value. Options: rate x one coin (linear: x the index), at most `option_cap_ppm` of the premium.
    """
    cdef int64_t premium = -cost if cost < 0 else cost
    cdef int64_t base, cap
    if rate_ppm == 0:
        return 0
    if row.kind != KIND_OPTION:
        return wide_mul_div_ceil(premium, rate_ppm, 1_000_000, bad)
    base = wide_mul(row.lot_scale_minor, lots, bad)
    if not row.inverse:
        base = wide_mul_div_ceil(base, index_price_e8, 100_000_000, bad)
    base = wide_mul_div_ceil(base, rate_ppm, 1_000_000, bad)
    cap = wide_mul_div_ceil(premium, row.option_cap_ppm, 1_000_000, bad)
    return base if base < cap else cap


cdef int64_t combo_fees(Instruments instruments, Instrument* combo, const int64_t* prices, int64_t lots, bint taker,
                        int64_t index_price_e8, int64_t* fees, int* bad) noexcept:
    """Fee of one side of a combo's fill, and in `fees` what each leg bears of it: of the sum over bought legs and the
    sum over sold legs the smaller is waived (of equal ones that of the legs with negative ratios)."""
    cdef int64_t bought = 0, sold = 0, ratio, n
    cdef Instrument* leg
    cdef int i
    for i in range(combo.leg_count):
        leg = &instruments.at[combo.leg_slot[i]]
        ratio = combo.leg_ratio[i]
        n = lots * (ratio if ratio > 0 else -ratio)
        fees[i] = trade_fee(leg, instruments.trade_cost(leg, prices[i], n, bad), n,
                            leg.taker_ppm if taker else leg.maker_ppm, index_price_e8, bad)
        if ratio > 0:
            bought += fees[i]
        else:
            sold += fees[i]
    for i in range(combo.leg_count):
        if (combo.leg_ratio[i] > 0) == (bought < sold):
            fees[i] = 0
    return max(bought, sold)
