from libc.stdint cimport int64_t, uint32_t, uint64_t

from exchange.event_buffer cimport EventBuffer
from exchange.market.instrument cimport Instruments
from exchange.records cimport EditOrder, PlaceOrder, OrderTerms
from exchange.risk.pretrade cimport Pretrade
from exchange.risk.risk_rows cimport RiskRows
from exchange.trading.lifecycle cimport Trading

cdef enum Link:
    LINKED = 1
    SECONDARY = 2
    LINKED_BOTH_COUNT = 3


cdef class Triggers:
    cdef Instruments instruments
    cdef RiskRows rows
    cdef Pretrade pretrade
    cdef Trading trading
    cdef EventBuffer events
    cdef int limit
    cdef readonly dict by_id             # ascending id by construction
    cdef dict by_account
    cdef dict by_instrument
    cdef dict seen_trades                # instrument -> trade_seq when last looked at
    cdef object fired                    # queue of (order id, value seen)
    cdef dict held                       # instruments that did not trade when something would have fired
    cdef int64_t _value(self, uint32_t instrument, int source) noexcept
    cdef bint _trades(self, uint32_t instrument) noexcept
    cdef int reason(self, const PlaceOrder* command, const OrderTerms* terms, int before) except -1
    cdef int secondary_reason(self, const PlaceOrder* command, const OrderTerms* terms, int before) except -1
    cdef int _form_reason(self, const PlaceOrder* command, const OrderTerms* terms) except -1
    cdef int wait(self, const PlaceOrder* command, const OrderTerms* terms, const char* label, uint64_t order_id,
                  int link, uint64_t linked_id) except -1
    cdef int announce(self, object trigger, uint64_t order_id, int64_t value) except -1
    cdef void command_of(self, object trigger, PlaceOrder* order) except *
    cdef int relink(self, uint64_t order_id, uint64_t linked_id) except -1
    cdef int release(self, object order_id, uint64_t new_id, int64_t lots) except -1
    cdef int shrink(self, object trigger, int64_t lots) except -1
    cdef int _say_edited(self, object trigger) except -1
    cdef int refuse(self, uint32_t account_id, uint32_t instrument, int reason, int side, int flags,
                     int64_t price_units, int64_t lots, uint64_t order_id) except -1
    cdef int place(self, const PlaceOrder* command, const OrderTerms* terms, const char* label) except -1
    cdef int edit(self, const EditOrder* command, const OrderTerms* terms) except -1
    cdef int withdraw(self, uint64_t order_id, int reason) except -1
    cdef int _fire(self, object trigger, int64_t value) except -1
