"""The numeric kernels for other compiled modules: `from margin_ext.kernels cimport reprice_chain, ...`.

Rows hold scenario_count (a multiple of 8,
                          at most 64) integer-valued doubles. Structures and units:
kernel_types.h.
"""

from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t

cdef extern from "margin_ext/kernel_types.h" nogil:
    int MARGRAVE_MAX_SCENARIOS
    enum:
        KERNEL_OK
        KERNEL_BAD_COUNT
        KERNEL_BAD_EXPIRY
        KERNEL_BAD_STRIKE
        KERNEL_BAD_VOL
        KERNEL_BAD_FORWARD
        KERNEL_BAD_YEARS
        KERNEL_BAD_WEIGHT

    ctypedef struct ChainInput:
        int32_t pair_count
        int32_t expiry_count
        int32_t scenario_count
        int32_t inverse
        const int32_t* expiry_of_pair
        const double* strike
        const double* vol
        const double* forward
        const double* years
        const double* spot_multiplier
        const double* vol_multiplier
        const double* vol_floor
        const double* weight
        const double* coin_factor
        double index_price
        double lot_coin
        const int32_t* call_row
        const int32_t* put_row

    ctypedef struct ChainOutput:
        double* rows_coin
        double* rows_usd
        double* mark
        double* delta
        double* row_max

    ctypedef struct FutureInput:
        int32_t scenario_count
        int32_t inverse
        int32_t clamp_mode
        double forward
        double index_price
        double lot_usd
        double lot_coin
        const double* spot_multiplier
        const double* weight
        const double* coin_factor
        const double* future_move_clamp

    ctypedef struct FutureOutput:
        double* row_coin
        double* row_usd
        double delta_coin
        double row_max

    ctypedef struct BandBox:
        double price_range
        double width_range
        double basis_range
        int32_t base_column
        const double* base_share[2]
        const double* shock_share[2]

    double margrave_band_stretch(double years)

    ctypedef struct BandTables:
        double* rows[2][3]
        double* delta_low
        double* delta_high
        double* gross
        double* mark[2][3]

    enum:
        BAND_BLOCK

    ctypedef struct BandCell:
        uint32_t count
        uint32_t room
        uint32_t* account
        float* low
        float* high
        float* reach
        float* block_low
        float* block_high
        float* block_reach

    ctypedef struct Greeks:
        double price
        double delta
        double gamma
        double vega
        double theta
        double rho

# Repricing. Both answer KERNEL_OK, or the first fault found and write nothing.
cdef int32_t reprice_chain(const ChainInput* in_, const ChainOutput* out_) noexcept nogil
# Marks alone of pairs: of the input are read pairs, expiries and `inverse`; call and put are [P].
cdef int32_t chain_marks(const ChainInput* in_, double* call, double* put) noexcept nogil
cdef int32_t future_row(const FutureInput* in_, FutureOutput* out_) noexcept nogil

# Black-76: one option (all NaN on a negative or non-finite input), or arrays of valid inputs
# (is_call 1.0 or 0.0; out_count 1: prices only, 6: price, delta, gamma, vega, theta, rho).
cdef void black76(double forward, double strike, double vol, double years, bint is_call,
                  Greeks* out_) noexcept nogil
cdef void black76_arrays(int64_t n, const double* forward, const double* strike, const double* vol,
                         const double* years, const double* is_call, double** out_,
                         int out_count) noexcept nogil

# Scenario vectors. v: positions, o: open orders (<= 0), dampener >= 0; o and dampener may be NULL.
# v += lots * row; the second also answers min(v).
cdef void row_axpy(double* v, const double* row, double lots, int scenario_count) noexcept nogil
cdef double row_axpy_min(double* v, const double* row, double lots, int scenario_count) noexcept nogil
# v = sum over i of lots[i] * rows[row_index[i]], rows of stride scenario_count
cdef void rows_sum(double* v, const double* rows, const int32_t* row_index, const double* lots, int64_t n,
                   int scenario_count) noexcept nogil
# o += buy_lots * min(0, row) + sell_lots * min(0, -row)
cdef void open_axpy(double* o, const double* row, double buy_lots, double sell_lots,
                    int scenario_count) noexcept nogil
# max(0, max_j(loss_j - min(max(loss_j, 0), dampener_j))), loss_j = -(v_j + o_j)
cdef double worst_loss(const double* v, const double* o, const double* dampener,
                       int scenario_count) noexcept nogil
# the same as if row_axpy(v, position_lots) and open_axpy(o, buy_lots, sell_lots) had been applied; no write
cdef double worst_loss_with(const double* v, const double* o, const double* row, double position_lots,
                            double buy_lots, double sell_lots, const double* dampener,
                            int scenario_count) noexcept nogil
# out[a] = worst loss of the positions [start[a], start[a + 1]), packed to halve the memory streamed
cdef void accounts_worst_loss(int64_t account_count, const int64_t* start, const uint16_t* row_index,
                              const int32_t* lots, const double* rows, const double* dampener,
                              int scenario_count, double* out_) noexcept nogil

# Safe bands. Bounds of every option of a chain over a box; KERNEL_OK or the first fault found.
cdef int32_t bound_chain(const ChainInput* in_, const BandBox* box, const BandTables* out_) noexcept nogil
# min over columns of v + dampener + coin * factor
cdef double bound_least(const double* v, const double* dampener, double coin, const double* factor,
                        int scenario_count) noexcept nogil
# largest relative change of a total width over the expiries [first, end); layout: safe_bands.h
cdef double widths_change(int first, int end, const int32_t* end_of, int classes, bint floored, const double* now,
                          const double* inverse) noexcept nogil
# sets bit a of left for every account a of the cell that is outside its band
cdef void cell_scan(const BandCell* cell, float price, float change, uint64_t* left) noexcept nogil

# Elementary functions without libm: the same bits on every machine.
cdef double k_exp(double x) noexcept nogil
cdef double k_log(double x) noexcept nogil
cdef double k_pow(double x, double y) noexcept nogil
cdef double k_sqrt(double x) noexcept nogil
