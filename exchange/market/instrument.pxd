from libc.stdint cimport int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

cdef enum InstrumentKindCode:
    KIND_PERPETUAL = 0
    KIND_FUTURE = 1
    KIND_OPTION = 2
    KIND_FUTURE_COMBO = 3
    KIND_OPTION_COMBO = 4

cdef enum OptionTypeCode:
    OPTION_NONE = 0
    OPTION_CALL = 1
    OPTION_PUT = 2

cdef enum InstrumentStateCode:
    STATE_FREE = 0
    STATE_OPEN = 1
    STATE_HALTED = 2
    STATE_CLOSE_ONLY = 3
    STATE_SETTLING = 4
    STATE_SETTLED = 5
    STATE_AUCTION = 6

cdef enum:
    MAX_TICK_STEPS = 6
    MAX_LEGS = 4
    NO_SLOT = 0xFFFFFFFF

ctypedef struct Instrument:
    uint64_t instrument_id
    uint8_t state
    uint8_t kind
    uint8_t option_type
    uint8_t inverse
    uint8_t leg_count        # combos: 2 to 4; 0 for all others
    uint16_t underlying
    uint16_t currency
    uint16_t chain           # (underlying, settlement currency) pair
    uint16_t expiry_bucket   # bucket of the chain's expiries; 0 perpetual
    int64_t expiry_ns
    int64_t strike_e8
    int64_t created_ns
    int64_t price_unit_e8
    int64_t lot_size_e8
    int64_t unit_minor       # linear, options: minor units per price unit and lot
    int64_t inverse_k        # inverse futures: minor units x price units per lot
    int64_t lot_scale_minor  # one coin's worth of a lot in minor units: lot x 10**exponent
    double lot_size          # coins per lot; USD per lot for inverse futures
    int64_t min_quantity_lots
    int64_t max_quantity_lots
    int64_t max_price_units
    int64_t max_position_lots
    int64_t max_owner_position_lots  # over all accounts of an owner; 0: no such limit
    int64_t maker_ppm
    int64_t taker_ppm
    int64_t delivery_ppm
    int64_t option_cap_ppm
    int tick_count
    int64_t tick_above[MAX_TICK_STEPS]
    int64_t tick_units[MAX_TICK_STEPS]
    int64_t lot_weight       # lots held after a fill of one lot: a combo's sum of |ratio|, else 1
    int64_t zero_units       # combos: the price units that mean a price of zero
    uint32_t leg_slot[MAX_LEGS]
    int64_t leg_ratio[MAX_LEGS]
    # the moving part
    uint8_t marked
    int64_t mark_price_e8    # of a combo: may be negative
    int64_t mark_minor       # value of one long lot at the mark, in minor units
    uint64_t bands_revision  # marks revision that the next three belong to (risk/price_bands.pyx); 0 none
    int64_t highest_units    # highest price of a buy
    int64_t lowest_units     # lowest price of a sell
    int64_t order_cap_lots   # largest order by notional, delta and vega
    int64_t last_price_units
    int64_t open_interest_lots
    int64_t volume_lots
    int64_t turnover_minor
    int64_t settlement_price_e8
    int64_t auction_until_ns  # in an auction: when Ticks end it; 0 not by themselves
    uint32_t trade_seq
    uint8_t tick_direction
    uint32_t holders
    uint32_t twin            # the other option of the pair, NO_SLOT where not listed
    int32_t pair             # row of the chain's pricing input, -1 for futures


cdef inline bint share_cap(Instrument* a, Instrument* b) noexcept:
    """Whether two instruments are linear options of one expiry."""
    return (a.kind == KIND_OPTION and b.kind == KIND_OPTION and not a.inverse and a.chain == b.chain
            and a.expiry_ns == b.expiry_ns)


cdef class Instruments:
    cdef Instrument* at
    cdef readonly uint32_t capacity
    cdef readonly uint32_t high          # slots ever used
    cdef readonly uint32_t live
    cdef uint64_t next_id
    cdef readonly uint64_t revision      # of the listing
    cdef dict by_name
    cdef list names
    cdef list specs
    cdef list free_slots                 # heap: the smallest is reused first
    cdef uint32_t* combos                # slots of live combos, ascending instrument_id
    cdef readonly uint32_t combo_count
    cdef bint is_live(self, uint32_t slot) noexcept
    cdef bint on_tick(self, Instrument* row, int64_t price_units) noexcept
    cdef int64_t tick_floor(self, Instrument* row, int64_t price_units) noexcept
    cdef int64_t tick_ceil(self, Instrument* row, int64_t price_units) noexcept
    cdef int64_t tick_at(self, Instrument* row, int64_t price_units) noexcept
    cdef int64_t trade_cost(self, Instrument* row, int64_t price_units, int64_t lots, int* bad) noexcept
    cdef void traded(self, Instrument* row, int64_t price_units, int64_t lots, int64_t turnover_minor) noexcept
    cdef int64_t mark_units(self, Instrument* row) noexcept
    cdef bint leg_prices(self, Instrument* combo, int64_t price_units, int64_t* prices) noexcept
    cdef void combo_range(self, Instrument* combo, int64_t* low, int64_t* high) noexcept
    cdef int64_t combo_cost(self, Instrument* combo, const int64_t* prices, int64_t lots, int* bad) noexcept
