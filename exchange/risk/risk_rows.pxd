from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.market.instrument cimport Instrument, Instruments
from margin_ext.kernels cimport ChainInput, FutureInput

cdef enum:
    MAX_SCENARIOS = 64
    MAX_EXPIRIES = 32        # per underlying; bucket 0 is the perpetual

cdef enum GridKind:
    GRID_MATRIX = 0
    GRID_SPAN = 1
    GRID_OWN = 2             # a matrix with columns of its own

cdef inline double nearest(double x) noexcept:
    return (x + 6755399441055744.0) - 6755399441055744.0     # 1.5 * 2**52: rounds to nearest even


ctypedef struct Grid:        # one underlying's scenario columns
    double spot_multiplier[MAX_SCENARIOS]
    double weight[MAX_SCENARIOS]
    double coin_factor[MAX_SCENARIOS]
    double vol_floor[MAX_SCENARIOS]
    double move_clamp[MAX_SCENARIOS]
    double dampener_usd[MAX_SCENARIOS]    # 1e-4 USD
    double dampener_coin[MAX_SCENARIOS]   # 1e-10 coin, follows the index
    int vol_kind[MAX_SCENARIOS]
    int64_t coin_price_q40[MAX_SCENARIOS]  # 1e-4 USD per minor unit of the coin, 2**-40, weighted
    int64_t coin_base_q40
    int64_t move_q32[MAX_EXPIRIES]        # roll move per expiry, 2**-32
    int64_t initial_factor_ppm
    int64_t maintenance_factor_ppm
    int64_t delta_threshold_e10           # 1e-10 coin at the current index
    int64_t delta_move_per_coin_e9
    int64_t delta_move_max_e9
    double vol_up
    double vol_down
    double vega_power_short
    double vega_power_long
    double boundary_days
    double vol_multiplier_floor
    double dampener_usd_amount
    double dampener_ratio[MAX_SCENARIOS]
    double annual_risk
    double minimum_move
    int64_t delta_threshold_usd
    int kind                 # GridKind; of `span16` alone:
    int64_t look_ahead_ns
    bint vol_points          # vols move by points, not by a share of themselves
    double delta_weight[7]
    double delta_multiplier[7]   # of the forward
    bint averaged            # contracts are priced on settlement averages

ctypedef struct Fixing:      # an expiry whose settlement average has begun; all zero where it has not
    bint settling
    int64_t price_e8         # what it settles at if the forward stays: known part and forward for the rest
    double open              # share of the average that is not known
    double share             # of `price`: the part that moves with the forward

ctypedef struct Chain:
    uint16_t underlying
    uint16_t currency
    uint8_t option_inverse
    double option_lot
    uint64_t version         # bumps when rows of the chain change or leave
    int32_t pair_count
    int32_t pair_capacity
    uint32_t* pair_call      # instrument slot or NO_SLOT
    uint32_t* pair_put


cdef class RiskRows:
    cdef Instruments instruments
    cdef readonly int scenario_count
    cdef readonly int underlying_count
    cdef readonly int chain_count
    cdef Grid* grid
    cdef Chain* chain
    cdef double* rows_coin           # [slot][S], 1e-10 coin per lot
    cdef double* rows_usd            # [slot][S], 1e-4 USD per lot
    cdef double* mark                # [slot] coin (inverse) or USD per coin of notional
    cdef double* delta               # [slot]
    cdef double* row_max
    cdef int64_t* delta_e10          # [slot] 1e-10 coin per lot
    cdef int64_t* charged_e10        # [slot] the delta that charges are on: of span16's options the composite delta
    cdef int64_t* row_cap            # [slot]
    cdef uint32_t* vol_e6            # [slot], 0 = none yet
    cdef int64_t* forward_e8         # [underlying][bucket], 0 = none yet
    cdef int64_t* bucket_expiry_ns   # [underlying][bucket], 0 = unused
    cdef uint32_t* bucket_use
    cdef int* bucket_high            # [underlying] buckets ever used
    cdef Fixing* fixing              # [underlying][bucket]
    cdef uint8_t* averaged           # [underlying] whether its contracts are priced on settlement averages
    cdef int64_t* index_e8           # [underlying]
    cdef int64_t* coin_scale         # [underlying] minor units per coin
    cdef uint64_t* revision          # [underlying] bumps on every repricing
    cdef uint64_t* shape             # [underlying] bumps on every listing, delisting and change of a row cap
    cdef int64_t* priced_ns          # [underlying] time of the last repricing
    cdef int64_t pricing_ns          # of the one under way
    cdef int32_t* scratch_int
    cdef double* scratch
    cdef uint32_t expiry_room        # expiries that the scratch room holds: a pair each where vols move by points
    cdef int bucket_of(self, int underlying, int64_t expiry_ns) noexcept
    cdef int64_t vega_e8(self, uint32_t slot, int64_t time_ns) noexcept
    cdef int reprice(self, int underlying, int64_t time_ns) except -1
    cdef void _vol_shocks(self, Grid* g, int64_t left_ns, double vol, double* multiplier) noexcept
    cdef void _mark_option(self, uint32_t slot, double notional) noexcept
    cdef double years_of(self, int underlying, int64_t left_ns) noexcept
    cdef int fix(self, int underlying, int bucket, int64_t known_e8, int64_t left_ns) except -1
    cdef void unfix(self, int underlying, int bucket) noexcept
    cdef Fixing* fixing_of(self, Instrument* row) noexcept
    cdef int settling_rows(self, int underlying, int64_t time_ns) except -1
    cdef double settling_columns(self, Instrument* row, FutureInput* source) noexcept
    cdef int _composite_deltas(self, int chain, ChainInput* source, Fixing* fixing) except -1
    cdef int _gather_pairs(self, int chain, int64_t time_ns, ChainInput* source, int bucket) except -1
    cdef int chain_input(self, int chain, int64_t time_ns, ChainInput* source) except -1
    cdef int _chain_input(self, int chain, int64_t time_ns, ChainInput* source, int bucket) except -1
    cdef int _reprice_options(self, int chain, int64_t time_ns) except -1
    cdef int _priced(self, int chain, const ChainInput* source) except -1
    cdef int _marked_pairs(self, int chain, ChainInput* source) noexcept
    cdef void _mark_future(self, uint32_t slot, double mark) noexcept
    cdef int _reprice_future(self, uint32_t slot) except -1
    cdef bint _sum_legs(self, uint32_t slot) noexcept
    cdef bint price_at_vols(self, uint32_t slot, const double* vol, int64_t* price_e8, int count) noexcept
    cdef void _refresh_grid(self, int underlying, int64_t time_ns) noexcept
    cdef void _guard(self, uint32_t slot, double notional) noexcept
