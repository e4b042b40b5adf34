from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t

from exchange.clearing.ledger cimport Ledger
from exchange.market.instrument cimport Instrument, Instruments
from exchange.wide cimport int128

ctypedef struct Position:
    uint32_t instrument
    uint16_t chain
    uint16_t expiry_bucket
    int64_t quantity_lots
    int64_t cost_minor
    int64_t realised_minor
    int64_t funding_realised_minor
    int128 funding_entry
    int64_t open_buy_lots
    int64_t open_sell_lots
    int64_t combo_buy_lots   # what open orders of combos with this leg would buy
    int64_t combo_sell_lots
    uint32_t open_orders

ctypedef struct PositionList:
    Position* at             # ascending instrument slot
    uint32_t count
    uint32_t capacity


cdef class Positions:
    cdef Instruments instruments
    cdef Ledger ledger
    cdef PositionList* of
    cdef uint32_t accounts
    cdef int128* funding_index       # [instrument slot] minor units owed per long lot, 2**-64
    cdef int64_t* net_lots           # [instrument slot] sum over accounts, zero between commands
    cdef int128* net_cost            # [instrument slot] futures: minus the clearing balance between commands
    cdef uint8_t* reducing           # [account] whether a reduce-only order may rest there: the look clears it
    cdef uint32_t* shrank            # accounts with such orders of which a position shrank since orders were cut
    cdef uint32_t shrank_count
    cdef uint32_t shrank_capacity
    cdef void _note_shrank(self, uint32_t account_id) noexcept
    cdef uint32_t touched[64]        # instruments traded since the last check
    cdef uint32_t touched_count
    cdef bint sound(self) noexcept
    cdef bint _sound_slot(self, uint32_t instrument) noexcept
    cdef int failed
    cdef int grow(self, uint32_t account_id) except -1
    cdef Position* find(self, uint32_t account_id, uint32_t instrument) noexcept
    cdef Position* ensure(self, uint32_t account_id, uint32_t instrument) except NULL
    cdef int legs_ordered(self, uint32_t account_id, Instrument* combo, int64_t signed) except -1
    cdef void legs_reduced(self, uint32_t account_id, Instrument* combo, int64_t signed, bint ends) noexcept
    cdef void drop_if_empty(self, uint32_t account_id, uint32_t instrument) noexcept
    cdef int64_t accrued(self, Position* position) noexcept
    cdef int64_t settle_funding(self, uint32_t account_id, Position* position) noexcept
    cdef int64_t trade(self, uint32_t account_id, Position* position, int64_t lots, int64_t cost) noexcept
    cdef int64_t value_minor(self, Position* position) noexcept
