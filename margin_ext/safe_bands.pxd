from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from margin_ext.kernels cimport BandBox, BandCell, BandTables, ChainInput

cdef enum:
    BAND_LEVELS = 3
    BAND_ANCHORS = 32
    BAND_GROUPS = 3          # what an account depends on: perpetuals; also forwards and far options; also near options
    BAND_CELLS = BAND_ANCHORS * BAND_GROUPS
    BAND_IDLE = 0x7FFFFFFE       # in place of the cell of accounts that the underlying cannot touch
    BAND_VOID = 0x7FFFFFFF       # and of those without a band
    BAND_CHAINS = 8
    BAND_BUCKETS = 32        # forwards by expiry bucket
    BAND_REFERENCES = 48     # and after them the marks of perpetuals
    BAND_CLASSES = 4         # different shocks of vol
    BAND_COLUMNS = 64
    BAND_UNKNOWN = 255

ctypedef struct BandAnchor:
    int live
    double index
    double reference[BAND_REFERENCES]
    double funding[BAND_REFERENCES]
    double worth[BAND_REFERENCES]        # of a perpetual's lot, to measure its funding by
    int pairs[BAND_CHAINS]
    int near[BAND_CHAINS]                # expiries that are near; they come first
    double* inverse[BAND_CHAINS]         # one over BandIndex.width then
    int capacity[BAND_CHAINS]

ctypedef struct BandGrid:                # the columns as margin weighs them
    int scenario_count
    int base_column
    int class_count
    int class_column[BAND_CLASSES]
    double base_share[2][2][BAND_COLUMNS]    # [inverse][numeraire]; numeraire 0 the coin or segregated, 1 cross
    double shock_share[2][2][BAND_COLUMNS]
    double future_share[2][2][BAND_COLUMNS]
    double coin_factor[2][BAND_COLUMNS]      # [numeraire] what a coin in cash is worth in the column
    double dampener[BAND_COLUMNS]            # 1e-4 USD
    double factor                            # of the charges
    double lot_slack                         # units per lot: the lot charge, and rounding of marks, rows and deltas
    double threshold_usd                     # delta shock, 1e-4 USD
    double least_move                        # of the roll shock
    double move_per_coin
    double move_max

ctypedef struct BandLeg:                 # an account's holdings in one underlying that one requirement covers
    int numeraire
    int count
    int32_t* row                         # 2 x slot, + 1 where short
    double* lots
    uint16_t* bucket
    double coin_offset                   # cash and accruals less costs in the coin, 1e-4 USD at the anchor's index
    double gross_lots
    double unit_usd                      # what one unit of rounding is worth, 1e-4 USD
    double relative_error


cdef class BandIndex:
    cdef BandGrid grid
    cdef uint32_t slots
    # the market now
    cdef double index
    cdef double reference[BAND_REFERENCES]
    cdef double funding[BAND_REFERENCES]
    cdef double worth[BAND_REFERENCES]
    cdef int pairs[BAND_CHAINS]
    cdef int near[BAND_CHAINS]
    cdef int expiries[BAND_CHAINS]
    cdef int32_t end_of[BAND_CHAINS][BAND_BUCKETS]   # where an expiry's numbers end
    cdef double* width[BAND_CHAINS]                  # total widths, roots and multipliers; layout: safe_bands.h
    cdef bint floored                                # a shock has a floor
    cdef int capacity[BAND_CHAINS]
    # anchors; tables belong to the newest
    cdef BandAnchor anchor[BAND_ANCHORS]
    cdef int newest
    cdef readonly uint32_t serial
    cdef float change[BAND_CELLS]
    cdef BandTables tables[BAND_LEVELS]
    # instruments with bands on their marks
    cdef uint32_t watched
    cdef uint32_t* watch             # [watched] slots
    cdef float* mark                 # [slot]
    cdef double* paid                # [slot] funding that the cell's bands stand on
    cdef double* paid_limit          # [slot] how far from it they hold
    cdef double move[BAND_BUCKETS]
    cdef uint8_t* group              # [slot], BAND_UNKNOWN where the newest anchor knows nothing of it
    cdef double* memory
    # accounts
    cdef readonly uint32_t accounts
    cdef BandCell* cells             # anchor x group; and one per instrument, of bands on its mark
    cdef uint32_t* cell              # [account]
    cdef uint32_t* place             # [account] in its cell
    cdef uint64_t* void_bits         # [account / 64] those without a band
    cdef int64_t voids               # how many of them
    cdef uint64_t* left              # [account / 64] room for a scan
    cdef readonly bint crash         # the last scan found most bands left
    cdef uint32_t* tried             # serial of the anchor at which certification last failed
    cdef int grow(self, uint32_t count) except -1
    cdef int take_widths(self, int chain, const ChainInput* source, double near_years) except -1
    cdef void measure(self) noexcept
    cdef void _measure_anchor(self, int a) noexcept
    cdef void drop_anchors(self) noexcept
    cdef int open_anchor(self) except -1
    cdef int bound_options(self, int chain, const ChainInput* source, double near_years) except -1
    cdef void bound_future(self, uint32_t slot, bint inverse, double lot, double price, int group) noexcept
    cdef double leg_bounds(self, int level, const BandLeg* leg, double* least) noexcept
    cdef void warned_bounds(self, int level, BandLeg* leg, double cash, double warning, double next_,
                            double last, double* above, double* below) noexcept
    cdef double _charges(self, int level, const BandLeg* leg, double* least, double* slack) noexcept
    cdef void void_account(self, uint32_t account) noexcept
    cdef void set_idle(self, uint32_t account) noexcept
    cdef bint set_band(self, uint32_t account, int level, int group, double low, double high,
                       double shrink) except -1
    cdef int take_mark(self, uint32_t slot, double mark, double funding, double worth) except -1
    cdef bint set_mark_band(self, uint32_t account, uint32_t slot, double low, double high) except -1
    cdef void _void_cell(self, uint32_t cell) noexcept
    cdef int _enter(self, uint32_t account, uint32_t cell, float low, float high, float reach) except -1
    cdef void _leave(self, uint32_t account, uint32_t next_) noexcept
    cdef bint most_left(self, uint32_t count, double share) noexcept
    cdef int64_t scan(self, uint32_t count, const uint32_t* stale, uint8_t* stale_block, uint32_t bit,
                      uint32_t* out_) noexcept
    cdef bint band_of(self, uint32_t account, float* low, float* high, float* reach) noexcept
    cdef double price_range(self, int level) noexcept
    cdef double basis_range(self, int level) noexcept
    cdef double width_range(self, int level, double years) noexcept
    cdef double point(self, int level, int p) noexcept
    cdef double delta_sides(self, int level, int32_t row, double lots, double* high) noexcept
