from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t

from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport Instrument, Instruments
from exchange.risk.risk_rows cimport RiskRows

ctypedef struct Group:           # a protection group of an account
    int64_t interval_ns          # 0: there is no such group
    int64_t frozen_ns
    int64_t quantity_limit_e8
    int64_t delta_limit_e8
    int64_t vega_limit_e8
    int64_t max_quote_e8
    int64_t frozen_until_ns      # 0 not frozen, -1 until it is reset
    int64_t began_ns             # first fill of the running interval
    int64_t quantity_e8
    int64_t delta_e10
    int64_t vega_e8
    uint16_t underlying
    uint16_t number
    uint8_t running              # sums have begun


cdef class Protection:
    cdef Instruments instruments
    cdef RiskRows rows
    cdef EventBuffer events
    cdef readonly int max_groups
    cdef int underlyings
    cdef Group** of              # [account] -> [underlying][number - 1], NULL where it never had one
    cdef int64_t* frozen_until_ns  # [account] quotes of all groups are refused before this
    cdef uint32_t accounts
    cdef dict names              # (account, underlying, number) -> name
    cdef int grow(self, uint32_t account_id) except -1
    cdef Group* find(self, uint32_t account_id, int underlying, int number) noexcept
    cdef int64_t coins_e8(self, Instrument* row, int64_t lots) noexcept
    cdef bint frozen(self, Group* group) noexcept
    cdef bint quotes_frozen(self, uint32_t account_id) noexcept
    cdef int add_fill(self, Group* group, uint32_t instrument, int64_t signed_lots) noexcept
    cdef void clear(self, Group* group) noexcept
    cdef void trigger(self, Group* group) noexcept
    cdef int emit(self, int kind, uint32_t account_id, Group* group, int cause, uint32_t cancelled) except -1
